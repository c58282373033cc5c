"""A training run, the ladder of optimizations, and how far assumed constants matter."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from codesign.ablation import Rung
from codesign.report.html.page import Chart, Column, Item, Section, Table, Tile
from codesign.report.html.style import VARIANTS, figure, safe
from codesign.report.numbers import reached
from codesign.report.saved import SavedRun
from codesign.sensitivity import Swing
from codesign.spec_errors import printable
from codesign.units import cycles_to_seconds

_LABEL_SHARE = 0.2
"""Room beside the longest bars for what stands at their ends, as a share of the axis."""


def run_tiles(run: SavedRun) -> list[Tile]:
    """What the run reached, and how long it takes."""
    tiles = [Tile("Training run", f"{run.total_s:,.1f} s", f"{run.speedup_vs_dense:.3f}x dense training")]
    if run.validation_accuracy is not None:
        tiles.append(
            Tile("Accuracy", f"{run.validation_accuracy:.2%}", f"validation, after {run.steps:,} steps")
        )
    return tiles


def run_section(run: SavedRun, clock_hz: int) -> Section:
    """Phases over the steps of the run."""
    note = (
        f"{printable(run.model)} on {printable(run.data)}, seed {run.seed}, {printable(run.dtype)}: "
        f"{run.steps:,} of {run.planned_steps:,} steps. Reached: "
        f"{reached(run.train_loss, run.validation_loss, run.validation_accuracy)}. "
        "Iterations only, without evaluation and host."
    )
    columns = [
        Column("first step", ",d"),
        Column("steps", ",d"),
        Column("N:M"),
        Column("cycles/iteration", ",d"),
        Column("ms/iteration", ",.3f"),
        Column("vs dense", ".3f"),
    ]
    rows = [
        [
            phase.first_step,
            phase.steps,
            printable(phase.nm),
            phase.iteration_cycles,
            1e3 * cycles_to_seconds(phase.iteration_cycles, clock_hz),
            phase.speedup_vs_dense,
        ]
        for phase in run.phases
    ]
    return Section("run", "Training run", [_phases(run, clock_hz), Table("Phases", columns, rows)], note=note)


def _phases(run: SavedRun, clock_hz: int) -> Chart:
    """A bar for each phase, as wide as it has steps."""
    bars = go.Bar(
        x=[phase.first_step + phase.steps / 2 for phase in run.phases],
        width=[phase.steps for phase in run.phases],
        y=[1e3 * cycles_to_seconds(phase.iteration_cycles, clock_hz) for phase in run.phases],
        text=[safe(phase.nm) for phase in run.phases],
        marker={"color": VARIANTS[0], "line": {"color": "#ffffff", "width": 1}},
        hovertemplate="%{text}: %{y:,.3f} ms an iteration<extra></extra>",
        showlegend=False,
    )
    chart = figure(
        bars,
        height=280,
        xaxis={"title": {"text": "optimizer step"}, "range": [0, run.steps]},
        yaxis={"title": {"text": "time of an iteration, ms"}},
    )
    note = "Each bar is as wide as it has steps, so that its area is its share of the run's time."
    return Chart("phases", "Phases of the run", chart, note)


def ablation_section(rungs: Sequence[Rung], clock_hz: int) -> Section:
    """What each optimization is worth."""
    columns = [
        Column("switched on"),
        Column("cycles", ",d"),
        Column("vs all off", ".3f"),
        Column("this one off, all others on", ".3f", "times as many cycles as with all on"),
    ]
    first, full = rungs[0].total_cycles, rungs[-1].total_cycles
    rows = [
        [
            printable(rung.label),
            rung.total_cycles,
            first / rung.total_cycles,
            None if rung.without_cycles is None else rung.without_cycles / full,
        ]
        for rung in rungs
    ]
    bars = go.Bar(
        y=[safe(rung.label) for rung in rungs],
        x=[1e3 * cycles_to_seconds(rung.total_cycles, clock_hz) for rung in rungs],
        orientation="h",
        marker={"color": VARIANTS[0]},
        hovertemplate="%{y}: %{x:,.2f} ms<extra></extra>",
    )
    chart = figure(
        bars,
        height=60 + 45 * len(rungs),
        xaxis={"title": {"text": "time of an iteration, ms"}},
        yaxis={"type": "category", "autorange": "reversed"},
    )
    items: list[Item] = [
        Chart("ablation", "Optimizations switched on one after the other", chart),
        Table("Optimizations", columns, rows),
    ]
    note = (
        "Each bar has one more optimization on than the one above; vs all off: the speedup so far. The last column "
        "is how many times as long an iteration takes without this one alone."
    )
    return Section("ablation", "Optimizations", items, note=note)


def sensitivity_section(swings: Sequence[Swing], speedup: float) -> Section:
    """A tornado chart: how far each assumed constant moves the speedup over dense, the strongest on top."""
    ranked = sorted(swings, key=lambda swing: -abs(swing.high_speedup - swing.low_speedup))
    bars = [
        _swings(
            f"at {name}",
            [(getattr(swing, value), getattr(swing, result)) for swing in ranked],
            ranked,
            speedup,
        )
        for name, value, result in (("half", "low", "low_speedup"), ("double", "high", "high_speedup"))
    ]
    speedups = [speedup, *(x for swing in swings for x in (swing.low_speedup, swing.high_speedup))]
    margin = _LABEL_SHARE * (max(speedups) - min(speedups))
    chart = figure(
        *bars,
        height=120 + 50 * len(ranked),
        barmode="group",
        xaxis={
            "title": {"text": "speedup over dense training"},
            "ticksuffix": "x",
            "range": [min(speedups) - margin, max(speedups) + margin],
        },
        yaxis={"type": "category", "autorange": "reversed"},
    )
    note = (
        "Each constant of the architecture that is assumed, at half and at double (a share at most 1), all others as "
        f"they are. Bars start at the speedup as it is, {speedup:.3f}x."
    )
    return Section(
        "sensitivity", "Sensitivity", [Chart("sensitivity", "Assumed constants", chart)], note=note
    )


def _swings(
    name: str, points: Sequence[tuple[float, float]], swings: Sequence[Swing], speedup: float
) -> go.Bar:
    """Bars from the speedup as it is to that at a value of each constant."""
    return go.Bar(
        name=name,
        y=[safe(swing.constant) for swing in swings],
        x=[result - speedup for _, result in points],
        base=speedup,
        orientation="h",
        marker={"color": VARIANTS[0 if name == "at half" else 1]},
        text=[f"{value:g}: {result:.3f}x" for value, result in points],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y} = %{text}<extra></extra>",
    )
