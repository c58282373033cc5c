"""The main job: a workload on an architecture, from operations to cycles."""

from __future__ import annotations

from collections.abc import Callable

from codesign.account import collect
from codesign.analytic import bound_cycles
from codesign.nm.format import NM
from codesign.result import SimResult
from codesign.schedule import schedule
from codesign.schedule.planner import Planner
from hw_models.accelerator import execute
from hw_models.arch import Arch
from workloads.sparsity import apply_method, mark
from workloads.trace import Trace

OnStep = Callable[[int, int], None]
"""Called with (steps ended, steps in all) while a program executes."""


def simulate(
    arch: Arch,
    workload: Trace,
    *,
    method: str = "bdwp",
    nm: NM | None = None,
    full: bool = False,
    baseline: bool = True,
    on_step: OnStep | None = None,
) -> SimResult:
    """Simulate one training iteration of `workload` (a dense trace) trained with `method` at `nm`.

    `full` steps through every event instead of skipping steady states (same integers, slower). `baseline` also
    runs dense training on the same hardware, for the speedup. Raises SpecError for an N:M ratio that the array
    lacks and ScheduleError if a buffer cannot hold one tile.
    """
    trace, _ = apply_method(workload, method, nm)
    return simulate_trace(arch, trace, full=full, baseline=baseline, on_step=on_step)


def simulate_trace(
    arch: Arch,
    trace: Trace,
    *,
    full: bool = False,
    baseline: bool = True,
    planner: Planner | None = None,
    on_step: OnStep | None = None,
) -> SimResult:
    """Simulate one training iteration whose sparse operands are marked already; otherwise as `simulate`.

    A `planner` of `arch` that saw similar traces saves time.
    """
    planner = planner or Planner(arch)
    dense = mark(trace, (), "dense")
    result = _run(arch, trace, dense, planner, full, on_step)
    if not baseline:
        return result
    unpruned = result if trace == dense else _run(arch, dense, dense, planner, full, on_step)
    return result.with_baseline(unpruned)


def _run(
    arch: Arch, trace: Trace, dense: Trace, planner: Planner, full: bool, on_step: OnStep | None
) -> SimResult:
    program = schedule(trace, arch, planner)
    ended = 0

    def count(_: int) -> None:
        nonlocal ended
        ended += 1
        if on_step is not None:
            on_step(ended, len(program.steps))

    execution = execute(arch, program, full=full, on_step=count)
    bound = bound_cycles(trace, program, arch)
    ratios = {op.sparsity.nm for op in trace.gemms() if op.sparsity}
    nm = ", ".join(map(str, sorted(ratios))) or "dense"
    return collect(arch, dense, program, execution, bound_cycles=bound, nm=nm)
