"""Checks of a recorded training step, for the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table

from codesign.report.tables import console
from codesign.spec_errors import printable
from codesign.verify import Check


def checks_json(checks: Sequence[Check]) -> str:
    """All checks as one JSON object; a bound that is infinitely exceeded is null."""
    rows = [asdict(check) | {"holds": check.holds} for check in checks]
    return json.dumps({"holds": all(check.holds for check in checks), "checks": _finite(rows)}, indent=2)


def print_checks(checks: Sequence[Check]) -> None:
    """A row for each layer and pass."""
    table = Table(title="The accelerator's results against PyTorch's", title_justify="left")
    for title in ("layer", "pass"):
        table.add_column(title)
    for title in ("elements", "max ulp", "mean ulp", "worst/bound"):
        table.add_column(title, justify="right")
    for title in ("verdict", "note"):
        table.add_column(title)
    for check in checks:
        numbers = (f"{check.max_ulp:,.2f}", f"{check.mean_ulp:,.3f}", f"{check.worst_bound_share:.1%}")
        table.add_row(
            printable(check.layer),
            check.what,
            f"{check.elements:,}" if check.elements else "",
            *(numbers if check.elements else ("", "", "")),
            ("holds" if check.holds else "BROKEN") if check.elements else "not checked",
            check.note,
        )
    terminal = console()
    terminal.print(table)
    broken = sum(not check.holds for check in checks)
    verdict = f"{broken} of {len(checks)} bounds are broken" if broken else "Every bound holds"
    terminal.print(
        f"{verdict}. An ulp is a step of the 16-bit format at the RMS of PyTorch's result; bounds are derived for "
        "every element.",
        highlight=False,
    )


def _finite(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    infinite = (float("inf"), float("-inf"))
    return [
        {
            name: None if isinstance(value, float) and (value in infinite or value != value) else value
            for name, value in row.items()
        }
        for row in rows
    ]
