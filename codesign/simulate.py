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
from workloads.sparsity import apply_method
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
    planner = Planner(arch)
    result = _run(arch, workload, method, nm, planner, full, on_step)
    if not baseline:
        return result
    dense = result if method == "dense" else _run(arch, workload, "dense", None, planner, full, on_step)
    return result.with_baseline(dense)


def _run(
    arch: Arch,
    workload: Trace,
    method: str,
    nm: NM | None,
    planner: Planner,
    full: bool,
    on_step: OnStep | None,
) -> SimResult:
    trace, _ = apply_method(workload, method, nm)
    program = schedule(trace, arch, planner)
    ended = 0

    def count(_: int) -> None:
        nonlocal ended
        ended += 1
        if on_step is not None:
            on_step(ended, len(program.steps))

    execution = execute(arch, program, full=full, on_step=count)
    bound = bound_cycles(trace, program, arch)
    return collect(arch, workload, program, execution, bound_cycles=bound, nm=nm)
