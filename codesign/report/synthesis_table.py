"""Synthesis reports beside the models, as a terminal table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from rich.table import Table

from codesign.report.resource_table import TITLES
from codesign.report.tables import console
from codesign.resources.synthesis import Row
from codesign.resources.usage import Range
from hls.csynth import Synthesis


def synthesis_json(reports: list[Synthesis], rows: list[Row], overlay: Mapping[str, int]) -> str:
    """One object: the reports, the comparison and the overlay."""
    data = {
        "reports": [asdict(report) | {"clock_hz": report.clock_hz} for report in reports],
        "comparison": [row.as_dict() for row in rows],
        "overlay": dict(overlay),
    }
    return json.dumps(data, indent=2, allow_nan=False)


def print_synthesis(arch_name: str, rows: list[Row], overlay: Mapping[str, int]) -> None:
    """A row for each quantity of each module, and what follows for the architecture."""
    table = Table(title=f"Synthesis beside the models of {arch_name}", title_justify="left")
    for title in ("module", "quantity", "synthesis", "model", ""):
        table.add_column(title, justify="right" if title in ("synthesis", "model") else "left")
    before = ""
    for row in rows:
        if before not in ("", row.module):
            table.add_section()
        name = TITLES.get(row.quantity, row.quantity)
        module = "" if row.module == before else row.module
        table.add_row(module, name, _number(row.found), _range(row.expected), row.verdict)
        before = row.module
    terminal = console()
    terminal.print(table)
    found = ", ".join(f"{key}: {value:,}" for key, value in overlay.items())
    terminal.print(f"As parameters of the architecture: {found}", highlight=False)


def _number(amount: float) -> str:
    return f"{amount:,.1f}".removesuffix(".0")


def _range(amount: Range | None) -> str:
    if amount is None:
        return ""
    low, high = _number(amount.low), _number(amount.high)
    return low if low == high else f"{low} to {high}"
