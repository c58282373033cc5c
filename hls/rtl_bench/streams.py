"""The streams that `hls/rtl/stce.sv` consumes and produces, in its order, for a GEMM in memory.

FP16 values travel as their bits. Ragged edges are padded with +0: rows and columns of the array that have nothing to
do, and k up to whole groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.timing import ArrayParams, Dataflow

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Operands:
    """Operands of a GEMM: `a` (i, k) float16, and B compact: `values` float16 and `indices`, both (j, groups, n)."""

    a: Array
    values: Array
    indices: Array


@dataclass(frozen=True, slots=True)
class Plan:
    """How the array cuts a GEMM of shape (i, k, j) at n:m: `strips` times `tiles` tiles of `windows` windows.

    `ragged` is the number of slots where `i` ends: WS in the last window of a tile, OS in the last tile of a strip.
    """

    array: ArrayParams
    dataflow: Dataflow
    shape: tuple[int, int, int]
    n: int
    m: int

    @property
    def depth(self) -> int:
        """Slots of a full window: F, or in WS the rows of i if they are fewer."""
        depth = self.array.interleave_depth
        return min(depth, self.shape[0]) if self.dataflow is Dataflow.WS else depth

    @property
    def groups(self) -> int:
        return -(-self.shape[1] // self.m)

    @property
    def strips(self) -> int:
        return -(-self.shape[2] // self.array.cols)

    @property
    def tiles(self) -> int:
        if self.dataflow is Dataflow.WS:
            return -(-self.groups // self.array.rows)
        return -(-self.shape[0] // (self.array.rows * self.depth))

    @property
    def windows(self) -> int:
        if self.dataflow is Dataflow.WS:
            return -(-self.shape[0] // self.depth)
        return self.groups

    @property
    def ragged(self) -> int:
        rows = 1 if self.dataflow is Dataflow.WS else self.array.rows
        rest = (self.shape[0] - 1) % (rows * self.depth) + 1
        return -(-rest // rows)

    def lanes(self, tile: int) -> int:
        """Slots of the windows of an OS tile."""
        return self.ragged if tile == self.tiles - 1 else self.depth

    def outputs(self, tile: int, row: int) -> slice:
        """Rows of i whose sums a PE of array row `row` holds in an OS tile, perhaps beyond the end."""
        first = tile * self.array.rows * self.depth + row * self.lanes(tile)
        return slice(first, first + self.lanes(tile))

    @property
    def most_cycles(self) -> int:
        """More cycles than any order of events can take."""
        array = self.array
        pace = max(self.depth, array.accumulator_latency_cycles)
        rounds = self.n * pace + self.m * self.depth
        edges = (array.rows + 1) * (rounds + self.depth) + array.cols
        per_tile = self.windows * rounds + edges + array.multiplier_latency_cycles
        return 2 * self.strips * self.tiles * per_tile


def activations(plan: Plan, a: Array, row: int) -> Array:
    """What the port of a row brings: (beats, port) FP16 bits."""
    windows = _ws_windows(plan, a, row) if plan.dataflow is Dataflow.WS else _os_windows(plan, a, row)
    strip = np.concatenate([_beats(window, plan) for window in windows])
    return np.tile(strip, (plan.strips, 1))


def weights(plan: Plan, operands: Operands) -> Array:
    """What enters each column: (columns, weights), FP16 bits with the index above them."""
    rows, cols = plan.array.rows, plan.array.cols
    words = operands.values.view("<u2") | operands.indices.astype("<u4") << 16
    padding = (0, plan.strips * cols - plan.shape[2])
    if plan.dataflow is Dataflow.WS:
        words = np.pad(words, (padding, (0, plan.tiles * rows - plan.groups), (0, 0)))
        words = words.reshape(plan.strips, cols, plan.tiles, rows, plan.n)[
            ..., ::-1, :
        ]  # the bottom row first
    else:
        words = np.pad(words, (padding, (0, 0), (0, 0))).reshape(plan.strips, cols, 1, -1)
        words = np.repeat(words, plan.tiles, axis=2)
    return words.swapaxes(0, 1).reshape(cols, -1)


def results(plan: Plan, columns: Array) -> Array:
    """Y, (i, j) float32, from what leaves each column: (columns, results)."""
    i, _, j = plan.shape
    by_strip = columns.view("<f4").reshape(plan.array.cols, plan.strips, -1)
    if plan.dataflow is Dataflow.OS:
        order = np.concatenate(list(_drained(plan)))
        y = np.empty((plan.array.cols, plan.strips, int(order.max()) + 1), "<f4")
        y[:, :, order] = by_strip
        by_strip = y
    return by_strip.transpose(2, 1, 0).reshape(-1, plan.strips * plan.array.cols)[:i, :j]


def results_per_column(plan: Plan) -> int:
    """How many results leave a column."""
    if plan.dataflow is Dataflow.WS:
        return plan.strips * plan.shape[0]
    return plan.strips * sum(plan.array.rows * plan.lanes(tile) for tile in range(plan.tiles))


def _ws_windows(plan: Plan, a: Array, row: int) -> Iterator[Array]:
    """Windows of one strip, as (windows, slots, m): for each tile the row's group, all rows of i."""
    i, depth, rows = plan.shape[0], plan.depth, plan.array.rows
    grouped = _grouped(plan, a, plan.tiles * rows)
    for tile in range(plan.tiles):
        column = grouped[:, tile * rows + row]
        full = i - plan.ragged
        yield column[:full].reshape(-1, depth, plan.m)
        yield column[full:][np.newaxis]


def _os_windows(plan: Plan, a: Array, row: int) -> Iterator[Array]:
    """Windows of one strip, as (windows, slots, m): for each tile all groups of k, the row's outputs."""
    last = plan.outputs(plan.tiles - 1, plan.array.rows - 1).stop
    grouped = np.pad(_grouped(plan, a, plan.groups), ((0, last - plan.shape[0]), (0, 0), (0, 0)))
    for tile in range(plan.tiles):
        yield grouped[plan.outputs(tile, row)].transpose(1, 0, 2)


def _grouped(plan: Plan, a: Array, groups: int) -> Array:
    """(i, groups, m) FP16 bits of A, padded along k."""
    padded = np.pad(a.view("<u2"), ((0, 0), (0, groups * plan.m - a.shape[1])))
    return padded.reshape(a.shape[0], groups, plan.m)


def _beats(windows: Array, plan: Plan) -> Array:
    """(beats, port): each window starts a new beat."""
    port = plan.array.activation_port_values
    values = windows.reshape(len(windows), windows.shape[1] * windows.shape[2])
    return np.pad(values, ((0, 0), (0, -values.shape[1] % port))).reshape(-1, port)


def _drained(plan: Plan) -> Iterator[Array]:
    """Rows of i in the order in which one strip's sums leave a column: the bottom row first."""
    for tile in range(plan.tiles):
        for row in reversed(range(plan.array.rows)):
            outputs = plan.outputs(tile, row)
            yield np.arange(outputs.start, outputs.stop)
