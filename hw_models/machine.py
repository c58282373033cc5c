"""What the lanes of the event model share: time, servers, and the progress of the program."""

from __future__ import annotations

from collections.abc import Callable

import simpy

from hw_models.arbiter import Arbiter
from hw_models.execution import StepRecord
from hw_models.memory import SharedServers
from hw_models.program import Step


class Changes:
    """Wakes the stages of a lane whenever one of its counters has grown.

    Fill levels are differences of counters that only grow, so where the stages stand at the end of a cycle does
    not depend on the order in which they were resumed.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._changed: simpy.Event | None = None

    def wait(self) -> simpy.Event:
        """Event of the next change."""
        if self._changed is None:
            self._changed = self._env.event()
        return self._changed

    def notify(self) -> None:
        """Announce a change."""
        if self._changed is not None:
            changed, self._changed = self._changed, None
            changed.succeed()


class Machine:
    """Shared state of an execution."""

    def __init__(
        self, servers: SharedServers, steps: tuple[Step, ...], on_step: Callable[[int], None] | None
    ) -> None:
        self.env = simpy.Environment()
        self.steps = steps
        self.arbiter = Arbiter(self.env, servers)
        self.done = [self.env.event() for _ in steps]
        self.records = [StepRecord() for _ in steps]
        self._on_step = on_step

    def finish(self, index: int) -> None:
        """Mark a step's results as stored."""
        self.records[index].end_cycle = int(self.env.now)
        self.done[index].succeed()
        if self._on_step is not None:
            self._on_step(index)
