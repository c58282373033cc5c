"""A program as a complete Vitis project: kernels, testbench with golden data, host programs, Makefile.

`export` makes one of a recorded training step, `hls.iteration.export` one of a whole training iteration. The same
input gives the same bytes. Nothing is written unless everything could be made.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from codesign.errors import ExportError
from codesign.spec_errors import printable
from hls.accelerator import simulated, testbench_files
from hls.config import KernelConfig
from hls.cycles import PassCycles, pass_cycles
from hls.golden import Pass
from hls.program.assembly import disassemble
from hls.program.capacity import config_header
from hls.program.encoding import Program
from hls.program.memory import MemoryMap
from hls.recorded import recorded_step
from hls.toolchain import HLS
from hw_models.arch import Arch
from workloads.recording import Recording
from workloads.run_trace import RunTrace

PROJECT = Path(__file__).parent / "project"
MANIFEST = "tb/manifest.json"
FORMAT = "codesign Vitis project"
VERSION = 1
TESTBENCH = "tb/sat_tb.cpp"

Files = dict[str, bytes]
"""Contents by path in the project."""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CLOCKS_MHZ = 1, 1000


@dataclass(frozen=True)
class Target:
    """What the project is built for; the clock is the kernel's. Raises ExportError for what cannot be."""

    platform: str
    part: str
    clock_mhz: float

    def __post_init__(self) -> None:
        for option, name in (("--platform", self.platform), ("--part", self.part)):
            if not _NAME.fullmatch(name):
                raise ExportError(
                    f"{option} {name!r}: expected letters, digits, dots, underscores and hyphens"
                )
        low, high = _CLOCKS_MHZ
        if not low <= self.clock_mhz <= high:
            raise ExportError(f"clock of {self.clock_mhz:g} MHz: expected {low} to {high} MHz; set --clock")

    @property
    def period_ns(self) -> str:
        """Clock period in nanoseconds."""
        return f"{1e3 / self.clock_mhz:.4g}"


@dataclass(frozen=True)
class Content:
    """What projects differ in.

    `data`: files of the testbench; `tensors`: elements of each tensor that it names; `texts`: parts of the README by
    name; `source`: option of the command; `facts`: where the data come from, for the manifest.
    """

    program: Program
    memory: MemoryMap
    passes: Sequence[Pass]
    data: Files
    tensors: dict[str, int]
    texts: dict[str, str]
    source: str
    facts: Mapping[str, Any]


class Loss(NamedTuple):
    """Loss of an iteration, here and in PyTorch."""

    here: float
    pytorch: float


@dataclass(frozen=True)
class Comparison:
    """Iterations beside PyTorch's in FP32.

    `distance`: of the weights after the last one, relative, in the Euclidean norm, of the layer that is farthest off.
    """

    losses: Sequence[Loss]
    distance: float
    layer: str


@dataclass(frozen=True)
class Project:
    """A project in memory, and what there is to tell about it.

    `tensors`: elements of each that is compared; `comparison` if the program is a whole iteration.
    """

    files: Files
    passes: list[PassCycles]
    instructions: int
    tensors: dict[str, int]
    comparison: Comparison | None = None


def export(arch: Arch, trace: RunTrace, recording: Recording, target: Target) -> Project:
    """The project of a recorded step.

    Raises ExportError for what the kernels lack, TraceError if the inputs do not fit.
    """
    golden = recorded_step(arch, trace, recording)
    program = golden.builder.build()
    after = simulated(golden, program)
    if wrong := [name for name, count in golden.mismatches(after).items() if count]:
        raise ExportError(
            f"{wrong[0]}: the program computes other bits than codesign.functional; please report this"
        )
    run = trace.run
    assert run is not None  # or there would be no recorded step
    content = Content(
        program,
        golden.builder.memory,
        golden.passes,
        testbench_files(golden, program, after),
        {name: values.size for name, values in golden.expected.items()},
        _TEXTS | {"MODEL": printable(run.model)},
        "--trace TRACE",
        {
            "run": {"model": run.model, "data": run.data, "method": run.method, "seed": run.seed},
            "step": recording.header.step,
            "layers": list(recording.header.layers),
        },
    )
    return make_project(arch, target, content)


_TEXTS = {
    "SUBJECT": "a recorded training step",
    "ORDER": "For every recorded layer it prunes the\n"
    "weight, runs FF, BP and WU, updates the weight and prunes it again.",
    "CHECKED": "When the\n"
    "project was exported, they were compared bit for bit with an independent computation of the same tensors in the "
    "order of\nthe schedule.",
    "LIMITS": "Biases are added, but not updated. ",
}


def make_project(arch: Arch, target: Target, content: Content) -> Project:
    """Put a project together."""
    config = KernelConfig.of(arch)
    passes = pass_cycles(content.passes, content.program, config)
    files = _sources(config_header(config))
    files |= {f"tb/data/{name}": data for name, data in content.data.items()}
    files |= _filled(_values(arch, target, passes) | content.texts)
    files["program.txt"] = f"{_memory_table(content.memory)}\n{disassemble(content.program)}".encode()
    files[MANIFEST] = _manifest(arch, target, content, files)
    return Project(files, passes, len(content.program.instructions), content.tensors)


def _sources(config: str) -> Files:
    """Kernels, stand-ins and testbench, which are the same for all projects, and config.hpp."""
    kernels = sorted([*(HLS / "kernels").glob("*.hpp"), HLS / "kernels/sat.cpp"])
    files = {f"src/{file.name}": file.read_bytes() for file in kernels}
    files |= {f"csim/{file.name}": file.read_bytes() for file in sorted((HLS / "csim").glob("*.h"))}
    return files | {"src/config.hpp": config.encode(), TESTBENCH: (HLS / TESTBENCH).read_bytes()}


def _filled(values: Mapping[str, str]) -> Files:
    """The files of `hls/project`, each @NAME@ replaced; one that is no module here ends in `.in`."""
    files = {}
    for file in sorted(path for path in PROJECT.rglob("*") if path.is_file()):
        text = file.read_text("utf-8")
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        files[file.relative_to(PROJECT).as_posix().removesuffix(".in")] = text.encode()
    return files


def _values(arch: Arch, target: Target, passes: Iterable[PassCycles]) -> dict[str, str]:
    return {
        "NAME": arch.name,
        "ARCH": f"{arch.name}, SHA-256 {arch.sha256[:16]}",
        "ROWS": str(arch.array.rows),
        "COLS": str(arch.array.cols),
        "RATIOS": ", ".join(map(str, arch.array.sparsity)) or "none",
        "PLATFORM": target.platform,
        "PART": target.part,
        "PERIOD_NS": target.period_ns,
        "PASSES": "\n".join(map(_row, passes)),
    }


def _row(found: PassCycles) -> str:
    cells = (
        f"`{printable(found.layer)}`",
        found.stage.upper(),
        found.dataflow,
        found.nm or "dense",
        found.gemms,
        f"{found.array_cycles:,}",
        f"{found.scheduled_cycles:,}",
        f"{found.packet_cycles:,}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _memory_table(memory: MemoryMap) -> str:
    """Where the tensors lie, as comments of the program."""
    rows = [("word", "tensor")]
    for tensor in memory.tensors.values():
        rows.append((str(tensor.address), f"{printable(tensor.name)} {tensor.dtype} {list(tensor.shape)}"))
    return "".join(f"# {address:>8}  {what}\n" for address, what in rows)


def _manifest(arch: Arch, target: Target, content: Content, files: Files) -> bytes:
    """What the golden data is and how it came about."""
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "command": f"codesign export --arch ARCHITECTURE {content.source} --out FOLDER "
        f"--platform {target.platform} --part {target.part} --clock {target.clock_mhz:g}",
        "architecture": {"name": arch.name, "sha256": arch.sha256},
        **content.facts,
        "sha256": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()
