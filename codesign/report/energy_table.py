"""Energy of an iteration, and of every action, as terminal tables."""

from __future__ import annotations

from rich.table import Table

from codesign.energy.estimate import EnergyResult
from codesign.energy.ranges import Range
from codesign.energy.table import EnergyTable
from codesign.report.tables import console
from codesign.spec_errors import printable

UNITS = {"J": 1.0, "mJ": 1e-3, "µJ": 1e-6, "nJ": 1e-9}


def print_energy(energy: EnergyResult) -> None:
    """Energy by component and by stage, then power and efficiency."""
    unit, joules = next(
        ((unit, size) for unit, size in UNITS.items() if energy.total_joules.nominal >= size), ("nJ", 1e-9)
    )
    table = _table(
        f"Energy of an iteration, {unit}, with {printable(energy.source)}", "component", "rests on"
    )
    for name, component in energy.components.items():
        table.add_row(name, *_cells(component.joules, energy, joules), component.status)
    table.add_section()
    table.add_row("total", *_cells(energy.total_joules, energy, joules), style="bold")
    stages = _table(f"Energy by stage, {unit}", "stage")
    for stage, spent in energy.stages.items():
        stages.add_row(stage.upper(), *_cells(spent, energy, joules))
    terminal = console()
    terminal.print(table)
    terminal.print(stages)
    terminal.print(_summary(energy), highlight=False)


def print_prices(prices: EnergyTable, design: str) -> None:
    """What each action costs, by component, and what the figures stand for."""
    title = f"Picojoules of an action of {printable(design)}, with {printable(prices.name)}"
    table = Table(title=title, title_justify="left")
    for heading in ("component", "action"):
        table.add_column(heading)
    for heading in ("low", "nominal", "high"):
        table.add_column(heading, justify="right")
    table.add_column("rests on")
    last = ""
    for name, price in prices.prices.items():
        component, _, action = name.partition(".")
        cost = price.picojoules
        amounts = map(_short, (cost.low, cost.nominal, cost.high))
        table.add_row(component if component != last else "", action, *amounts, price.status)
        last = component
    terminal = console()
    terminal.print(table)
    terminal.print("What acts on bits costs this much a bit, leak this much a clock cycle.", highlight=False)
    terminal.print(printable(prices.description), highlight=False)


def _table(title: str, subject: str, *more: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(subject)
    for heading in ("low", "nominal", "high", "share"):
        table.add_column(heading, justify="right")
    for heading in more:
        table.add_column(heading)
    return table


def _cells(spent: Range, energy: EnergyResult, unit_joules: float) -> list[str]:
    amounts = [f"{amount / unit_joules:,.3f}" for amount in (spent.low, spent.nominal, spent.high)]
    return [*amounts, f"{spent.nominal / energy.total_joules.nominal:.1%}"]


def _summary(energy: EnergyResult) -> str:
    lines = [
        f"Average power {_span(energy.average_watts)} W; "
        f"{_span(energy.effective_gops_per_watt)} effective GOPS/W, "
        f"{_span(energy.dense_equivalent_gops_per_watt)} dense-equivalent"
    ]
    if energy.picojoules_per_mac is not None:
        lines[0] += f"; {_span(energy.picojoules_per_mac)} pJ a multiply-accumulate, everything included"
    if energy.saving_vs_dense is not None and energy.baseline is not None:
        lines.append(
            f"Dense training on the same hardware takes {energy.saving_vs_dense.nominal:.3f}x the energy "
            f"({_short(energy.baseline.total_joules.nominal)} J, {_short(energy.baseline.average_watts.nominal)} W)"
        )
    return "\n".join([*lines, printable(energy.description)])


def _span(value: Range) -> str:
    return f"{_short(value.nominal)} ({_short(value.low)} to {_short(value.high)})"


def _short(number: float) -> str:
    """Three digits, without an exponent for large numbers."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
