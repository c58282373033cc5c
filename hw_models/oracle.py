"""The USPE array stepped register by register, with data: the reference for `hw_models.timing` and for the RTL.

Nothing here knows how long anything takes. Each block (`hw_models.oracle_blocks`) follows local rules: counters,
valid bits, handshakes. It steps once per clock cycle; cycles and results are what comes out. The
micro-architecture is stated in `hw_models.timing`. Meant for small arrays and GEMMs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.errors import FormatError, SpecError
from codesign.nm import reference
from codesign.nm.format import NM
from hw_models.oracle_blocks import (
    NO_WEIGHT,
    Array,
    Drain,
    Feeders,
    HeldWeights,
    Pes,
    Relay,
    Sequencer,
    StreamedWeights,
    Tile,
    Window,
)
from hw_models.timing import ArrayParams, Dataflow, FillPolicy


@dataclass(frozen=True, slots=True, eq=False)
class OracleResult:
    """Clock cycles, the product `y` (I, J), and the MACs on real data (K padded to whole groups)."""

    cycles: int
    y: NDArray[np.float64]
    macs: int


def run(array: ArrayParams, dataflow: Dataflow, a: Array, b: Array, n: int, m: int) -> OracleResult:
    """Run `a` (I, K) times `b` (K, J), which must already be `n:m` along K (`n == m` is dense).

    K is padded with zeros to a multiple of M. Raises FormatError if a group of `b` has more than N non-zeros,
    and SpecError if the shapes do not fit.
    """
    nm = NM(n, m)
    padded = reference.pad(b, nm, axis=0)
    compact = reference.pack(padded, nm, axis=0)
    if not np.array_equal(reference.unpack(compact), padded):
        raise FormatError(f"operand B {b.shape}: a group has more than {n} non-zeros of {m}; prune it first")
    return run_compact(array, dataflow, a, compact.values, reference.indices(compact), m)


def run_compact(
    array: ArrayParams, dataflow: Dataflow, a: Array, values: Array, indices: Array, m: int
) -> OracleResult:
    """Run `a` (I, K) times a compact B: `values` and `indices` (J, groups, N), indices below M.

    Raises SpecError if the shapes do not fit.
    """
    fits = a.ndim == 2 and values.ndim == 3 and values.shape == indices.shape
    if not fits or values.shape[1] != -(-a.shape[1] // m) or 0 in (*a.shape, *values.shape):
        raise SpecError(
            f"GEMM operands {a.shape}, {values.shape}, {indices.shape}: "
            f"expected (I, K) and twice (J, ceil(K / {m}), N), none of them 0"
        )
    machine = _Machine(array, dataflow, _cut(array, dataflow, a, values, indices, m))
    y = np.zeros((a.shape[0] + array.rows, values.shape[0] + array.cols))  # with room for padding
    cycles = 0
    while machine.tiles_out < len(machine.tiles):
        machine.step(y)
        cycles += 1
    return OracleResult(cycles, y[: a.shape[0], : values.shape[0]], machine.pes.macs)


def _cut(
    array: ArrayParams, dataflow: Dataflow, a: Array, values: Array, indices: Array, m: int
) -> list[Tile]:
    """Tiles in execution order, padded to the full array."""
    rows, cols, depth = array.rows, array.cols, array.interleave_depth
    (i, k), (j, groups, n) = a.shape, values.shape
    flat = np.zeros((i + rows, (groups + rows) * m))
    flat[:i, :k] = a
    vectors = flat.reshape(i + rows, groups + rows, m)
    real = np.zeros(vectors.shape[:2], bool)
    real[:i, :groups] = True
    kept = np.zeros((groups + rows, n, j + cols))
    kept[:groups, :, :j] = values.transpose(1, 2, 0)
    places = np.full(kept.shape, NO_WEIGHT)
    places[:groups, :, :j] = indices.transpose(1, 2, 0)

    def tile(i0: int, j0: int, held: slice, windows: list[Window]) -> Tile:
        weights = (held, slice(None), slice(j0, j0 + cols))
        return Tile(i0, j0, windows, kept[weights], places[weights])

    def ws_window(i0: int, held: slice) -> Window:
        batch = slice(i0, min(i, i0 + depth))
        return Window(vectors[batch, held].swapaxes(0, 1), real[batch, held].T)

    def os_window(i0: int, group: int) -> Window:
        lanes = min(depth, -(-(i - i0) // rows))
        outputs = slice(i0, i0 + lanes * rows)  # lane by lane: output i0 + lane * R + row
        block = vectors[outputs, group].reshape(lanes, rows, m)
        return Window(block.swapaxes(0, 1), real[outputs, group].reshape(lanes, rows).T)

    strips = range(0, j, cols)
    if dataflow is Dataflow.WS:
        blocks = [slice(g0, g0 + rows) for g0 in range(0, groups, rows)]
        starts = range(0, i, depth)
        return [tile(0, j0, held, [ws_window(i0, held) for i0 in starts]) for j0 in strips for held in blocks]
    starts = range(0, i, rows * depth)
    everything = slice(groups)
    return [
        tile(i0, j0, everything, [os_window(i0, group) for group in range(groups)])
        for j0 in strips
        for i0 in starts
    ]


class _Machine:
    """The blocks and the wires between them."""

    def __init__(self, array: ArrayParams, dataflow: Dataflow, tiles: list[Tile]) -> None:
        self.tiles, self.depth, self.ws = tiles, array.interleave_depth, dataflow is Dataflow.WS
        self.serial = array.fill_policy is FillPolicy.EVERY_TILE
        self.tiles_begun = 0 if self.serial else len(tiles)  # they may be fetched and loaded
        self.tiles_out = 0  # their last result has left
        self.feeders = Feeders(array, tiles)
        self.weights = HeldWeights(array, tiles) if self.ws else StreamedWeights(array, tiles)
        self.sequencer = Sequencer(array, self.ws, tiles, self.feeders, self.weights)
        self.relay = Relay(array, self.ws)
        self.pes = Pes(array, self.ws, tiles)
        self.drain = Drain(array, tiles, self.pes.accumulators)

    def step(self, y: Array) -> None:
        """One clock cycle; results that leave the array in it go to `y`."""
        if self.serial and self.tiles_begun == self.tiles_out:
            self.tiles_begun += 1
        if not self.ws:
            self.tiles_out += self.drain.step(self.pes.done, self.pes.accumulators, y)
        self.feeders.receive(self.tiles_begun)
        slots = self.relay.step(self.sequencer.step())
        self.pes.step(slots, *self.feeders.play(slots), self.weights)
        self.weights.step(slots[-1], self.tiles_begun)
        if self.ws:
            self.tiles_out += self._collect(self.pes.done[-1], self.pes.sums[-1], y)

    def _collect(self, slots: Array, sums: Array, y: Array) -> bool:
        """WS: add the bottom row's results to the output buffer. True if they complete a tile."""
        for c in np.flatnonzero(slots["final"]):
            i = slots["window"][c] * self.depth + slots["lane"][c]
            y[i, self.tiles[slots["tile"][c]].first_j + c] += sums[c]
        return bool(slots["last"][-1])
