"""How many points a second `codesign sweep` computes, and whether its memory grows with the sweep.

ResNet-18, batch 64, on arrays and lanes around the packaged `sat` architecture, five N:M ratios each. Every case is
the whole command in a process of its own, workers included, from an empty store to the tables. Baseline: `codesign
simulate` once for each point, which is what a script without the engine would do.

Peak memory is that of the largest process. If it does not grow from the first quarter of the points to all of them,
neither the sweep nor its workers hold on to what they have computed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
from measure import Usage, run_child

RATIOS = ("1:8", "2:8", "4:8", "2:4", "2:16")
ROWS = (16, 24, 32, 48, 64)
COLUMNS = (16, 24, 32, 48, 64)
LANES = (8, 16, 24, 32, 40, 48, 56, 64)
POINTS = len(RATIOS) * len(ROWS) * len(COLUMNS) * len(LANES)


class Sample(NamedTuple):
    """One sweep: points that were asked for, its workers, elapsed seconds, cost of all its processes."""

    points: int
    workers: int
    elapsed_s: float
    usage: Usage

    def as_dict(self) -> dict[str, float]:
        """The machine-readable row."""
        return {
            "points": self.points,
            "workers": self.workers,
            "elapsed_s": self.elapsed_s,
            "points_per_s": self.points / self.elapsed_s,
            "cpu_s_per_point": self.usage.cpu_s / self.points,
            "peak_mb": self.usage.peak_bytes / 1e6,
        }


@click.command()
@click.option(
    "--points",
    type=click.IntRange(min=20, max=POINTS),
    default=200,
    show_default=True,
    help="Points of the longest sweep.",
)
@click.option("--workers", type=click.IntRange(min=1), multiple=True, default=(1, 2), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(points: int, workers: tuple[int, ...], as_json: bool) -> None:
    """Points a second and peak memory of sweeps, against one simulation after the other."""
    samples = [sweep(count, number) for number in workers for count in (points // 4, points)]
    single = run_child([*_codesign("simulate"), "--nm", RATIOS[0]]).cpu_s
    rows = [sample.as_dict() for sample in samples]
    if as_json:
        click.echo(
            json.dumps({"benchmark": "codesign sweep", "simulate_cpu_s": single, "sweeps": rows}, indent=2)
        )
        return
    click.echo("points  workers  elapsed s  points/s  CPU s/point  peak MB")
    for row in rows:
        click.echo(
            f"{row['points']:>6}  {row['workers']:>7}  {row['elapsed_s']:>9.1f}  {row['points_per_s']:>8.1f}  "
            f"{row['cpu_s_per_point']:>11.3f}  {row['peak_mb']:>7.0f}"
        )
    click.echo(f"codesign simulate, a process for each point: {single:.3f} CPU s")


def sweep(points: int, workers: int) -> Sample:
    """Run a sweep of the first `points` points into an empty store."""
    click.echo(f"{points} points, {workers} workers", err=True)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "points.csv"
        table.write_text("\n".join(["nm,array.rows,array.cols,vector_unit.lanes", *_rows()[:points], ""]))
        start_s = time.perf_counter()
        usage = run_child(
            [*_codesign("sweep"), "--points", str(table), "--out", folder, "--workers", str(workers)]
        )
        return Sample(points, workers, time.perf_counter() - start_s, usage)


def _rows() -> list[str]:
    return [
        f"{nm},{rows},{columns},{lanes}"
        for rows in ROWS
        for columns in COLUMNS
        for lanes in LANES
        for nm in RATIOS
    ]


def _codesign(command: str) -> list[str]:
    return [sys.executable, "-m", "codesign", command]


if __name__ == "__main__":
    main()
