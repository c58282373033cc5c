"""What the benchmarks share: CPU time and peak memory of a process, taken over several runs, and how both are shown.

CPU time is user plus system time, start of the interpreter included. Other work on the machine disturbs it less than
it does elapsed time, but it does, so the cases of a benchmark take turns and the median of their runs counts.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import click

MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run cost."""

    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Case:
    """A name and what its runs cost, one or more."""

    name: str
    runs: tuple[Usage, ...]

    @property
    def cpu_s(self) -> float:
        """Median CPU time."""
        return statistics.median(run.cpu_s for run in self.runs)

    @property
    def peak_bytes(self) -> int:
        """Largest memory of any run."""
        return max(run.peak_bytes for run in self.runs)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as much the baseline costs."""

    name: str
    baseline: str
    cpu: float
    peak: float

    @staticmethod
    def between(case: Case, baseline: Case) -> Ratio:
        """Of two cases, the cheaper one first."""
        peak = baseline.peak_bytes / case.peak_bytes
        return Ratio(case.name, baseline.name, baseline.cpu_s / case.cpu_s, peak)


LAUNCHER = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Stands between a benchmark and its child: Linux starts the peak memory of a child at that of its parent."""


def run_child(command: Sequence[str]) -> Usage:
    """Run a command to its end, without its stdout; what it and its own children cost. ClickException if it fails."""
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    answer = subprocess.run(launcher, check=True, stdout=subprocess.PIPE, text=True).stdout
    exit_status, cpu_s, maxrss = answer.split()
    if exit_status != "0":
        raise click.ClickException(
            f"exit status {exit_status} of: {' '.join(command)}; its messages are above"
        )
    return Usage(float(cpu_s), int(maxrss) * MAXRSS_UNIT_BYTES)


def take_turns(cases: Mapping[str, Callable[[], Usage]], runs: int) -> dict[str, Case]:
    """Run every case, then every case again, `runs` times in all; progress goes to stderr."""
    usages: dict[str, list[Usage]] = {name: [] for name in cases}
    for turn in range(runs):
        for name, run in cases.items():
            click.echo(f"run {turn + 1} of {runs}: {name}", err=True)
            usages[name].append(run())
    return {name: Case(name, tuple(costs)) for name, costs in usages.items()}


def fastest_of_turns(cases: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Fastest run of each case in this process, elapsed seconds; they take turns.

    Each run follows one that is not counted, with threads awake and caches warm, and that follows `wait_until_idle`.
    """
    seconds = dict.fromkeys(cases, float("inf"))
    for _ in range(runs):
        for name, case in cases.items():
            wait_until_idle()
            case()
            start_s = time.perf_counter()
            case()
            seconds[name] = min(seconds[name], time.perf_counter() - start_s)
    return seconds


def wait_until_idle() -> None:
    """Return when no thread of this process runs.

    After a product OpenBLAS's threads wait for the next one in a loop, for 0.1 s, and take their processors from what
    is timed then.
    """
    while True:
        before_s = time.process_time()
        time.sleep(0.01)
        if time.process_time() - before_s < 0.002:
            return


def report(
    title: str, cases: Sequence[Case], ratios: Sequence[Ratio], notes: Sequence[str], as_json: bool
) -> None:
    """Print the cases, the ratios and what to know about them, as tables or as one JSON object."""
    if as_json:
        click.echo(json.dumps(_as_dict(title, cases, ratios, notes), indent=2))
    else:
        _print_tables(title, cases, ratios, notes)


def _as_dict(
    title: str, cases: Sequence[Case], ratios: Sequence[Ratio], notes: Sequence[str]
) -> dict[str, object]:
    return {
        "benchmark": title,
        "cases": [
            {
                "name": case.name,
                "median_cpu_s": case.cpu_s,
                "cpu_s": [run.cpu_s for run in case.runs],
                "peak_bytes": case.peak_bytes,
            }
            for case in cases
        ],
        "ratios": [
            {"name": ratio.name, "baseline": ratio.baseline, "cpu": ratio.cpu, "peak": ratio.peak}
            for ratio in ratios
        ],
        "notes": list(notes),
    }


def _print_tables(title: str, cases: Sequence[Case], ratios: Sequence[Ratio], notes: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    costs = Table(title=title, title_justify="left")
    costs.add_column("case", no_wrap=True)
    for column in ("CPU s (median)", "lowest to highest", "runs", "peak MB"):
        costs.add_column(column, justify="right", no_wrap=True)
    for case in cases:
        seconds = [run.cpu_s for run in case.runs]
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        costs.add_row(
            case.name, f"{case.cpu_s:.2f}", spread, str(len(seconds)), f"{case.peak_bytes / 1e6:,.0f}"
        )
    table = Table(title="Baseline / case", title_justify="left")
    for column in ("case", "baseline"):
        table.add_column(column, no_wrap=True)
    for column in ("CPU time", "peak memory"):
        table.add_column(column, justify="right", no_wrap=True)
    for ratio in ratios:
        table.add_row(ratio.name, ratio.baseline, f"{ratio.cpu:.1f}x", f"{ratio.peak:.1f}x")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(costs)
    console.print(table)
    for note in notes:
        console.print(note, highlight=False, markup=False)
