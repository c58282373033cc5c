"""How the speedup of ResNet-18 depends on the constants of `sat.yaml` that are assumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codesign.nm.format import NM
from codesign.sensitivity import sensitivity
from codesign.simulate import simulate_trace
from codesign.validate.row import Comparison, Row, beside
from codesign.validate.tornado import tornado
from hw_models.arch import load_arch
from workloads.catalog import load
from workloads.sparsity import apply_method

TEXT = """\
Speedup of BDWP 2:8 over dense training of ResNet-18 at batch 64 on `sat.yaml`, with each of its constants that are
marked "assumed" at half and at double, all others as they are. Memory cannot be more than fully efficient, so there
"double" is 1. Everything else in `sat.yaml` is published, cites a data sheet, or is a design decision that one may
change. `codesign simulate --sensitivity` does the same for any workload and architecture.

The width of the vector unit is the one that matters: it does the work that sparsity does not shrink, so the slower
it is, the smaller the part of an iteration that 2:8 can save. The memory's share hides behind it and behind the
array, and latencies hide behind double buffers.
"""

ARCH, WORKLOAD, BATCH, RATIO = "sat.yaml", "resnet18", 64, NM(2, 8)


def run(tools: Path) -> Iterator[Row]:
    """Two rows for each constant, half and double."""
    arch = load_arch(ARCH)
    trace, _ = apply_method(load(WORKLOAD, batch=BATCH), "bdwp", RATIO)
    nominal = simulate_trace(arch, trace).speedup_vs_dense
    assert nominal is not None
    for swing in sensitivity(arch, trace):
        for value, speedup in ((swing.low, swing.low_speedup), (swing.high, swing.high_speedup)):
            what = f"{swing.constant} = {value:g}"
            yield beside(what, f"{ARCH} as it is", nominal, speedup, "x", "one constant changed")


COMPARISON = Comparison("Sensitivity to assumed constants", TEXT, run, tornado)
