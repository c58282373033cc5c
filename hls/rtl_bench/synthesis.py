"""What the blocks of `hls/rtl` cost on Xilinx UltraScale+, as Yosys maps them: `python -m hls.rtl_bench.synthesis`.

It writes `hls/rtl/resources.csv`, which takes some ten minutes. Nothing is placed, retimed or packed, so LUTs and
flip-flops are upper values for this RTL. The registers of a pipeline stand behind its operator, where they map to
shift registers (`lut_shift`) instead of flip-flops.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from codesign.errors import ExportError
from codesign.output_files import write_files
from hls.rtl_bench.build import RTL

SYNTHESIS = "synth_xilinx -family xcup -flatten -noiopad -noclkbuf"

_LOGIC = {f"LUT{inputs}": 1 for inputs in range(1, 7)}
_MEMORY = {  # LUTs that a cell takes: AMD UG574, table "Distributed RAM Configuration"
    "RAM32X1D": 2,
    "RAM32M": 4,
    "RAM32M16": 8,
    "RAM64X1D": 2,
    "RAM64M": 4,
    "RAM64M8": 8,
    "RAM128X1D": 4,
}
_SHIFT = {"SRL16E": 1, "SRLC32E": 1}
_REGISTER = dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), 1)
_DSP = {"DSP48E2": 1}
_CARRY = {"CARRY4": 1}
_FREE = {"INV", "MUXF7", "MUXF8", "MUXF9"}  # absorbed by the LUT that they feed, or part of a slice

_COLUMNS = {
    "lut_logic": _LOGIC,
    "lut_memory": _MEMORY,
    "lut_shift": _SHIFT,
    "ff": _REGISTER,
    "dsp": _DSP,
    "carry4": _CARRY,
}


class Case(NamedTuple):
    """A block with its parameters; `fixed` inputs are constants of the design rather than inputs."""

    block: str
    parameters: Mapping[str, int]
    fixed: Mapping[str, int] = {}


def cases() -> Iterator[Case]:
    """All that is measured."""
    single = {"EXPONENT": 8, "FRACTION": 23, "TINY": 2}
    yield Case("fp_mul", {"LATENCY": 3})
    yield Case("fp_mul", {**single, "LATENCY": 4})
    yield Case("fp32_add", {"LATENCY": 8})
    yield Case("fp32_to_fp16", {})
    yield Case("wuve_lane", {"MUL_LATENCY": 4, "ADD_LATENCY": 8})
    for n, m in ((1, 2), (2, 4), (1, 8), (2, 8), (4, 8), (2, 16), (4, 16), (8, 16)):
        yield Case("sore_lane", {"N": n, "M": m})
    groups = ((2, 4), (4, 4), (1, 8), (2, 8), (4, 8), (8, 8), (2, 16), (4, 16), (8, 16), (16, 16))
    for n, m in groups:
        yield Case("uspe", {"M": m, "N": n, "F": 8})
    for depth in (1, 2, 4, 16):
        yield Case("uspe", {"M": 8, "N": 8, "F": depth})
    for m, depth, port in ((4, 8, 4), (8, 8, 4), (16, 8, 4), (8, 1, 4), (8, 4, 4), (8, 16, 4), (8, 8, 8)):
        yield Case("row_edge", {"M": m, "N": m, "F": depth, "PORT": port}, {"m": m})
    for size in (8, 32):
        yield Case("stce_control", {"R": size, "C": size, "N": 8, "F": 8})
    yield Case("stce", {"R": 2, "C": 2, "BUFFER_ROWS": 16}, {"m": 8})


def settings(case: Case) -> str:
    """Parameters and fixed inputs as the table shows them."""
    return " ".join(f"{name}={value}" for name, value in {**case.parameters, **case.fixed}.items())


def measure(case: Case) -> dict[str, int]:
    """LUTs of each kind, registers, DSPs and carry chains. Raises ExportError."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "stat.json"
        modules = [source for source in sorted(RTL.glob("*.sv")) if not source.stem.endswith("bench")]
        script = [
            f"read_verilog -sv {' '.join(str(module) for module in modules)}",
            *(f"chparam -set {name} {value} {case.block}" for name, value in case.parameters.items()),
            f"hierarchy -top {case.block}; rename -top {case.block}; proc; cd {case.block}",
            *(f"delete -input w:{port}; connect -set {port} {value}" for port, value in case.fixed.items()),
            f"cd; {SYNTHESIS} -top {case.block}",
            f"tee -q -o {report} stat -json",
        ]
        _yosys("-q", "-p", "; ".join(script))
        cells: dict[str, int] = json.loads(report.read_text())["design"]["num_cells_by_type"]
    known = set().union(*_COLUMNS.values()) | _FREE
    if unknown := set(cells) - known:
        raise ExportError(
            f"resources of {case.block}: Yosys used {', '.join(sorted(unknown))}: count them too"
        )
    return {
        name: sum(count * cells.get(cell, 0) for cell, count in kind.items())
        for name, kind in _COLUMNS.items()
    }


def main() -> None:
    """Measure every case and write the table. Raises ExportError."""
    tool = _yosys("-V").strip()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["block", "parameters", "lut", *_COLUMNS, "lut_and_ff", "tool", "command"])
    for case in cases():
        used = measure(case)
        luts = used["lut_logic"] + used["lut_memory"] + used["lut_shift"]
        table.writerow([case.block, settings(case), luts, *used.values(), "upper values", tool, SYNTHESIS])
    write_files(RTL, {"resources.csv": text.getvalue()})


def _yosys(*arguments: str) -> str:
    try:
        done = subprocess.run(["yosys", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ExportError("yosys is not installed: install it to measure resources") from None
    if done.returncode:
        raise ExportError(f"yosys failed: {done.stderr.strip()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    main()
