"""What an execution of a program produced: integer counters and times, nothing derived."""

from __future__ import annotations

from dataclasses import dataclass

from hw_models.program import Step


@dataclass(slots=True)
class StepRecord:
    """Times and counters of one step, in cycles.

    `compute_cycles` is the unit at work. The unit's idle time before a tile of this step is split into
    `wait_read_cycles` (operands on their way from DRAM), `wait_sort_cycles` (operands being pruned by SORE) and
    `wait_write_cycles` (no free slot for results). `wait_dependence_cycles` is the idle time until the steps it
    depends on had finished, `blocker` the last of those to finish (-1: there was no wait).
    """

    start_cycle: int = -1
    end_cycle: int = -1
    compute_cycles: int = 0
    wait_read_cycles: int = 0
    wait_sort_cycles: int = 0
    wait_write_cycles: int = 0
    wait_dependence_cycles: int = 0
    blocker: int = -1

    def note_dependences(self, began: int, ended: int, step: Step, records: list[StepRecord]) -> None:
        """Account the wait for the steps that `step`, whose record this is, depends on."""
        self.wait_dependence_cycles = ended - began
        if ended > began:
            self.blocker = max(step.deps, key=lambda dep: records[dep].end_cycle)

    def note_operands(self, began: int, ended: int, sort_began: int) -> None:
        """Account a wait for operands that were in SORE from `sort_began` on."""
        sorting = ended - max(began, sort_began)
        self.wait_sort_cycles += sorting
        self.wait_read_cycles += ended - began - sorting

    def counters(self) -> tuple[int, ...]:
        """The counters that grow with every tile."""
        return (self.compute_cycles, self.wait_read_cycles, self.wait_sort_cycles, self.wait_write_cycles)

    def advance(self, delta: tuple[int, ...], times: int) -> None:
        """Add `times` x `delta` to the counters."""
        self.compute_cycles += delta[0] * times
        self.wait_read_cycles += delta[1] * times
        self.wait_sort_cycles += delta[2] * times
        self.wait_write_cycles += delta[3] * times


@dataclass(frozen=True, slots=True)
class Execution:
    """One executed program; the fast and the full path give equal values."""

    total_cycles: int
    steps: tuple[StepRecord, ...]
    dram_read_bytes: int
    dram_write_bytes: int
    dram_busy_cycles: int
    sore_busy_cycles: int
