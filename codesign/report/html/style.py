"""What all charts have in common: colours that colour-blind readers can tell apart, axes, and names made safe.

Charts have a transparent ground and colours that stand out on white and on black; the style sheet of the page gives
their texts and grids the colours of the theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import chain, count
from typing import Any

import plotly.graph_objects as go

from codesign.result import STAGES
from codesign.spec_errors import printable

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, GRID, HIGHLIGHT, NEUTRAL = "#2b333b", "#dfe3e6", "#d55e00", "#9aa5af"

VARIANTS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b3a300", "#7a5195")
"""For what has no fixed number of kinds. The first six are of Okabe and Ito, Color Universal Design."""

STAGE_COLOURS = dict(zip(STAGES, ("#0072b2", "#e69f00", "#009e73", "#9aa5af"), strict=True))

CAUSE_COLOURS = {
    "useful": "#0072b2",
    "padding": "#fbe2ab",
    "accumulator": "#f3c26b",
    "port": "#e69f00",
    "weight_load": "#b97800",
    "fill_drain": "#7d4f00",
    "memory_read": "#cc79a7",
    "memory_write": "#e9bdd5",
    "sort": "#8d3f68",
    "vector": "#35b58f",
    "update": "#00694c",
}
"""One hue each for useful work, the array itself, what waits for memory, and other units."""

_AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": GRID,
    "zerolinecolor": GRID,
    "automargin": True,
    "ticks": "",
    "ticklabelstandoff": 5,
    "separatethousands": True,
    "exponentformat": "SI",
    "title": {"standoff": 8, "font": {"size": 13}},
}
_TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 16, "t": 16, "b": 8},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {
            "orientation": "h",
            "traceorder": "normal",
            "font": {"size": 12},
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
        },
        "hoverlabel": {
            "bgcolor": "#1f2933",
            "bordercolor": "#1f2933",
            "font": {"color": "#ffffff", "size": 12},
            "align": "left",
        },
        "bargap": 0.25,
        "colorway": VARIANTS,
    }
)


def figure(*traces: Any, height: int = 360, **layout: Any) -> go.Figure:
    """A figure of that height in pixels, as wide as its place."""
    return go.Figure(data=list(traces), layout={"template": _TEMPLATE, "height": height} | layout)


def logarithmic() -> dict[str, Any]:
    """What makes an axis logarithmic, with ticks at 1, 2, 5, 10 and so on; explorer.js has the same."""
    ticks = [factor * 10.0**power for power in range(-6, 13) for factor in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "tickformat": ",~g"}


def safe(name: object) -> str:
    """A name as plotly shows it: its texts know some HTML and TeX, so that what looks like it is escaped."""
    return escape(printable(str(name)), quote=False).replace("$", "&#36;")


def labels(names: Sequence[str], longest: int = 26) -> list[str]:
    """Names cut to `longest` characters for an axis, each still different from the others, and safe."""
    found: dict[str, None] = {}
    for name in map(printable, names):
        half = longest // 2
        short = name if len(name) <= longest else f"{name[: half - 1]}…{name[-half:]}"
        numbered = (f"{short} ({number})" for number in count(2))
        found[next(label for label in chain([short], numbered) if label not in found)] = None
    return list(map(safe, found))
