"""What the scheduler chose for the products of every layer."""

from __future__ import annotations

import plotly.graph_objects as go

from codesign.report.html.page import Chart
from codesign.report.html.style import figure, labels, safe
from codesign.result import SimResult

STAGES = ("ff", "bp", "wu")

KINDS = {
    "WS, dense": "#9ecae1",
    "WS, sparse": "#0072b2",
    "OS, dense": "#fbd08a",
    "OS, sparse": "#d98200",
    "several": "#9aa5af",
}
"""Dataflow and whether zeros are skipped; `several` where the products of a layer and stage differ."""


def choices(result: SimResult) -> dict[tuple[str, str], tuple[str, str]]:
    """Dataflow and ratio by layer and stage, `several` where operations differ."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for op in result.ops:
        if op.dataflow:
            key, chosen = (op.layer, op.stage), (op.dataflow.upper(), op.sparsity)
            found[key] = chosen if found.get(key, chosen) == chosen else ("several", "several")
    return found


def dataflow_chart(result: SimResult) -> Chart:
    """A heat map of layers and stages."""
    chosen = choices(result)
    layers = list(dict.fromkeys(layer for layer, _ in chosen))
    kinds = [[_kind(chosen.get((layer, stage))) for layer in layers] for stage in STAGES]
    hover = [
        [f"<b>{safe(layer)}</b>, {stage.upper()}<br>{_about(chosen.get((layer, stage)))}" for layer in layers]
        for stage in STAGES
    ]
    numbers = {kind: number for number, kind in enumerate(KINDS)}
    chart = figure(
        go.Heatmap(
            x=labels(layers),
            y=[stage.upper() for stage in STAGES],
            z=[[None if kind is None else numbers[kind] for kind in row] for row in kinds],
            zmin=-0.5,
            zmax=len(KINDS) - 0.5,
            colorscale=_steps(),
            showscale=False,
            xgap=1,
            ygap=2,
            hovertext=hover,
            hoverinfo="text",
        ),
        *(
            go.Scatter(
                x=[None],
                y=[None],
                mode="markers",
                name=kind,
                marker={"color": colour, "symbol": "square", "size": 11},
            )
            for kind, colour in KINDS.items()
            if any(kind in row for row in kinds)
        ),
        height=330,
        xaxis={"type": "category", "tickangle": -90, "tickfont": {"size": 11}, "showgrid": False},
        yaxis={"type": "category", "autorange": "reversed", "showgrid": False},
    )
    note = (
        "What the scheduler chose. WS: weight-stationary; OS: output-stationary. Sparse: the array skips the zeros "
        "of an N:M operand."
    )
    return Chart("dataflow", "Dataflow of every layer and stage", chart, note)


def _kind(chosen: tuple[str, str] | None) -> str | None:
    if chosen is None:
        return None
    dataflow, ratio = chosen
    kind = f"{dataflow}, {'dense' if ratio == 'dense' else 'sparse'}"
    return kind if kind in KINDS else "several"


def _about(chosen: tuple[str, str] | None) -> str:
    return "no product" if chosen is None else safe(", ".join(dict.fromkeys(chosen)))


def _steps() -> list[list[object]]:
    """A colour scale with a step for each kind."""
    colours, count = list(KINDS.values()), len(KINDS)
    return [[edge / count, colours[number]] for number in range(count) for edge in (number, number + 1)]
