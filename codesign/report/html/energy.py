"""Energy of an iteration with its ranges."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from codesign.energy.ranges import Range
from codesign.report.html.page import Chart, Column, Section, Table, Tile
from codesign.report.html.style import VARIANTS, figure, safe
from codesign.report.numbers import joule_unit, short, span
from codesign.report.saved import SavedEnergy
from codesign.spec_errors import printable


def energy_tiles(energy: SavedEnergy) -> list[Tile]:
    """Energy, and what a joule buys."""
    unit, size = joule_unit(energy.total_j.nominal)
    total, power, rate = energy.total_j / size, energy.average_power_w, energy.effective_gops_per_w
    return [
        Tile("Energy", f"{short(total.nominal)} {unit}", f"{span(total)} {unit}, {printable(energy.source)}"),
        Tile("Power", f"{short(power.nominal)} W", f"{span(power)} W"),
        Tile("Efficiency", f"{short(rate.nominal)} GOPS/W", f"{span(rate)} effective GOPS/W"),
    ]


def energy_section(energy: SavedEnergy) -> Section:
    """Components and stages as charts and as a table."""
    unit, size = joule_unit(energy.total_j.nominal)
    components = {name: component.energy_j / size for name, component in energy.components.items()}
    largest = dict(sorted(components.items(), key=lambda item: item[1].nominal))
    stages = {stage.upper(): joules / size for stage, joules in energy.stages.items()}
    note = (
        f"Prices of {printable(energy.source)}. Bars: nominal; whiskers: all prices at their lower, or all at their "
        "upper ends."
    )
    if energy.saving_vs_dense is not None:
        note += (
            f" Dense training takes {energy.saving_vs_dense.nominal:.3f}x the energy on the same hardware."
        )
    return Section(
        "energy",
        "Energy",
        [
            Chart(
                "energy-components",
                "Energy by component",
                _bars(largest, unit, 60 + 22 * len(largest)),
                wide=False,
            ),
            Chart(
                "energy-stages",
                "Energy by stage",
                _bars(dict(reversed(stages.items())), unit, 300),
                wide=False,
            ),
            _table(energy, unit, size),
        ],
        note=note,
    )


def _bars(energies: Mapping[str, Range], unit: str, height: int) -> go.Figure:
    ranges = list(energies.values())
    bars = go.Bar(
        y=[safe(name) for name in energies],
        x=[each.nominal for each in ranges],
        error_x={
            "array": [each.high - each.nominal for each in ranges],
            "arrayminus": [each.nominal - each.low for each in ranges],
            "color": "#7b8791",
            "thickness": 1.5,
            "width": 4,
        },
        orientation="h",
        marker={"color": VARIANTS[0]},
        hovertext=[
            f"{safe(name)}: {short(each.nominal)} {unit} ({span(each)})" for name, each in energies.items()
        ],
        hoverinfo="text",
        showlegend=False,
    )
    return figure(
        bars,
        height=height,
        xaxis={"title": {"text": f"energy of an iteration, {unit}"}},
        yaxis={"type": "category"},
    )


def _table(energy: SavedEnergy, unit: str, size: float) -> Table:
    columns = [
        Column("component"),
        *(Column(f"{end}, {unit}", ",.4f") for end in ("low", "nominal", "high")),
        Column("share", ".1%"),
        Column("rests on"),
    ]
    parts = {name: (component.energy_j, component.status) for name, component in energy.components.items()}
    ordered = sorted(parts.items(), key=lambda part: -part[1][0].nominal)
    rows = [
        [printable(name), *_cells(joules, size), joules.nominal / energy.total_j.nominal, printable(status)]
        for name, (joules, status) in [*ordered, ("total", (energy.total_j, ""))]
    ]
    return Table("Energy by component", columns, rows, emphasis=[len(rows) - 1])


def _cells(joules: Range, size: float) -> list[float]:
    return [joules.low / size, joules.nominal / size, joules.high / size]
