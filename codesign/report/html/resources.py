"""FPGA resources of the architecture beside a device."""

from __future__ import annotations

from collections import defaultdict

import plotly.graph_objects as go

from codesign.report.html.page import Chart, Column, Section, Table, Tile
from codesign.report.html.style import HIGHLIGHT, VARIANTS, figure
from codesign.report.numbers import interval
from codesign.report.resource_table import TITLES
from codesign.resources import Device, Fit, Resources, Usage
from codesign.resources.usage import RESOURCES


def device_tile(device_name: str, fit: Fit) -> Tile:
    """Whether the device holds the architecture."""
    share = fit.utilization[fit.fullest]
    return Tile(
        f"Fits {device_name}",
        str(fit.fits),
        f"{TITLES[fit.fullest]} runs out first: {share.low:.0%} to {share.high:.0%} used",
    )


def resource_section(resources: Resources, device_name: str, device: Device, fit: Fit) -> Section:
    """Shares of the device by kind of component, and every component in numbers."""
    note = (
        f"{device.description} ({device.part}), {resources.operators} operators. Fits: {fit.fits}. Within practical "
        f"limits: {fit.closes}; {TITLES[fit.binding]} reaches its limit first. (perhaps: only the low estimate does.)"
    )
    return Section("resources", "Resources", [_chart(resources, device, fit), _table(resources)], note=note)


def _chart(resources: Resources, device: Device, fit: Fit) -> Chart:
    present = list(fit.utilization)
    rows = [TITLES[resource] for resource in present]
    families: defaultdict[str, Usage] = defaultdict(Usage)
    for name, component in resources.components.items():
        families[name.partition(".")[0]] += component.total
    bars = [
        go.Bar(
            y=rows,
            x=[100 * usage[resource].high / device.available(resource) for resource in present],
            orientation="h",
            name=family,
            marker={
                "color": VARIANTS[number % len(VARIANTS)],
                "pattern": {"shape": "/" if number >= len(VARIANTS) else ""},
            },
            hovertemplate=f"%{{y}}, {family}: %{{x:.1f}} %<extra></extra>",
        )
        for number, (family, usage) in enumerate(families.items())
    ]
    low = [100 * fit.utilization[resource].low for resource in present]
    limits = [100 * fit.limits[resource] for resource in present]
    chart = figure(
        *bars,
        _marks(rows, low, "total, low estimate", "diamond", "#1d242b", 9),
        _marks(rows, limits, "practical limit", "line-ns-open", HIGHLIGHT, 22),
        height=360,
        barmode="stack",
        xaxis={"title": {"text": "% of the device, high estimate"}, "rangemode": "tozero"},
        yaxis={"type": "category", "autorange": "reversed"},
    )
    return Chart("resources", "Utilisation by component", chart)


def _marks(
    rows: list[str], shares: list[float], name: str, symbol: str, colour: str, size: int
) -> go.Scatter:
    return go.Scatter(
        x=shares,
        y=rows,
        mode="markers",
        name=name,
        marker={
            "symbol": symbol,
            "color": colour,
            "size": size,
            "line": {"width": 2.5 if size > 10 else 1, "color": colour if size > 10 else "#ffffff"},
        },
        hovertemplate=f"%{{y}}, {name}: %{{x:.1f}} %<extra></extra>",
    )


def _table(resources: Resources) -> Table:
    columns = [Column("component"), Column("count", ",d"), *(Column(TITLES[r], "s") for r in RESOURCES)]
    rows = [
        [name, component.count, *_amounts(component.total), component.what, _basis(component.total)]
        for name, component in resources.components.items()
    ]
    rows.append(["total", None, *_amounts(resources.total), "", ""])
    title = "Resources by component, low to high estimate"
    return Table(title, [*columns, Column("one is"), Column("rests on")], rows, emphasis=[len(rows) - 1])


def _amounts(usage: Usage) -> list[str]:
    return [interval(usage[resource].low, usage[resource].high) for resource in RESOURCES]


def _basis(usage: Usage) -> str:
    return ", ".join(usage.as_dict()["basis"])
