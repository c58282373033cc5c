"""Where the cycles go: by stage, by cause and by layer, and when each unit works."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import plotly.graph_objects as go

from codesign.report.html.page import Chart
from codesign.report.html.style import CAUSE_COLOURS, STAGE_COLOURS, figure, labels, safe
from codesign.report.machine_readable import UNIT_LANES
from codesign.report.parts import cycles_by_cause
from codesign.result import OpResult, Share, SimResult

Parts = Mapping[str, Mapping[str, int]]
"""Cycles by bar and by kind."""


def stage_chart(result: SimResult) -> Chart:
    """A bar for each stage, by cause."""
    parts = {stage.upper(): cycles_by_cause(share) for stage, share in result.stages.items()}
    bars = [
        go.Bar(
            y=list(parts),
            x=[_ms(result, part.get(cause, 0)) for part in parts.values()],
            orientation="h",
            name=cause,
            marker={"color": CAUSE_COLOURS[cause]},
            hovertemplate=f"%{{y}}, {cause}: %{{x:,.2f}} ms<extra></extra>",
        )
        for cause in _kinds(parts, CAUSE_COLOURS)
    ]
    chart = figure(
        *bars,
        height=300,
        barmode="stack",
        xaxis={"title": {"text": "time in an iteration, ms"}},
        yaxis={"autorange": "reversed"},
    )
    note = (
        "All bars together are the iteration. FF: forward, BP: input gradients, WU: weight gradients and update, "
        "OTHER: time in which the array waits for work that is no GEMM. The causes are explained below."
    )
    return Chart("stages", "Time of every stage by cause", chart, note)


def layer_stage_chart(result: SimResult) -> Chart:
    """A bar for each layer, by stage."""
    parts = {
        layer: {stage: share.cycles for stage, share in shares.items()}
        for layer, shares in result.layers.items()
    }
    chart = _layer_chart(result, parts, STAGE_COLOURS)
    note = "In the order of the forward pass. A layer without a bar is hidden behind work of other layers."
    return Chart("layers-by-stage", "Time of every layer by stage", chart, note)


def layer_cause_chart(result: SimResult) -> Chart:
    """A bar for each layer, by cause."""
    parts = {layer: cycles_by_cause(sum(shares.values(), Share())) for layer, shares in result.layers.items()}
    chart = _layer_chart(result, parts, CAUSE_COLOURS)
    note = "The same bars by what the array did or waited for. Drag to zoom, double-click to return."
    return Chart("layers-by-cause", "Time of every layer by cause", chart, note)


def _layer_chart(result: SimResult, parts: Parts, colours: Mapping[str, str]) -> go.Figure:
    names = labels(list(parts))
    hover = list(map(safe, parts))
    bars = [
        go.Bar(
            x=names,
            y=[_ms(result, part.get(kind, 0)) for part in parts.values()],
            name=kind.upper() if kind in STAGE_COLOURS else kind,
            marker={"color": colours[kind]},
            customdata=hover,
            hovertemplate=f"%{{customdata}}<br>{kind}: %{{y:,.3f}} ms<extra></extra>",
        )
        for kind in _kinds(parts, colours)
    ]
    return figure(
        *bars,
        height=440,
        barmode="stack",
        bargap=0.1,
        xaxis={"type": "category", "tickangle": -90, "tickfont": {"size": 11}},
        yaxis={"title": {"text": "time in an iteration, ms"}},
    )


def timeline_chart(result: SimResult) -> Chart:
    """A lane for each unit, a bar for each operation.

    A unit may start the next operation while results of the last are being stored; the later bar covers that.
    """
    ops = sorted(result.ops, key=lambda op: op.start_cycle)
    bars = go.Bar(
        y=[UNIT_LANES[op.unit] for op in ops],
        base=[_ms(result, op.start_cycle) for op in ops],
        x=[_ms(result, op.end_cycle - op.start_cycle) for op in ops],
        orientation="h",
        width=0.7,
        marker={"color": [STAGE_COLOURS[op.stage] for op in ops], "line": {"width": 0}},
        hovertext=[_about(result, op) for op in ops],
        hoverinfo="text",
        showlegend=False,
    )
    legend = [
        go.Bar(x=[None], y=[None], name=stage.upper(), marker={"color": colour})
        for stage, colour in STAGE_COLOURS.items()
        if any(op.stage == stage for op in ops)
    ]
    chart = figure(
        bars,
        *legend,
        height=280,
        barmode="overlay",
        xaxis={
            "title": {"text": "time since the start of the iteration, ms"},
            "range": [0, 1e3 * result.latency_s],
        },
        yaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": list(UNIT_LANES.values())[::-1],
            "fixedrange": True,
        },
    )
    note = (
        "A bar for each operation, in the colour of its stage; gaps are waiting. Drag to zoom, double-click to "
        "return. timeline.json shows the same in ui.perfetto.dev."
    )
    return Chart("timeline", "Operations on every unit", chart, note)


def _about(result: SimResult, op: OpResult) -> str:
    start, end = (_ms(result, cycle) for cycle in (op.start_cycle, op.end_cycle))
    what = " ".join(part for part in (op.kind, op.sparsity, op.dataflow.upper()) if part)
    return (
        f"<b>{safe(op.name)}</b><br>{safe(what)}<br>{start:,.3f} to {end:,.3f} ms ({end - start:,.3f} ms)<br>"
        f"{op.end_cycle - op.start_cycle:,} cycles, {op.busy_cycles:,} of them busy<br>"
        f"{op.read_bytes / 1e6:,.2f} MB read, {op.write_bytes / 1e6:,.2f} MB written"
    )


def _kinds(parts: Parts, order: Iterable[str]) -> list[str]:
    """Kinds that occur in any part, in `order`."""
    return [kind for kind in order if any(part.get(kind) for part in parts.values())]


def _ms(result: SimResult, cycles: int) -> float:
    return 1e3 * result.seconds(cycles)
