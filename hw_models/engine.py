"""What the event model asks of a compute unit, and the plain pipelined-lanes kind of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from hw_models.program import Step, Tile


class Engine(Protocol):
    """A unit that turns tiles into cycles."""

    def cycles(self, step: Step, tile: Tile) -> int:
        """Cycles of one buffer tile."""
        ...

    def parts(self, step: Step, tile: Tile) -> Iterable[int]:
        """The same cycles in the smallest stretches that the unit knows, in execution order."""
        ...


class PipelinedLanes:
    """`lanes` identical pipelines, each taking one item of `tile.work` a cycle."""

    def __init__(self, lanes: int, latency_cycles: int) -> None:
        self._lanes = lanes
        self._latency_cycles = latency_cycles

    def cycles(self, step: Step, tile: Tile) -> int:
        """Cycles of one tile: its items over the lanes, then the pipeline's depth; at least one."""
        return max(1, -(-tile.work // self._lanes) + self._latency_cycles)

    def parts(self, step: Step, tile: Tile) -> Iterable[int]:
        """A tile is one indivisible stretch of work."""
        return (self.cycles(step, tile),)
