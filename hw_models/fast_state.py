"""State of the fast path: where a stage stands, and what the lanes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hw_models.execution import StepRecord
from hw_models.memory import Work
from hw_models.program import Step, Tile

NEVER = 1 << 62


class Phase:
    """What a stage is doing. BUSY and SORT end at a known time, those before them when something else happens."""

    ENTER = 0
    DEPENDENCES = 1
    OPERANDS = 2
    SPACE = 3
    BUSY = 4
    SORT = 5
    ENDED = 6


@dataclass(slots=True)
class Stage:
    """Where a stage stands. `step` counts the lane's steps, `finished` its tiles; it wakes up at `until`.

    `tiles` are those of the current step, `tile` is the position among them.
    """

    step: int = -1
    tiles: list[Tile] = field(default_factory=list)
    tile: int = 0
    finished: int = 0
    phase: int = Phase.ENTER
    until: int = NEVER

    def left(self, now: int) -> int:
        """Cycles until the stage wakes up, 0 if it does not by itself."""
        return self.until - now if self.until < NEVER else 0


@dataclass(slots=True)
class Progress:
    """What the lanes share: local time, cycles skipped so far, the state of the program's steps, requests of a cycle.

    `step_ended` and `tile_computed` are raised by a lane and lowered by who has acted on them.
    """

    records: list[StepRecord]
    done: list[bool]
    on_step: Callable[[int], None] | None
    now: int = 0
    skipped_cycles: int = 0
    posted: list[tuple[int, Work]] = field(default_factory=list)
    contents: dict[tuple[object, ...], int] = field(default_factory=dict)
    step_ended: bool = False
    tile_computed: bool = False

    @property
    def model_now(self) -> int:
        """Cycles since the start of the iteration."""
        return self.now + self.skipped_cycles

    def content(self, step: Step) -> int:
        """A number that is the same for steps whose tiles are and take the same."""
        dataflow = step.choice and step.choice.dataflow
        key = (step.unit, step.n, step.m, step.sort_m, dataflow, step.blocks)
        return self.contents.setdefault(key, len(self.contents))
