"""How fast `codesign` simulates one training iteration, and what skipping steady states is worth.

Baseline: the same simulation with `--full`, which steps through every event and gives the same integers.

- Whole process: `python -m codesign simulate` on ResNet-18 and ResNet-50, batch 64, packaged `sat` architecture,
  with its dense baseline. CPU time and peak memory of the child process; the start of Python is in them.
- New point: what a design-space sweep pays for each further architecture. A worker process that is already warm
  gets ResNet-18, batch 64, on an array and buffer that it has not seen; the time is that of scheduling and
  simulating, the memory that of the worker so far. Every mode has a worker of its own and sees the same points.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache, partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

import click
from measure import MAXRSS_UNIT_BYTES, Case, Ratio, Usage, report, run_child, take_turns

if TYPE_CHECKING:
    from workloads.trace import Trace

NETWORKS = ("resnet18", "resnet50")
BATCH = 64
RATIO = "2:8"
MIB = 1 << 20

POINTS = [
    {"array.rows": rows, "array.cols": cols, "buffers.activation.capacity_bytes": mib * MIB}
    for rows, cols, mib in ((32, 64, 4), (64, 32, 2), (16, 64, 2), (64, 16, 8), (64, 64, 8))
]
"""Architectures around `sat`, none of them `sat` itself: array sizes and what the activation buffer holds."""


class Mode(NamedTuple):
    """Arguments of `codesign.simulate.simulate`."""

    baseline: bool = True
    full: bool = False


MODES = {"sparse only": Mode(baseline=False), "with dense": Mode(), "with dense, full": Mode(full=True)}


@click.command()
@click.option(
    "--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Runs of each process."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(runs: int, as_json: bool) -> None:
    """CPU time and peak memory of codesign, against itself stepping through every event."""
    processes = _whole_processes(runs)
    points = _new_points()
    ratios = [
        *(Ratio.between(processes[name], processes[f"{name} --full"]) for name in NETWORKS),
        Ratio.between(points["new point, with dense"], points["new point, with dense, full"]),
    ]
    note = f"Every case: one training iteration, batch {BATCH}, bdwp {RATIO}; new point: ResNet-18 in a warm process."
    report("codesign simulate", [*processes.values(), *points.values()], ratios, [note], as_json)


def _whole_processes(runs: int) -> dict[str, Case]:
    simulate = [sys.executable, "-m", "codesign", "simulate", "--arch", "sat.yaml"]
    simulate += ["--method", "bdwp", "--nm", RATIO, "--batch", str(BATCH), "--workload"]
    cases = {
        " ".join([network, *full]): partial(run_child, [*simulate, network, *full])
        for network in NETWORKS
        for full in ([], ["--full"])
    }
    return take_turns(cases, runs)


def _new_points() -> dict[str, Case]:
    """Each mode in a worker process of its own, which has simulated `sat` before the first point."""
    with ExitStack() as stack:
        cases = {}
        for name, mode in MODES.items():
            worker = stack.enter_context(
                ProcessPoolExecutor(1, get_context("spawn"), initializer=simulate_point, initargs=({}, mode))
            )
            cases[f"new point, {name}"] = partial(_next_point, worker, iter(POINTS), mode)
        return take_turns(cases, len(POINTS))


def _next_point(worker: ProcessPoolExecutor, points: Iterator[dict[str, int]], mode: Mode) -> Usage:
    return worker.submit(simulate_point, next(points), mode).result()


def simulate_point(overrides: dict[str, int], mode: Mode) -> Usage:
    """Runs in a worker: CPU time of this simulation, peak memory of the process so far."""
    from codesign.nm.format import NM
    from codesign.simulate import simulate
    from hw_models.arch import load_arch

    arch, trace = load_arch("sat.yaml").with_overrides(overrides), _trace()
    start_s = time.process_time()
    simulate(arch, trace, method="bdwp", nm=NM.parse(RATIO), baseline=mode.baseline, full=mode.full)
    cpu_s = time.process_time() - start_s
    return Usage(cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT_BYTES)


@cache
def _trace() -> Trace:
    from workloads.catalog import load

    return load("resnet18", batch=BATCH)


if __name__ == "__main__":
    main()
