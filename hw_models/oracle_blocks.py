"""Blocks of the register-stepped array: sequencer, relay, feeders, weight registers, PEs, drain.

State arrays are indexed [row, column, ...]. A lane is one of the F interleaved accumulators of a PE.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hw_models.timing import ArrayParams

Array = NDArray[Any]
NO_WEIGHT = -1  # index that marks the weight of a padding row or column


class Window(NamedTuple):
    """Activation `vectors` (R, lanes, M) that the rows play together; `real` (R, lanes): not padding."""

    vectors: Array
    real: Array


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One array tile as memory holds it: its first output, its windows, its weights (WS: R, OS: groups; N, C)."""

    first_i: int
    first_j: int
    windows: list[Window]
    values: Array
    indices: Array

    @property
    def lanes(self) -> int:
        """Lanes in use; only the last window of a WS tile may use fewer."""
        return int(self.windows[0].vectors.shape[1])


class Slot(NamedTuple):
    """Control word that travels with an activation vector: one MAC in every PE that it passes."""

    valid: bool = False
    tile: int = 0
    window: int = 0
    round: int = 0
    lane: int = 0
    fresh: bool = False  # begins a sum: does not add to the PE's own accumulator
    final: bool = False  # completes a sum
    last: bool = False  # of its tile


SLOT_DTYPE = np.dtype([(name, type(default)) for name, default in Slot._field_defaults.items()])
BUBBLE = Slot()


class Sequencer:
    """Issues the slots of PE(0, 0) in order, one a cycle, or a bubble while something is not ready."""

    def __init__(
        self, array: ArrayParams, ws: bool, tiles: list[Tile], feeders: Feeders, weights: Weights
    ) -> None:
        self.array, self.ws, self.tiles, self.feeders, self.weights = array, ws, tiles, feeders, weights
        self.pace = 0  # counts down to the next dependent round
        self.draining = 0  # counts down the drain of the tile before, as if nothing were skewed
        self.slots = self._issue()

    def step(self) -> Slot:
        self.pace -= 1
        self.draining -= 1
        return next(self.slots, BUBBLE)

    def _issue(self) -> Iterator[Slot]:
        for t, tile in enumerate(self.tiles):
            last_window, last_round = len(tile.windows) - 1, tile.values.shape[1] - 1
            needs_drain_over = last_window if self.array.double_accumulators else 0
            while not self.weights.ready(t):
                yield BUBBLE
            for w, window in enumerate(tile.windows):
                while not self.feeders.ready(row=0) or (w == needs_drain_over and self.draining > 0):
                    yield BUBBLE
                last_lane = window.vectors.shape[1] - 1
                for e in range(last_round + 1):
                    fresh = e == 0 and (self.ws or w == 0)
                    final = e == last_round and (self.ws or w == last_window)
                    while not fresh and self.pace > 0:
                        yield BUBBLE
                    self.pace = max(tile.lanes, self.array.accumulator_latency_cycles)
                    for lane in range(last_lane + 1):
                        last = w == last_window and e == last_round and lane == last_lane
                        if last and not self.ws:
                            self.draining = self.array.rows * tile.lanes + 1  # from the next cycle on
                        yield Slot(True, t, w, e, lane, fresh, final, last)


class Relay:
    """Each row repeats the slots of the row above, bubbles too, later by what its first slot had to wait."""

    def __init__(self, array: ArrayParams, ws: bool) -> None:
        self.ws, self.latency = ws, array.accumulator_latency_cycles
        self.queues: list[deque[Slot]] = [deque() for _ in range(array.rows - 1)]
        self.countdown: list[int | None] = [None] * (array.rows - 1)  # to a row's first slot

    def step(self, slot: Slot) -> list[Slot]:
        """Slots that enter column 0 of each row in this cycle."""
        slots = [slot]
        for r, queue in enumerate(self.queues):
            above = slots[-1]
            if queue or above.valid:
                queue.append(above)
            countdown = self.countdown[r]
            if countdown is not None:
                self.countdown[r] = max(0, countdown - 1)
            elif self.ws and above.final:
                self.countdown[r] = self.latency  # until the row above has finished its first sum
            elif not self.ws and above.valid:
                self.countdown[r] = 1  # until the first weight has moved down
            slots.append(queue.popleft() if self.countdown[r] == 0 else BUBBLE)
        return slots


class Feeders:
    """Left edge: each row's two-halved window buffer, one half played while the port fills the other."""

    def __init__(self, array: ArrayParams, tiles: list[Tile]) -> None:
        rows, self.port = array.rows, array.activation_port_values
        self.windows = [window for tile in tiles for window in tile.windows]
        self.tile_of = [t for t, tile in enumerate(tiles) for _ in tile.windows]
        self.m = self.windows[0].vectors.shape[2]
        self.halves = np.zeros((2, rows, array.interleave_depth, self.m))
        self.half = [0] * rows  # being played
        self.filled = [0] * rows  # values in the other half
        self.next = [0] * rows  # window that the port brings into it

    def receive(self, tiles_begun: int) -> None:
        """The port brings each row its next values."""
        for r, w in enumerate(self.next):
            if w < len(self.windows) and self.tile_of[w] < tiles_begun:
                source = self.windows[w].vectors[r].reshape(-1)
                beat = slice(self.filled[r], min(source.size, self.filled[r] + self.port))
                self.halves[1 - self.half[r], r].reshape(-1)[beat] = source[beat]
                self.filled[r] = beat.stop

    def ready(self, row: int) -> bool:
        """Whether the window to be played next has arrived, its last values perhaps in this cycle."""
        return self.filled[row] == int(self.windows[self.next[row]].vectors[row].size)

    def play(self, slots: list[Slot]) -> tuple[Array, Array]:
        """Vectors (R, M) that enter column 0 with the slots, and which of them are real (R)."""
        vectors, real = np.zeros((len(slots), self.m)), np.zeros(len(slots), bool)
        for r, slot in enumerate(slots):
            if not slot.valid:
                continue
            if slot.round == 0 and slot.lane == 0:
                assert self.ready(r), "a lower row opens a window that has not arrived"
                self.half[r], self.filled[r], self.next[r] = 1 - self.half[r], 0, self.next[r] + 1
            vectors[r] = self.halves[self.half[r], r, slot.lane]
            real[r] = self.windows[self.next[r] - 1].real[r, slot.lane]
        return vectors, real


class HeldWeights:
    """WS: each column's weight registers, a shift register while they load; two sets if doubled."""

    def __init__(self, array: ArrayParams, tiles: list[Tile]) -> None:
        self.tiles, self.double = tiles, array.double_weights
        shape = (2 if self.double else 1, *tiles[0].values.shape)  # (sets, R, N, C)
        self.values, self.indices = np.zeros(shape), np.full(shape, NO_WEIGHT)
        self.length = shape[1] * shape[2]
        self.rows, self.cols = np.ogrid[: array.rows, : array.cols]
        self.next = 0  # tile to load next
        self.released = -1  # tile before it, once the bottom row has released the registers
        self.begin = deque([-1] * array.cols)  # tile whose load begins; moves right by a column a cycle
        self.loading = [-1] * array.cols  # tile that shifts in or has shifted in
        self.left = [0] * array.cols  # values still to come

    def ready(self, tile: int) -> bool:
        """Whether the tile's weights are in the first column."""
        return self.loading[0] == tile and self.left[0] == 0

    def at(self, slots: Array) -> tuple[Array, Array]:
        """Value and index of each PE for its slot."""
        place = (slots["tile"] % len(self.values), self.rows, slots["round"], self.cols)
        return self.values[place], self.indices[place]

    def step(self, bottom: Slot, tiles_begun: int) -> None:
        if self.double and bottom.valid:
            self.released = bottom.tile  # the bottom row has switched to this tile's set
        begins = self.next < tiles_begun and self.released == self.next - 1
        self.begin.appendleft(self.next if begins else -1)
        self.begin.pop()
        self.next += begins
        for c, tile in enumerate(self.begin):
            if tile >= 0:
                self.loading[c], self.left[c] = tile, self.length
            if self.left[c]:
                self._shift(c)
        if not self.double and bottom.last:
            self.released = bottom.tile

    def _shift(self, c: int) -> None:
        """One more value enters column `c` at the top; the bottom PE's last one comes first."""
        self.left[c] -= 1
        t = self.loading[c]
        for registers, memory in (
            (self.values, self.tiles[t].values),
            (self.indices, self.tiles[t].indices),
        ):
            column = registers[t % len(registers)].reshape(self.length, -1)[:, c]
            column[1:] = column[:-1].copy()
            column[0] = memory.reshape(self.length, -1)[self.left[c], c]


class StreamedWeights:
    """OS: weights enter each column at the top with the slots of row 0 and move down by one PE a cycle."""

    def __init__(self, array: ArrayParams, tiles: list[Tile]) -> None:
        self.memory = np.stack([tile.values for tile in tiles]), np.stack([tile.indices for tile in tiles])
        self.values = np.zeros((array.rows, array.cols))
        self.indices = np.full(self.values.shape, NO_WEIGHT)
        self.cols = np.arange(array.cols)

    def ready(self, tile: int) -> bool:
        """Always: there is nothing to load ahead."""
        return True

    def at(self, slots: Array) -> tuple[Array, Array]:
        """Value and index of each PE for its slot."""
        place = (slots["tile"][0], slots["window"][0], slots["round"][0], self.cols)
        self.values = np.vstack([self.memory[0][place], self.values[:-1]])
        self.indices = np.vstack([self.memory[1][place], self.indices[:-1]])
        return self.values, self.indices

    def step(self, bottom: Slot, tiles_begun: int) -> None:
        """Nothing to load."""


Weights = HeldWeights | StreamedWeights


class Pes:
    """The PEs: pick, multiply, accumulate. `done` and `sums` are what the adders complete in a cycle."""

    def __init__(self, array: ArrayParams, ws: bool, tiles: list[Tile]) -> None:
        self.ws, shape = ws, (array.rows, array.cols)
        self.rows, self.cols = np.ogrid[: array.rows, : array.cols]
        self.slots = np.zeros(shape, SLOT_DTYPE)
        self.vectors = np.zeros((*shape, tiles[0].windows[0].vectors.shape[2]))
        self.real = np.zeros(shape, bool)
        self.done, self.sums = self.slots, np.zeros(shape)
        self.multiplier = deque([(self.done, self.sums)] * array.multiplier_latency_cycles)
        self.adder = deque([(self.done, self.sums)] * (array.accumulator_latency_cycles - 1))
        self.accumulators = np.zeros((*shape, array.interleave_depth))
        self.macs = 0

    def step(self, slots: list[Slot], vectors: Array, real: Array, weights: Weights) -> None:
        self.slots = _move_right(np.array(slots, SLOT_DTYPE), self.slots)
        self.vectors = _move_right(vectors, self.vectors)
        self.real = _move_right(real, self.real)
        values, indices = weights.at(self.slots)
        self.macs += int((self.slots["valid"] & self.real & (indices != NO_WEIGHT)).sum())
        picked = self.vectors[self.rows, self.cols, indices]

        adding, products = _delay(self.multiplier, self.slots, picked * values)
        start = np.zeros_like(self.sums)
        if self.ws:
            start[1:] = self.sums[:-1]
        own = self.accumulators[self.rows, self.cols, adding["lane"]]
        self.done, self.sums = _delay(self.adder, adding, np.where(adding["fresh"], start, own) + products)
        r, c = np.nonzero(self.done["valid"])
        self.accumulators[r, c, self.done["lane"][r, c]] = self.sums[r, c]


def _move_right(edge: Array, state: Array) -> Array:
    return np.concatenate([edge[:, np.newaxis], state[:, :-1]], axis=1)


def _delay(pipeline: deque[tuple[Array, Array]], slots: Array, data: Array) -> tuple[Array, Array]:
    """One cycle of a pipeline that is as deep as the queue is long."""
    pipeline.append((slots, data))
    return pipeline.popleft()


class Drain:
    """OS: the sums of a column shift down through its PEs and out, once its bottom PE is done."""

    def __init__(self, array: ArrayParams, tiles: list[Tile], accumulators: Array) -> None:
        self.tiles = tiles
        # without doubled accumulators the accumulators themselves are the shift register
        self.sums = accumulators.copy() if array.double_accumulators else accumulators
        self.left = np.zeros((array.rows, array.cols), int)  # shifts that a PE still takes part in
        self.tile = [0] * array.cols  # that the column drains
        self.position = np.arange(1, array.rows + 1)

    def step(self, done: Array, accumulators: Array, y: Array) -> bool:
        """Take the sums that the cycle before completed, then shift. True if a tile's last result leaves."""
        ended = done["last"]
        assert not self.left[ended].any(), "a PE has new sums before it has passed on the old ones"
        self.sums[ended] = accumulators[ended]
        for c in np.flatnonzero(ended[-1]):
            self.tile[c] = done["tile"][-1, c]
            self.left[:, c] = self.position * self.tiles[self.tile[c]].lanes
        tile_is_out = bool(self.left[-1, -1] == 1)
        for c in np.flatnonzero(self.left[-1]):
            self._shift(int(c), self.tiles[self.tile[c]], y)
        return tile_is_out

    def _shift(self, c: int, tile: Tile, y: Array) -> None:
        rows, lanes = len(self.position), tile.lanes
        row, lane = divmod(int(self.left[-1, c]) - 1, lanes)
        y[tile.first_i + lane * rows + row, tile.first_j + c] = self.sums[-1, c, lanes - 1]
        moving = self.left[:, c] > 0
        shifted = np.concatenate([[0.0], self.sums[:, c, :lanes].reshape(-1)[:-1]]).reshape(rows, lanes)
        self.sums[moving, c, :lanes] = shifted[moving]
        self.left[moving, c] -= 1
