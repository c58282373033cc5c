"""A sweep on the terminal and as one JSON object."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.table import Table

from codesign.report.tables import console
from codesign.spec_errors import printable

if TYPE_CHECKING:
    from codesign.sweep.engine import Tally
    from codesign.sweep.view import Front, Row

MAX_ROWS = 40
MAX_REASONS = 5


def sweep_json(tally: Tally, front: Front, store: str) -> str:
    """What became of the points, and the front."""
    data = {
        "store": store,
        "points": tally.points,
        "computed": tally.computed,
        "reused": tally.reused,
        "failed": tally.failed,
        "dropped": tally.dropped,
        "objectives": [
            {"name": each.name, "column": each.column, "direction": "max" if each.maximize else "min"}
            for each in front.objectives
        ],
        "front": front.rows,
    }
    return json.dumps(data, indent=2, allow_nan=False)


def print_sweep(tally: Tally, front: Front, parameters: Sequence[str], error: str | None) -> None:
    """The front of each workload, then what became of the points; `error` is the first of a failed one."""
    output = console()
    for _, rows in groupby(front.rows, key=lambda row: row["workload_sha256"]):
        output.print(_table(list(rows), front, parameters))
    output.print(_summary(tally, error), highlight=False)


def _table(rows: Sequence[Row], front: Front, parameters: Sequence[str]) -> Table:
    names = ", ".join(objective.name for objective in front.objectives)
    title = f"{printable(rows[0]['workload'])}, batch {rows[0]['batch']}: Pareto front of {names}"
    table = Table(title=title, title_justify="left")
    shown = list(dict.fromkeys([*(objective.column for objective in front.objectives), "speedup", "fits"]))
    for column in ("arch", *parameters, "method", "N:M"):
        table.add_column(column)
    for column in shown:
        table.add_column(column, justify="right")
    for row in rows[:MAX_ROWS]:
        what = [row["arch"], *(_text(row[key]) for key in parameters), row["method"], row["nm"] or ""]
        table.add_row(*map(printable, what), *(_text(row[column]) for column in shown))
    if len(rows) > MAX_ROWS:
        table.caption = f"and {len(rows) - MAX_ROWS} more"
    return table


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if type(value) is int else "" if value is None else str(value)


def _summary(tally: Tally, error: str | None) -> str:
    lines = [
        f"{tally.points:,} points: {tally.computed:,} computed, {tally.reused:,} reused, {tally.failed:,} failed"
    ]
    if error is not None:
        lines.append(f"First failure: {printable(error)} (try again with --retry-failed)")
    if tally.dropped:
        lines.append(f"{sum(tally.dropped.values()):,} combinations dropped, which cannot be:")
        common = Counter(tally.dropped).most_common(MAX_REASONS)
        lines += [f"  {count:,} x {printable(reason)}" for reason, count in common]
        if more := len(tally.dropped) - len(common):
            lines.append(f"  and {more:,} more reasons")
    return "\n".join(lines)
