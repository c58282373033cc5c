"""The tiles of a step as a flat sequence that remembers where it repeats."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

from hw_models.program import Step


class Region(NamedTuple):
    """Positions `start` <= p < `end` where the tile at p + `period` is the tile at p."""

    start: int
    end: int
    period: int


NOWHERE = Region(0, 0, 1)
"""No repetition."""


class TileStream:
    """`tiles[p]` is the tile at position p of a step; `region` finds the repetition around a position."""

    def __init__(self, step: Step) -> None:
        self.tiles = step.sequence()
        self._blocks = step.blocks
        self._run_starts = [[0, *accumulate(run.count for run in block.runs)] for block in step.blocks]
        sizes = (block.body_tiles * block.repeats for block in step.blocks)
        self._block_starts = [0, *accumulate(sizes)][:-1]

    def region(self, first: int, last: int) -> Region:
        """The smallest repeating stretch (a run, else a repeated block) that holds both positions, or NOWHERE."""
        index = bisect_right(self._block_starts, first) - 1
        start, starts = self._block_starts[index], self._run_starts[index]
        body, repeats = starts[-1], self._blocks[index].repeats
        end = start + body * repeats
        if last >= end:
            return NOWHERE
        if len(starts) == 2:
            return Region(start, end, 1)
        offset = (first - start) % body
        base = first - offset
        run = bisect_right(starts, offset) - 1
        if last < base + starts[run + 1]:
            return Region(base + starts[run], base + starts[run + 1], 1)
        return Region(start, end, body) if repeats > 1 else NOWHERE
