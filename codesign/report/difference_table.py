"""Two results side by side, on the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table

from codesign.report.difference import Change, Difference, shown, title
from codesign.report.explanation import explain
from codesign.report.tables import console
from codesign.spec_errors import printable

MAX_LAYERS = 10


def difference_json(difference: Difference) -> str:
    """Everything as one JSON object."""
    return json.dumps(difference.as_dict() | {"explanation": explain(difference)}, indent=2, allow_nan=False)


def print_difference(difference: Difference) -> None:
    """What was configured, then every list of changes, then the words."""
    terminal = console()
    for letter, simulation in (("A", difference.a), ("B", difference.b)):
        terminal.print(f"{letter}: {simulation.name}: {title(simulation)}", highlight=False)
    if not difference.identical:
        if difference.settings:
            terminal.print(_settings(difference))
        layers, more = difference.layer_cycles[:MAX_LAYERS], len(difference.layer_cycles) - MAX_LAYERS
        lists: dict[str, Sequence[Change]] = {
            "Iteration": difference.measures,
            "Cycles by stage": difference.stage_cycles,
            "Cycles by cause": difference.cause_cycles,
            "Cycles by layer" + (f", without the {more:,} that changed least" if more > 0 else ""): layers,
            "DRAM bytes by stage": difference.stage_bytes,
            "Energy by component, J": difference.component_joules,
        }
        for heading, changes in lists.items():
            if changes:
                terminal.print(_changes(heading, changes))
    for line in [*difference.notes, *map(printable, explain(difference))]:
        terminal.print(line, highlight=False)


def _settings(difference: Difference) -> Table:
    table = Table(title="Configuration", title_justify="left")
    for heading in ("setting", "A", "B"):
        table.add_column(heading)
    for setting in difference.settings:
        table.add_row(setting.key, shown(setting.a), shown(setting.b))
    return table


def _changes(heading: str, changes: Sequence[Change]) -> Table:
    table = Table(title=heading, title_justify="left")
    table.add_column("")
    for column in ("A", "B", "B - A", "B / A"):
        table.add_column(column, justify="right")
    for change in changes:
        ratio = "" if change.ratio is None else f"{change.ratio:.3f}"
        table.add_row(
            printable(change.name), amount(change.a), amount(change.b), amount(change.difference, "+"), ratio
        )
    return table


def amount(number: float, sign: str = "") -> str:
    """Integers in full, others to four digits."""
    if not number:
        return "0"
    return f"{number:{sign},d}" if isinstance(number, int) else f"{number:{sign},.4g}"
