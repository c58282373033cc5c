"""Training methods side by side, for the terminal and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from rich.table import Table

from codesign.compare_methods import Comparison
from codesign.report.tables import console
from codesign.spec_errors import printable


def comparison_json(comparisons: Sequence[Comparison]) -> str:
    """The rows as one JSON object."""
    return json.dumps({"comparison": [each.as_dict() for each in comparisons]}, indent=2, allow_nan=False)


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """The rows as a table with a header."""
    rows = [each.as_dict() for each in comparisons]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"seeds": " ".join(map(str, row["seeds"]))} for row in rows)
    return text.getvalue()


def print_comparison(comparisons: Sequence[Comparison]) -> None:
    """Accuracy, loss, operations and hardware time of each variant; the first is the dense one."""
    dense = comparisons[0]
    run, iteration = dense.runs[0], dense.iteration
    table = Table(
        title=f"{printable(run.model)} on {printable(run.data)}, {run.planned_steps:,} steps, "
        f"{len(dense.runs)} seeds; batch {iteration.batch} on {iteration.arch_name}",
        title_justify="left",
    )
    table.add_column("method")
    for title in ("accuracy", "vs dense", "val. loss", "FF MMACs", "BP MMACs", "WU MMACs"):
        table.add_column(title, justify="right")
    for title in ("ms/iteration", "speedup", "run s", "run speedup"):
        table.add_column(title, justify="right")
    for each in comparisons:
        table.add_row(
            str(each.variant),
            _spread(each, "validation_accuracy", 100, "%"),
            _difference(each, dense),
            _spread(each, "validation_loss", 1, ""),
            *(f"{each.macs_per_sample(stage) / 1e6:,.2f}" for stage in ("ff", "bp", "wu")),
            f"{each.iteration.latency_s * 1e3:,.2f}",
            f"{each.iteration.speedup_vs_dense:.3f}x",
            f"{each.hardware.total_s:,.1f}",
            f"{each.hardware.speedup_vs_dense:.3f}x",
        )
    console().print(table)


def _spread(each: Comparison, measure: str, factor: float, unit: str) -> str:
    """Mean and standard deviation over the seeds."""
    mean, deviation = each.mean(measure), each.deviation(measure)
    digits = 2 if unit else 4
    if mean is None:
        return ""
    spread = "" if deviation is None else f" ± {factor * deviation:.{digits}f}"
    return f"{factor * mean:.{digits}f}{spread}{unit}"


def _difference(each: Comparison, dense: Comparison) -> str:
    """Percentage points of accuracy against dense training."""
    mine, baseline = (run.mean("validation_accuracy") for run in (each, dense))
    return "" if mine is None or baseline is None or each is dense else f"{100 * (mine - baseline):+.2f} pp"
