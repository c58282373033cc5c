"""The page of two results side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import plotly.graph_objects as go

from codesign.report.difference import Change, Difference, shown, title
from codesign.report.difference_table import amount
from codesign.report.explanation import explain, largest
from codesign.report.html.page import Chart, Column, Item, Page, Section, Table, Tile
from codesign.report.html.style import CAUSE_COLOURS, VARIANTS, figure, labels, safe
from codesign.report.numbers import joule_unit, short
from codesign.spec_errors import printable

FEWER, MORE = VARIANTS[2], VARIANTS[5]
LAYERS_IN_CHART = 25
BARS = ("A", "B")
OTHERS = "others"


def difference_page(difference: Difference) -> Page:
    """What differs, in words, charts and tables."""
    a, b = difference.a, difference.b
    return Page(
        title="Identical results" if difference.identical else "B against A",
        subtitle=f"A: {a.name}: {title(a)}. B: {b.name}: {title(b)}.",
        tiles=list(_tiles(difference)),
        sections=[
            Section(
                "words", "What changed", [], lines=[*difference.notes, *map(printable, explain(difference))]
            ),
            *_sections(difference),
        ],
    )


def _tiles(difference: Difference) -> Iterator[Tile]:
    a, b = difference.a.result, difference.b.result
    yield Tile("Iteration", f"{1e3 * b.latency_s:,.1f} ms", f"A: {1e3 * a.latency_s:,.1f} ms")
    yield Tile("Speed relative to A", f"{a.latency_s / b.latency_s:.3f}x", "time of an iteration")
    per_sample = [1e3 * each.latency_s / each.workload.batch for each in (a, b)]
    yield Tile("Time of one sample", f"{per_sample[1]:,.3f} ms", f"A: {per_sample[0]:,.3f} ms")
    if a.energy and b.energy:
        joules = [each.energy.total_j.nominal for each in (a, b) if each.energy]
        unit, size = joule_unit(joules[1])
        yield Tile("Energy", f"{short(joules[1] / size)} {unit}", f"A: {short(joules[0] / size)} {unit}")
    traffic = [(each.dram_bytes.read + each.dram_bytes.write) / 1e9 for each in (a, b)]
    yield Tile("DRAM traffic", f"{traffic[1]:,.3f} GB", f"A: {traffic[0]:,.3f} GB")


def _sections(difference: Difference) -> Iterator[Section]:
    if difference.settings:
        columns = [Column("setting"), Column("A"), Column("B")]
        rows = [[setting.key, shown(setting.a), shown(setting.b)] for setting in difference.settings]
        yield Section("configuration", "Configuration", [Table("Settings that differ", columns, rows)])
    yield Section(
        "iteration", "Iteration", [_table("Figures of an iteration", "figure", difference.measures)]
    )
    causes: list[Item] = [
        _cause_chart(difference),
        _waterfall(difference),
        _table("By cause", "cause", difference.cause_cycles),
    ]
    yield Section("causes", "Cycles by cause", causes)
    yield Section("stages", "Cycles by stage", [_table("By stage", "stage", _upper(difference.stage_cycles))])
    layers: list[Item] = [*_layer_charts(difference), _layer_table(difference.layer_cycles)]
    yield Section("layers", "Cycles by layer", layers)
    yield Section(
        "traffic", "DRAM traffic", [_table("Bytes by stage", "stage", _upper(difference.stage_bytes))]
    )
    if difference.component_joules:
        yield Section(
            "energy", "Energy", [_table("Joules by component", "component", difference.component_joules)]
        )


def _cause_chart(difference: Difference) -> Chart:
    """A bar for each result."""
    found = {change.name: change for change in difference.cause_cycles}
    bars = [
        go.Bar(
            y=list(BARS),
            x=[found[cause].a, found[cause].b],
            orientation="h",
            name=cause,
            marker={"color": colour},
            hovertemplate=f"%{{y}}, {cause}: %{{x:,d}} cycles<extra></extra>",
        )
        for cause, colour in CAUSE_COLOURS.items()
        if cause in found
    ]
    chart = figure(
        *bars,
        height=230,
        barmode="stack",
        xaxis={"title": {"text": "cycles"}},
        yaxis={"type": "category", "autorange": "reversed"},
    )
    note = "What the array did in each cycle of an iteration: useful multiply-accumulates, or the cause of waiting."
    return Chart("causes", "Where the cycles go", chart, note)


def _waterfall(difference: Difference) -> Chart:
    """From A to B over the causes that changed most; the others are one step."""
    main = largest(difference.cause_cycles)
    rest = sum(change.difference for change in difference.cause_cycles if change not in main)
    steps = {change.name: change.difference for change in main} | ({OTHERS: rest} if rest else {})
    total = difference.total
    starts = [0, *accumulate(steps.values(), initial=total.a)][:-1]
    colours = [MORE if step > 0 else FEWER for step in steps.values()]
    bars = go.Bar(
        x=["A", *steps, "B"],
        base=[*starts, 0],
        y=[total.a, *steps.values(), total.b],
        marker={"color": [VARIANTS[0], *colours, VARIANTS[0]]},
        hovertemplate="%{x}: %{y:+,d} cycles<extra></extra>",
        showlegend=False,
    )
    chart = figure(bars, height=340, xaxis={"type": "category"}, yaxis={"title": {"text": "cycles"}})
    note = f"Green: fewer cycles in B; orange: more. Causes that changed little are one step, {OTHERS}."
    return Chart("waterfall", "From A to B: causes that changed most", chart, note)


def _layer_charts(difference: Difference) -> Iterator[Chart]:
    changed = [change for change in difference.layer_cycles if change.difference][:LAYERS_IN_CHART]
    if not changed:
        return
    bars = go.Bar(
        y=labels([change.name for change in changed]),
        x=[change.difference for change in changed],
        orientation="h",
        marker={"color": [MORE if change.difference > 0 else FEWER for change in changed]},
        hovertext=[f"{safe(change.name)}: {change.difference:+,} cycles" for change in changed],
        hoverinfo="text",
        showlegend=False,
    )
    chart = figure(
        bars,
        height=80 + 20 * len(changed),
        xaxis={"title": {"text": "cycles more in B"}},
        yaxis={"type": "category", "autorange": "reversed"},
    )
    yield Chart("layers", "Layers that changed most", chart, "Green: fewer cycles in B; orange: more.")


def _table(name: str, what: str, changes: Sequence[Change]) -> Table:
    """Figures of different kinds, each to its own digits."""
    rows = [
        [change.name, amount(change.a), amount(change.b), amount(change.difference, "+"), change.ratio]
        for change in changes
    ]
    return Table(name, _columns(what, "s", "s"), rows)


def _layer_table(changes: Sequence[Change]) -> Table:
    """Cycles, which sort as numbers."""
    rows = [[printable(each.name), each.a, each.b, each.difference, each.ratio] for each in changes]
    return Table("By layer", _columns("layer", ",d", "+,d"), rows, interactive=True)


def _columns(what: str, form: str, signed: str) -> list[Column]:
    return [
        Column(what),
        Column("A", form),
        Column("B", form),
        Column("B - A", signed),
        Column("B / A", ".3f"),
    ]


def _upper(changes: Sequence[Change]) -> list[Change]:
    return [change._replace(name=change.name.upper()) for change in changes]
