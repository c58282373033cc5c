"""Roofline: how fast each layer runs in each stage, beside what array and memory allow.

Operations are those of dense training (a multiply-accumulate being two), also where zeros are skipped, so that a
sparse layer may lie above the dense peak: N:M sparsity raises the peak to M/N of the dense one. Bytes are those that
the products move between DRAM and buffers, time is from their start on the array to their end; work of other units
for the same layer is in neither. After Williams et al., "Roofline", CACM 2009.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import plotly.graph_objects as go

from codesign.nm.format import NM
from codesign.report.html.page import Chart
from codesign.report.html.style import HIGHLIGHT, NEUTRAL, STAGE_COLOURS, figure, logarithmic, safe
from codesign.result import OpResult, SimResult
from hw_models.arch import Arch

MARKS = {"ff": ("circle", 13), "bp": ("square", 8), "wu": ("diamond", 9)}
"""Symbol of a stage and its size in pixels, the first drawn the largest."""


class Ceiling(NamedTuple):
    """A limit of the machine with its name."""

    name: str
    gops: float


class Point(NamedTuple):
    """The products of a layer in one stage; `gops` are dense-equivalent."""

    layer: str
    stage: str
    macs: int
    dense_macs: int
    cycles: int
    ops_per_byte: float
    gops: float


def roofline_chart(result: SimResult, arch: Arch) -> Chart:
    """Layers and stages that multiply, under the ceilings of `arch`."""
    found = points(result)
    peaks = peak_gops(arch, result.nm)
    memory, gb_per_second = memory_roof(arch)
    span = _span(found, peaks[0].gops / gb_per_second)
    traces = [*_ceilings(peaks, gb_per_second, span), *_markers(found)]
    chart = figure(
        *traces,
        height=520,
        xaxis=logarithmic() | {"title": {"text": "operations per byte (dense-equivalent)"}},
        yaxis=logarithmic() | {"title": {"text": "GOPS (dense-equivalent)"}},
        annotations=_names(peaks, memory, gb_per_second, span),
    )
    note = (
        "A mark for each layer and stage: the higher, the faster; the further right, the more it computes for each "
        "byte from or to DRAM. Filled: zeros are skipped; open: dense. Lines: what the memory allows, and the array "
        "at each ratio. What lies below both loses time in the array itself: at tile edges, in its pipelines, or "
        "waiting for a single transfer."
    )
    return Chart("roofline", "Every layer and stage against the machine's ceilings", chart, note)


def peak_gops(arch: Arch, ratios: str) -> list[Ceiling]:
    """Dense peak of the array, then that of every ratio in `ratios`, such as `2:4, 2:8`."""
    dense = 2 * arch.peak_macs_per_cycle * arch.clock_hz / 1e9
    sparse = [NM.parse(ratio) for ratio in ratios.split(", ") if ratio != "dense"]
    return [
        Ceiling("dense peak", dense),
        *(Ceiling(f"{ratio} peak", dense * ratio.m / ratio.n) for ratio in sparse),
    ]


def memory_roof(arch: Arch) -> tuple[str, float]:
    """What limits the traffic of both directions together, and its GB a second."""
    dram = float(arch.dram.bytes_per_second) / 1e9
    dma = 2 * arch.dma_bytes_per_cycle * arch.clock_hz / 1e9
    return ("DRAM", dram) if dram <= dma else ("DMA", dma)


def points(result: SimResult) -> list[Point]:
    """One for each layer and stage that multiplies."""
    products: defaultdict[tuple[str, str], list[OpResult]] = defaultdict(list)
    for op in result.ops:
        if op.macs and op.read_bytes + op.write_bytes:
            products[op.layer, op.stage].append(op)
    return [_point(result, *key, ops) for key, ops in products.items()]


def _point(result: SimResult, layer: str, stage: str, ops: list[OpResult]) -> Point:
    dense_macs = result.layers[layer][stage].dense_macs
    cycles = sum(op.end_cycle - op.start_cycle for op in ops)
    moved_bytes = sum(op.read_bytes + op.write_bytes for op in ops)
    return Point(
        layer,
        stage,
        sum(op.macs for op in ops),
        dense_macs,
        cycles,
        ops_per_byte=2 * dense_macs / moved_bytes,
        gops=result.gops(dense_macs, cycles),
    )


def _span(found: list[Point], ridge: float) -> tuple[float, float]:
    """Operations per byte that the chart covers: all points, and the ridge between both ceilings."""
    intensities = [point.ops_per_byte for point in found] + [ridge]
    return min(intensities) / 2, max(intensities) * 6


def _ceilings(peaks: list[Ceiling], gb_per_second: float, span: tuple[float, float]) -> Iterator[Any]:
    left, right = span
    highest = max(peak.gops for peak in peaks)
    common = {"mode": "lines", "hoverinfo": "skip", "showlegend": False}
    yield go.Scatter(
        x=[left, highest / gb_per_second], y=[left * gb_per_second, highest], line=_line(True), **common
    )
    for peak in peaks:
        yield go.Scatter(
            x=[peak.gops / gb_per_second, right],
            y=[peak.gops, peak.gops],
            line=_line(peak is peaks[0]),
            **common,
        )


def _line(dense: bool) -> dict[str, Any]:
    return {"color": NEUTRAL if dense else HIGHLIGHT, "width": 2, "dash": "solid" if dense else "dash"}


def _names(
    peaks: list[Ceiling], memory: str, gb_per_second: float, span: tuple[float, float]
) -> list[dict[str, Any]]:
    """Names of the ceilings at the ends of their lines; annotations take logarithms."""
    ends = [(f"{peak.name} {peak.gops:,.1f} GOPS", peak.gops, 1, "bottom") for peak in peaks]
    ends.append((f"{memory} {gb_per_second:,.1f} GB/s", span[0] * gb_per_second, 0, "top"))
    return [
        {"text": text, "y": math.log10(gops), "yanchor": side, "x": x, "xref": "paper", "showarrow": False}
        for text, gops, x, side in ends
    ]


def _markers(found: list[Point]) -> Iterator[Any]:
    for stage, (symbol, size) in MARKS.items():
        here = sorted((point for point in found if point.stage == stage), key=_is_dense)
        yield go.Scatter(
            x=[point.ops_per_byte for point in here],
            y=[point.gops for point in here],
            mode="markers",
            name=stage.upper(),
            marker={
                "color": STAGE_COLOURS[stage],
                "symbol": [f"{symbol}-open" if _is_dense(point) else symbol for point in here],
                "size": size,
                "line": {"width": 1.5, "color": STAGE_COLOURS[stage]},
            },
            hovertext=[_about(point) for point in here],
            hoverinfo="text",
        )


def _is_dense(point: Point) -> bool:
    return point.macs == point.dense_macs


def _about(point: Point) -> str:
    return (
        f"<b>{safe(point.layer)}</b>, {point.stage.upper()}<br>"
        f"{point.gops:,.1f} GOPS at {point.ops_per_byte:,.1f} operations per byte<br>"
        f"{point.macs:,} of {point.dense_macs:,} multiply-accumulates executed<br>{point.cycles:,} cycles"
    )
