"""How the speedup of ResNet-18 depends on the constants of `sat.yaml` that are assumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codesign.nm.format import NM
from codesign.simulate import simulate
from codesign.validate.row import Comparison, Row, beside
from codesign.validate.tornado import tornado
from hw_models.arch import Arch, load_arch
from workloads.catalog import load
from workloads.trace import Trace

TEXT = """\
Speedup of BDWP 2:8 over dense training of ResNet-18 at batch 64 on `sat.yaml`, with each of its constants that are
marked "assumed" at half and at double, all others as they are. Memory cannot be more than fully efficient, so there
"double" is 1. Everything else in `sat.yaml` is published, cites a data sheet, or is a design decision that one may
change.

The width of the vector unit is the one that matters: it does the work that sparsity does not shrink, so the slower
it is, the smaller the part of an iteration that 2:8 can save. The memory's share hides behind it and behind the
array, and latencies hide behind double buffers.
"""

ARCH, WORKLOAD, BATCH, RATIO = "sat.yaml", "resnet18", 64, NM(2, 8)

ASSUMED: dict[str, tuple[float, float]] = {
    "dram.efficiency": (0.4, 1.0),
    "dram.latency_ns": (50, 200),
    "vector_unit.lanes": (16, 64),
    "vector_unit.latency_cycles": (8, 32),
}
"""Half and double of each constant that `sat.yaml` calls assumed."""


def run(tools: Path) -> Iterator[Row]:
    """Two rows for each constant, half and double."""
    arch, trace = load_arch(ARCH), load(WORKLOAD, batch=BATCH)
    nominal = _speedup(arch, trace)
    for name, (low, high) in ASSUMED.items():
        for value in (low, high):
            speedup = _speedup(arch.with_overrides({name: value}), trace)
            note = "one constant changed"
            yield beside(f"{name} = {value:g}", f"{ARCH} as it is", nominal, speedup, "x", note)


def _speedup(arch: Arch, trace: Trace) -> float:
    speedup = simulate(arch, trace, method="bdwp", nm=RATIO).speedup_vs_dense
    assert speedup is not None
    return speedup


COMPARISON = Comparison("Sensitivity to assumed constants", TEXT, run, tornado)
