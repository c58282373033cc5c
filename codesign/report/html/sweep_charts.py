"""Charts of a sweep. Every point of a trace says in `customdata` which point of the sweep it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import plotly.graph_objects as go

from codesign.nm.format import NM
from codesign.report.html.measures import Measure
from codesign.report.html.page import Chart
from codesign.report.html.points import TITLES, Points, in_order, workload_label
from codesign.report.html.style import GRID, NEUTRAL, VARIANTS, figure, labels, logarithmic, safe
from codesign.report.numbers import short
from codesign.sweep.view import Row

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "hexagon", "x")
LOGARITHMIC_FROM = 20
"""Ratio of the largest value to the smallest; explorer.js has the same."""
MAX_AXIS_LABELS = 12
BEST = {"speedup": max, "energy_j": min}


def scatter_charts(points: Points) -> list[Chart]:
    """Every pair of objectives, then a chart whose axes the reader chooses."""
    objectives = [points.measure(objective.column) for objective in points.objectives]
    pairs = list(combinations(objectives, 2))
    charts = [
        Chart(
            f"front-{number}",
            f"{vertical.name[0].upper()}{vertical.name[1:]} against {horizontal.name}",
            _scatter(points, horizontal, vertical),
            wide=False,
            explored=True,
        )
        for number, (horizontal, vertical) in enumerate(pairs, start=1)
    ]
    known = [measure.column for measure in points.measures]
    x, y = (column if column in known else known[0] for column in ("latency_s", "speedup"))
    free = Chart(
        "any-two",
        "Any two measures",
        _scatter(points, points.measure(x), points.measure(y)),
        wide=len(pairs) % 2 == 0,
        explored=True,
        axes={"x": x, "y": y},
    )
    return [*charts, free]


def _scatter(points: Points, horizontal: Measure, vertical: Measure) -> go.Figure:
    x, y = points.values(horizontal), points.values(vertical)
    traces = []
    for name, members in points.variants.items():
        best = [points.on_front(points.rows[member]) for member in members]
        look = {"color": _colour(points, members[0]), "symbol": SYMBOLS[_method(points, members[0])]}
        marks = {
            "size": [11 if each else 6 for each in best],
            "opacity": [1 if each else 0.35 for each in best],
            "line": {"width": [1 if each else 0 for each in best], "color": NEUTRAL},
        }
        chosen = {"x": [x[member] for member in members], "y": [y[member] for member in members]}
        traces += [
            _trace("markers", name, members, marker=look | marks, **chosen),
            _legend("markers", name, marker=look | {"size": 9}),
        ]
    axes = {
        axis: {"title": {"text": measure.title}} | (logarithmic() if _is_wide(values) else {"type": "linear"})
        for axis, measure, values in (("xaxis", horizontal, x), ("yaxis", vertical, y))
    }
    return figure(*traces, height=420, **axes)


def _trace(mode: str, name: str, members: Sequence[int], **more: Any) -> go.Scatter:
    """Points of a variant, which the legend shows and hides."""
    group = safe(name)
    common = {"legendgroup": group, "showlegend": False, "hoverinfo": "text"}
    return go.Scatter(mode=mode, name=group, customdata=members, **common, **more)


def _legend(mode: str, name: str, **look: Any) -> go.Scatter:
    """The entry of a variant in the legend."""
    return go.Scatter(
        x=[None], y=[None], customdata=[0], mode=mode, name=safe(name), legendgroup=safe(name), **look
    )


def _colour(points: Points, member: int) -> str:
    """That of the ratio."""
    ratios = sorted(set(points.traits["nm"]), key=in_order)
    return VARIANTS[ratios.index(points.traits["nm"][member]) % len(VARIANTS)]


def _method(points: Points, member: int) -> int:
    """Number of the training method, less than that of the symbols."""
    methods = sorted(set(points.traits["method"]))
    return methods.index(points.traits["method"][member]) % len(SYMBOLS)


# -- heat maps -----------------------------------------------------------------------------------------------------


def heat_maps(points: Points) -> list[Chart]:
    """Best speedup and energy of every ratio, for each workload with several ratios."""
    workloads = dict.fromkeys(map(workload_label, points.rows))
    charts = []
    for number, workload in enumerate(workloads, start=1):
        rows = [row for row in points.rows if row["nm"] and workload_label(row) == workload]
        if len({row["nm"] for row in rows}) > 1:
            charts += [_heat_map(workload, rows, points.measure(column), number) for column in BEST]
    return charts


def _heat_map(workload: str, rows: Sequence[Row], measure: Measure, number: int) -> Chart:
    best: dict[NM, float] = {}
    for row in rows:
        ratio, value = NM.parse(row["nm"]), measure.of(row)
        if value is not None:
            best[ratio] = BEST[measure.column](value, best.get(ratio, value))
    kept, groups = sorted({ratio.n for ratio in best}), sorted({ratio.m for ratio in best})
    grid = [[best.get(NM(n, m)) if n <= m else None for m in groups] for n in kept]
    chart = figure(
        go.Heatmap(
            x=[f"M = {m}" for m in groups],
            y=[f"N = {n}" for n in kept],
            z=grid,
            text=[["" if value is None else f"{value:{measure.form}}" for value in row] for row in grid],
            texttemplate="%{text}",
            colorscale="Cividis",
            reversescale=BEST[measure.column] is min,
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
        ),
        height=110 + 55 * len(kept),
        xaxis={"type": "category", "showgrid": False},
        yaxis={"type": "category", "showgrid": False},
    )
    word = "highest" if BEST[measure.column] is max else "lowest"
    title = f"{workload}: {word} {measure.title}"
    return Chart(f"heat-{number}-{measure.column}", title, chart, wide=False)


# -- parallel axes -------------------------------------------------------------------------------------------------


class _Axis(NamedTuple):
    """A vertical axis: the height of every point (0 to 1, None if not known), and safe labels by height."""

    title: str
    heights: Sequence[float | None]
    labels: dict[float, str]


def parallel_chart(points: Points) -> Chart:
    """A line for each point over all that varies and all objectives; those on the front stand out."""
    axes = [
        *(
            _trait_axis(TITLES.get(key, key), points.traits[key], values)
            for key, values in points.varying.items()
            if key != "front"
        ),
        *(
            _measure_axis(points.measure(column), points)
            for column in dict.fromkeys([*(each.column for each in points.objectives), "speedup"])
        ),
    ]
    chart = figure(
        *_lines(points, axes),
        height=500,
        hovermode="closest",
        legend={"y": -0.02, "yanchor": "top"},
        xaxis={
            "tickvals": list(range(len(axes))),
            "ticktext": [safe(axis.title) for axis in axes],
            "side": "top",
            "ticklabeloverflow": "allow",
            "range": [-0.3, len(axes) - 0.4],
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"visible": False, "range": [-0.05, 1.05], "fixedrange": True},
        shapes=[_axis_line(place) for place in range(len(axes))],
        annotations=[
            _label(place, *label) for place, axis in enumerate(axes) for label in axis.labels.items()
        ],
    )
    return Chart("parallel", "Every point over all axes", chart, explored=True)


def _trait_axis(title: str, traits: Sequence[str], values: Sequence[str]) -> _Axis:
    """Different values at equal distances."""
    heights = {value: place / (len(values) - 1) for place, value in enumerate(values)}
    shown = values if len(values) <= MAX_AXIS_LABELS else [values[0], values[-1]]
    names = dict(zip((heights[value] for value in shown), labels(shown, longest=14), strict=True))
    return _Axis(title, [heights[trait] for trait in traits], names)


def _measure_axis(measure: Measure, points: Points) -> _Axis:
    values = points.values(measure)
    scale = math.log if _is_wide(values) else float
    known = [value for value in values if value is not None]
    if not known:
        return _Axis(measure.title, values, {})
    low, high = min(known), max(known)
    extent = scale(high) - scale(low) or 1
    heights = [None if value is None else (scale(value) - scale(low)) / extent for value in values]
    return _Axis(measure.title, heights, {0: short(low), 1: short(high)})


def _lines(points: Points, axes: Sequence[_Axis]) -> Iterator[go.Scatter]:
    """Those on the front last, on top of the others."""
    for best in (False, True):
        for name, members in points.variants.items():
            chosen = [member for member in members if points.on_front(points.rows[member]) == best]
            yield _trace(
                "lines",
                name,
                [member for member in chosen for _ in range(len(axes) + 1)],
                x=[place for _ in chosen for place in (*range(len(axes)), None)],
                y=[
                    height for member in chosen for height in (*(axis.heights[member] for axis in axes), None)
                ],
                line=_line(points, members[0]) | {"width": 2 if best else 1},
                opacity=1 if best else 0.2,
            )
    for name, members in points.variants.items():
        yield _legend("lines", name, line=_line(points, members[0]) | {"width": 2})


def _line(points: Points, member: int) -> dict[str, Any]:
    return {"color": _colour(points, member), "dash": DASHES[_method(points, member) % len(DASHES)]}


def _axis_line(place: int) -> dict[str, Any]:
    line = {"color": GRID, "width": 2}
    return {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "line": line, "layer": "below"}


def _label(place: int, height: float, text: str) -> dict[str, Any]:
    return {
        "x": place,
        "y": height,
        "text": text,
        "showarrow": False,
        "xanchor": "left",
        "xshift": 5,
        "bgcolor": "#ffffff",
        "opacity": 0.85,
        "font": {"size": 11},
    }


def _is_wide(values: Sequence[float | None]) -> bool:
    """Whether values span so much that a logarithmic axis shows them better."""
    known = [value for value in values if value is not None]
    return bool(known) and min(known) > 0 and max(known) > LOGARITHMIC_FROM * min(known)
