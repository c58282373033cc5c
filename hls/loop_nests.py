"""Cycles of one buffer tile on the exported array, estimated from the loops of `hls/kernels/{uspe,stce}.hpp`.

Every process of the array is one pipelined loop at II = 1: trips + depth. How they wait for each other is that of
`hw_models.timing`, with its slots, windows and paces. The kernels differ from the model in this:

- A row of PEs waits for the first sums from above with its whole pipeline, multiplier included, and a stream between
  them: each row of WS is `multiplier_latency + FIFO_CYCLES` later than in the model. OS rows wait for weights that
  are `FIFO_CYCLES` from row to row instead of 1, but come while the first window is fetched.
- All columns of a row work in the same cycle: there is no skew of `cols - 1`.
- The next weights wait in streams, where the model has one more register for each. They may be those of several
  passes: where WS passes are shorter than the skew of the rows, the kernels take as little as half of the cycles.
- Each group starts a beat of the activation port; in the model small groups of a window share beats.
- A WS pass of fewer rows of i than the output bank takes to read, add and write waits for that.

Depths are what the operators' latencies add up to, and `FIFO_CYCLES` for a stream; Vitis HLS may schedule others.
"""

from __future__ import annotations

from typing import NamedTuple

from hls.config import KernelConfig, Tile
from hw_models.timing import Dataflow

FIFO_CYCLES = 2
"""Assumed: from the write of a stream to the read."""


class Nest(NamedTuple):
    """The loop of a process: iterations, each started a cycle after the one before, and cycles that one takes."""

    process: str
    trips: int
    depth: int


class _Shape(NamedTuple):
    """A tile as `kernels/plan.hpp` cuts it, with the lanes of every window."""

    strips: int
    passes: int
    entries: int
    lanes: list[int]


def nests(tile: Tile, config: KernelConfig) -> list[Nest]:
    """The loops of all processes; of those that each row has, the longest one."""
    strips, passes, entries, lanes = _shape(tile, config)
    ws, n = tile.dataflow is Dataflow.WS, tile.nm.n
    fetches, plays = _fetches(tile, config, lanes), [n * lane for lane in lanes]
    edge = fetches[0] + sum(max(pair) for pair in zip(fetches[1:], plays[:-1], strict=True)) + plays[-1]
    weights = strips * passes * (config.rows if ws else tile.groups) * n
    sums = strips * entries * (passes if ws else config.rows)
    add = config.accumulator_latency
    out_latency = add + 4  # OUT_LATENCY of the kernels
    return [
        Nest("feed_weights", weights, FIFO_CYCLES),
        Nest("feed_zeros", sums if ws else 0, FIFO_CYCLES),
        Nest("row_edge", edge, FIFO_CYCLES),
        Nest("row_weights", weights, FIFO_CYCLES),
        Nest("row_macs", sum(_paces(tile, config, lanes)), FIFO_CYCLES + config.multiplier_latency + add),
        Nest("row_drain", 0 if ws else sums, FIFO_CYCLES),
        Nest("collect", strips * passes * max(entries, out_latency) if ws else sums, out_latency),
    ]


def cycles(tile: Tile, config: KernelConfig) -> int:
    """Cycles from the start of the array to its last output, the processes' waits for each other included."""
    loops = {nest.process: nest for nest in nests(tile, config)}
    strips, passes, _, lanes = _shape(tile, config)
    fetches, paces = _fetches(tile, config, lanes), _paces(tile, config, lanes)
    # a row's edge and its PEs take turns in waiting for each other, window by window
    stream = sum(max(pair) for pair in zip([*fetches[1:], 0], paces, strict=True))
    below, macs = config.rows - 1, loops["row_macs"].depth
    if tile.dataflow is Dataflow.WS:
        lead, weights = fetches[0], loops["feed_weights"].trips
        weights += stream // (strips * passes) - config.rows * tile.nm.n  # the top row's last pass
        skew = below * ((tile.nm.n - 1) * max(lanes[0], config.accumulator_latency) + macs)
    else:
        lead, weights = max(fetches[0], below * FIFO_CYCLES), loops["feed_weights"].trips
        skew = below * lanes[-1] + FIFO_CYCLES  # the sums of the bottom row leave in its last round
    slowest = max(stream, weights, loops["collect"].trips)
    return lead + slowest + skew + loops["row_edge"].depth + macs + loops["collect"].depth


def _shape(tile: Tile, config: KernelConfig) -> _Shape:
    strips = -(-tile.cols_j // config.cols)
    if tile.dataflow is Dataflow.WS:
        entries, passes = tile.rows_i, -(-tile.groups // config.rows)
        return _Shape(strips, passes, entries, _cut(entries, config.interleave) * passes * strips)
    entries = -(-tile.rows_i // config.rows)
    blocks = _cut(entries, config.interleave)
    return _Shape(
        strips, len(blocks), entries, [lanes for lanes in blocks for _ in range(tile.groups)] * strips
    )


def _cut(length: int, size: int) -> list[int]:
    return [min(size, length - first) for first in range(0, length, size)]


def _fetches(tile: Tile, config: KernelConfig, lanes: list[int]) -> list[int]:
    """Cycles in which the port brings each window."""
    beats = -(-tile.nm.m // config.port)
    return [lane * beats for lane in lanes]


def _paces(tile: Tile, config: KernelConfig, lanes: list[int]) -> list[int]:
    """Cycles in which the PEs work through each window."""
    return [tile.nm.n * max(lane, config.accumulator_latency) for lane in lanes]
