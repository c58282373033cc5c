"""A better machine, or one more optimization, should not cost cycles. Where it may, each limit says how many.

Three things stand against a law, and each limit is the worst excess over all cases below, rounded up:

- First come, first served: a transfer that comes earlier may delay another one, on which more depends.
- The scheduler's closed form looks at one operation at a time and lets array and memory overlap but for the first
  load and the last store. Where tiles are few and large, the machine waits longer than that: larger buffers may
  tempt the scheduler.
- Size has a price at the edges. A larger array has a longer skew, which a small product cannot fill; with larger
  buffers, streaming work has fewer chunks, whose first load and last store take longer.

Pre-generation moves all pruning into the update, so it costs a little where updates are all that takes time: the
perceptron at a batch of 8 with high-bandwidth memory, where SORE prunes two orientations at half the speed of WUVE.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any, NamedTuple

import pytest

from codesign.nm.format import NM
from codesign.schedule import schedule
from hw_models.accelerator import execute
from hw_models.arch import Arch, load_arch
from hw_models.program import Program
from workloads.catalog import load
from workloads.sparsity import apply_method
from workloads.trace import Trace


class Better(NamedTuple):
    """An improvement of one parameter, and the share of an iteration's cycles that it may cost nevertheless.

    `to` is the better value, or a function from the architecture's value to it; `than` is the worse one, by default
    the architecture's.
    """

    path: str
    to: Any
    limit: float = 0.0
    than: Any = None

    def machines(self, arch: Arch) -> tuple[Arch, Arch]:
        """The worse and the better variant of `arch`."""
        worse = arch if self.than is None else arch.with_overrides({self.path: self.than})
        value = self.to(_value(arch, self.path)) if callable(self.to) else self.to
        return worse, arch.with_overrides({self.path: value})


def _value(arch: Arch, path: str) -> Any:
    value: Any = arch
    for key in path.split("."):
        value = getattr(value, key)
    return value


def _twice(value: int) -> int:
    return 2 * value


def _slightly_more(value: int) -> int:
    return value * 21 // 20


MEMORY_AND_LANES = [
    Better("dram.rate_mtps", _slightly_more, 0.0001),
    Better("dram.rate_mtps", _twice, 0.0001),
    Better("dram.channels", _twice, 0.0001),
    Better("dram.latency_ns", 0.0, 0.001),
    Better("dma.setup_cycles", 0, 0.001),
    Better("dma.engines", _twice),
    Better("vector_unit.lanes", _twice),
    Better("wuve.lanes", _twice, 0.002),
    Better("sore.lanes", _twice, 0.002),
    *(
        Better(f"buffers.{name}.double_buffered", True, 0.015 if name == "update" else 0.0, than=False)
        for name in ("activation", "weight", "output", "vector", "update")
    ),
    Better("array.double_weights", True, than=False),
    Better("array.double_accumulators", True, than=False),
    Better("array.fill_policy", "hidden", than="every_tile"),
    Better("optimizations.interleave", True, than=False),
]
"""Improvements under which a program stays legal: they are judged with the program unchanged."""

RESCHEDULED = [
    Better("dram.rate_mtps", _twice, 0.0001),
    Better("array.rows", _twice, 0.045),
    Better("array.cols", _twice, 0.075),
    Better("buffers.activation.capacity_bytes", _twice, 0.0001),
    Better("buffers.weight.capacity_bytes", _twice, 0.08),
    Better("buffers.output.capacity_bytes", _twice, 0.003),
    Better("buffers.vector.capacity_bytes", _twice, 0.008),
    Better("buffers.update.capacity_bytes", _twice, 0.14),
]
"""Improvements that the scheduler makes use of."""

OPTIMIZATIONS = {"interleave": 0.0, "pregenerate": 0.035, "offline_schedule": 0.0}
"""Switches, and what each may cost, whatever the others."""

SMALL = [
    ("resnet9", {"batch": 2}),
    ("vgg16-cifar", {"batch": 2}),
    ("vit-tiny-cifar", {"batch": 1}),
    ("mlp", {"batch": 8}),
    ("mlp", {"batch": 64}),
    ("gemm:64x128x32", {}),
    ("gemm:1024x768x3072", {}),
]
LARGER = [
    ("resnet18", {"batch": 1}),
    ("resnet9", {"batch": 16}),
    ("vit-tiny-cifar", {"batch": 4}),
    ("bert-base", {"batch": 1, "seq_len": 16}),
]


Workload = tuple[str, dict[str, int]]


@cache
def _dense_trace(workload: str, batch: int, seq_len: int | None) -> Trace:
    options = {"batch": batch} if batch else {}
    return load(workload, seq_len=seq_len, **options)


def _trace(workload: Workload, method: str) -> Trace:
    name, options = workload
    dense = _dense_trace(name, options.get("batch", 0), options.get("seq_len"))
    return apply_method(dense, method, NM(2, 8))[0]


class Laboratory:
    """Counts the cycles of iterations, each only once."""

    def __init__(self) -> None:
        self._programs: dict[tuple[str, str, str], Program] = {}
        self._cycles: dict[tuple[str, str, str, str], int] = {}

    def cycles(self, workload: Workload, method: str, planned_for: Arch, run_on: Arch) -> int:
        """Cycles on one architecture of a program that was scheduled for another."""
        key = (str(workload), method, planned_for.sha256)
        if key not in self._programs:
            self._programs[key] = schedule(_trace(workload, method), planned_for)
        if (*key, run_on.sha256) not in self._cycles:
            execution = execute(run_on, self._programs[key])
            self._cycles[*key, run_on.sha256] = execution.total_cycles
        return self._cycles[*key, run_on.sha256]


@pytest.fixture(scope="module")
def laboratory() -> Laboratory:
    return Laboratory()


QUICK = (SMALL, ("sat", "sat-zynq"), ("bdwp",))
THOROUGH = (SMALL + LARGER, ("sat", "sat-zynq", "sat-u280"), ("bdwp", "srste", "sdgp", "dense"))
TIERS = [pytest.param(QUICK, id="quick"), pytest.param(THOROUGH, id="thorough", marks=pytest.mark.slow)]

Tier = tuple[list[Workload], tuple[str, ...], tuple[str, ...]]


def _name(better: Better) -> str:
    return f"{better.path}-{getattr(better.to, '__name__', better.to)}"


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("better", MEMORY_AND_LANES, ids=_name)
def test_the_same_program_on_a_better_machine(laboratory: Laboratory, better: Better, tier: Tier) -> None:
    for workload, arch_name, method in product(*tier):
        arch = load_arch(arch_name)
        worse, improved = (
            laboratory.cycles(workload, method, arch, variant) for variant in better.machines(arch)
        )
        assert improved <= worse * (1 + better.limit), (workload, arch_name, method)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("better", RESCHEDULED, ids=_name)
def test_a_new_schedule_for_a_better_machine(laboratory: Laboratory, better: Better, tier: Tier) -> None:
    for workload, arch_name, method in product(*tier):
        worse, improved = (
            laboratory.cycles(workload, method, variant, variant)
            for variant in better.machines(load_arch(arch_name))
        )
        assert improved <= worse * (1 + better.limit), (workload, arch_name, method)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("switch", OPTIMIZATIONS)
def test_an_optimization_pays_whatever_the_others(laboratory: Laboratory, switch: str, tier: Tier) -> None:
    others = [name for name in OPTIMIZATIONS if name != switch]
    for workload, arch_name, method, *on in product(*tier, (False, True), (False, True)):
        setting = {f"optimizations.{name}": value for name, value in zip(others, on, strict=True)}
        off, switched_on = (
            load_arch(arch_name).with_overrides(setting | {f"optimizations.{switch}": value})
            for value in (False, True)
        )
        without = laboratory.cycles(workload, method, off, off)
        with_it = laboratory.cycles(workload, method, switched_on, switched_on)
        assert with_it <= without * (1 + OPTIMIZATIONS[switch]), (workload, arch_name, method, setting)
