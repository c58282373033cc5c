"""The resource model against synthesis of the reference RTL (`hls/rtl/resources.csv`) and a published array."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.resources import Usage, estimate
from codesign.resources.usage import total
from codesign.validate.row import Comparison, Row, Span, ToolMissingError, estimated
from hls.rtl_bench.build import RTL
from hw_models.arch import load_arch

TEXT = """\
`python -m hls.rtl_bench.synthesis` has Yosys map every block of the RTL to UltraScale+ (`synth_xilinx -family
xcup`) and writes `hls/rtl/resources.csv`, with command and version. Beside it stands what `codesign/resources` says
about the same block of `sat.yaml`, an interval, with operators in the fabric, as the RTL has them.

LUTs of Yosys are an upper value: it packs loosely and retimes nothing. Flip-flops are what it leaves outside of
shift registers; the RTL puts all pipeline registers behind an operator and leaves it to synthesis to move them in,
which Yosys does not do, so they end up in shift registers (LUTs) and the model's flip-flop figure, for registers
between the stages, is the larger one. The RTL also handles subnormal numbers, which the model's operators flush:
shifters at the inputs and at the output of every multiplier, most visible in the update lane with its three FP32
multiply-adds.
"""

AUTOSA = {
    # MACs in rows x cols: LUTs, flip-flops, DSPs
    (13, 128): (803_752, 1_325_480, 8320),
    (8, 224): (884_520, 1_445_020, 8960),
}
"""FP32 output-stationary arrays of Vitis operators on a U250, routed: docs/examples of UCLA-VAST/AutoSA."""

AUTOSA_ARRAY: dict[str, Any] = {
    "array.sparsity": [],
    "array.weight_registers": 1,
    "array.dataflows": ["os"],
    "optimizations.fixed_dataflow": "os",
    "array.accumulator_latency_cycles": 7,
    "precision.operand_bits": 32,
}


@dataclass(frozen=True)
class Block:
    """A measured block: its name and parameters in the table; components of the model; the array's parameters."""

    module: str
    parameters: str
    components: tuple[str, ...]
    ratio: str
    registers: int


USPE = ("uspe.multiplier", "uspe.adder", "uspe.selector", "uspe.weights", "uspe.sums", "uspe.control")

BLOCKS = (
    Block("uspe", "M=4 N=4 F=8", USPE, "2:4", 4),
    Block("uspe", "M=8 N=8 F=8", USPE, "2:8", 8),
    Block("uspe", "M=16 N=16 F=8", USPE, "2:16", 16),
    Block("row_edge", "M=4 N=4 F=8 PORT=4 m=4", ("stce.row_edge",), "2:4", 4),
    Block("row_edge", "M=8 N=8 F=8 PORT=4 m=8", ("stce.row_edge",), "2:8", 8),
    Block("row_edge", "M=16 N=16 F=8 PORT=4 m=16", ("stce.row_edge",), "2:16", 16),
    Block("sore_lane", "N=2 M=4", ("sore",), "2:4", 8),
    Block("sore_lane", "N=2 M=8", ("sore",), "2:8", 8),
    Block("sore_lane", "N=4 M=16", ("sore",), "4:16", 8),
    Block("wuve_lane", "MUL_LATENCY=4 ADD_LATENCY=8", ("wuve",), "2:8", 8),
)

NOTES = {
    "uspe": "RTL handles subnormals; its pipeline registers lie in shift registers",
    "row_edge": "RTL sequences its rounds here, too; window without output register, its memory packed loosely",
    "sore_lane": "RTL has one sorter, which looks for the weakest value; the model two, by insertion",
    "wuve_lane": "RTL handles subnormals in three FP32 multiply-adds; pipeline registers in shift registers",
}


def run(tools: Path) -> Iterator[Row]:
    """Rows for each block and resource. Raises ToolMissingError if the table is missing."""
    table = _measured()
    for block in BLOCKS:
        measured = table[block.module, block.parameters]
        model = _model(block)
        for resource in ("lut", "ff", "dsp"):
            ours = Span(model[resource].low, model[resource].high)
            what = f"{block.module} {block.parameters}: {resource.upper()}"
            upper = " (upper value)" if resource != "dsp" else ""
            source = f"{measured['tool'].split(' (')[0]}{upper}"
            yield estimated(what, source, int(measured[resource]), ours, "", NOTES[block.module])
    yield from _autosa()


def _autosa() -> Iterator[Row]:
    for (rows, cols), counts in AUTOSA.items():
        arch = load_arch("sat.yaml").with_overrides(AUTOSA_ARRAY | {"array.rows": rows, "array.cols": cols})
        parts = estimate(arch, operators="vitis").components
        model = total(part.total for name, part in parts.items() if name.startswith(("uspe.", "stce.")))
        for resource, count in zip(("lut", "ff", "dsp"), counts, strict=True):
            ours = Span(model[resource].low, model[resource].high)
            note = "AutoSA has queues between elements and registers between SLRs"
            yield estimated(
                f"array of {rows * cols} FP32 MACs: {resource.upper()}",
                "AutoSA on U250",
                count,
                ours,
                "",
                note,
            )


def _model(block: Block) -> Usage:
    """What the model says one of it takes."""
    sizes = {"array.sparsity": [block.ratio], "array.weight_registers": block.registers}
    components = estimate(load_arch("sat.yaml").with_overrides(sizes), operators="fabric").components
    return total(components[name].each for name in block.components)


def _measured() -> Mapping[tuple[str, str], dict[str, str]]:
    """Rows of the table by block and parameters."""
    path = RTL / "resources.csv"
    if not path.exists():
        raise ToolMissingError(f"{path} is missing: run python -m hls.rtl_bench.synthesis, which needs yosys")
    rows = csv.DictReader(path.read_text("utf-8").splitlines())
    return {(row["block"], row["parameters"]): row for row in rows}


COMPARISON = Comparison("Resources: synthesis of the RTL", TEXT, run)
