"""Comparisons with others, for the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rich.table import Table

from codesign.report.tables import console
from codesign.spec_errors import printable
from codesign.validate.document import VALUE_COLUMNS, cells
from codesign.validate.row import Row, Verdict


def validation_json(found: Mapping[str, Sequence[Row]], holds: bool) -> str:
    """All rows as one JSON object."""
    rows = {name: [row.as_dict() for row in rows] for name, rows in found.items()}
    return json.dumps({"holds": holds, "comparisons": rows}, indent=2, allow_nan=False)


def print_validation(found: Mapping[str, Sequence[Row]]) -> None:
    """One table of everything."""
    table = Table(title="The simulator against others", title_justify="left")
    for title in ("comparison", "what", "against"):
        table.add_column(title)
    for title in VALUE_COLUMNS:
        table.add_column(title, justify="right")
    for title in ("verdict", "note"):
        table.add_column(title)
    for name, rows in found.items():
        for row in rows:
            table.add_row(name, *map(printable, cells(row)))
        table.add_section()
    terminal = console()
    terminal.print(table)
    every = [row.verdict for rows in found.values() for row in rows]
    counts = ", ".join(f"{every.count(verdict)} {verdict}" for verdict in Verdict if verdict in every)
    terminal.print(f"{len(every)} rows: {counts}", highlight=False)
