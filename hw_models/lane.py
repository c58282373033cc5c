"""A lane of the event model: one compute unit with its load, prune and store stages, decoupled by buffers.

The load stage fetches tiles as far ahead as the buffers allow, the compute stage works through them in order, the
prune stage passes results through SORE, the store stage writes them back. Each is a SimPy process; they meet only
in counters that grow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

import simpy

from hw_models.arbiter import Request
from hw_models.buffers import Slots
from hw_models.engine import Engine
from hw_models.execution import StepRecord
from hw_models.machine import Changes, Machine
from hw_models.memory import Kind, Port, Work, first_client
from hw_models.program import Step, Tile, Unit

Process = Generator[simpy.Event, Any, None]


class Lane:
    """Executes the steps of one unit in program order."""

    def __init__(self, machine: Machine, unit: Unit, engine: Engine, slots: Slots) -> None:
        self._machine = machine
        self._env = machine.env
        self._engine = engine
        self._slots = slots
        self._steps = [(index, step) for index, step in enumerate(machine.steps) if step.unit is unit]
        first = first_client(unit)
        self._client_a, self._client_b = first + Port.LOAD_A, first + Port.LOAD_B
        self._client_prune, self._client_store = first + Port.PRUNE, first + Port.STORE

        self._changes = Changes(machine.env)
        self._loaded = self._computed = self._pruned = self._stored = 0
        self._unstored_results = 0
        # For each loaded tile: when its pruning began, or else when it came.
        self._sort_began: deque[int] = deque()
        for process in (self._load(), self._compute(), self._prune(), self._store()):
            machine.env.process(process)

    # -- the four stages -------------------------------------------------------------------------------------

    def _load(self) -> Process:
        for _, step in self._steps:
            tiles = step.sequence()
            early: tuple[Request, ...] = ()
            if step.prefetch_b:  # last iteration's update made the weights: they need not wait for this one
                yield from self._free_slots(tiles[0])
                early = self._read(self._client_b, tiles[0].load_b_bytes)
            yield from self._dependences(step)
            for tile in tiles:
                yield from self._free_slots(tile)
                reads = self._read(self._client_a, tile.load_a_bytes)
                yield from reads + (early or self._read(self._client_b, tile.load_b_bytes))
                early = ()
                self._sort_began.append(int(self._env.now))
                yield from self._sort(self._client_b, tile.sort_before_groups, step)
                self._loaded += 1
                self._changes.notify()

    def _compute(self) -> Process:
        for index, step in self._steps:
            record = self._machine.records[index]
            began = int(self._env.now)
            yield from self._dependences(step)
            record.note_dependences(began, int(self._env.now), step, self._machine.records)
            for tile in step.sequence():
                yield from self._operands(record)
                yield from self._space(record)
                if record.start_cycle < 0:
                    record.start_cycle = int(self._env.now)
                began = int(self._env.now)
                for part in self._engine.parts(step, tile):
                    yield self._env.timeout(part)
                record.compute_cycles += int(self._env.now) - began
                self._unstored_results += tile.store_bytes > 0
                self._computed += 1
                self._changes.notify()

    def _prune(self) -> Process:
        for _, step in self._steps:
            for tile in step.sequence():
                while self._pruned == self._computed:
                    yield self._changes.wait()
                yield from self._sort(self._client_prune, tile.sort_after_groups, step)
                self._pruned += 1
                self._changes.notify()

    def _store(self) -> Process:
        for index, step in self._steps:
            for tile in step.sequence():
                while self._stored == self._pruned:
                    yield self._changes.wait()
                if tile.store_bytes:
                    yield self._machine.arbiter.post(self._client_store, Work(Kind.WRITE, tile.store_bytes))
                    self._unstored_results -= 1
                self._stored += 1
                self._changes.notify()
            self._machine.finish(index)

    # -- what the stages wait for ----------------------------------------------------------------------------

    def _dependences(self, step: Step) -> Process:
        """Wait until every step that `step` depends on has stored its results."""
        for dep in step.deps:
            yield self._machine.done[dep]

    def _free_slots(self, tile: Tile) -> Process:
        """Wait until the buffers that `tile` fills have room."""
        slots = self._slots.b if tile.load_b_bytes else self._slots.a
        while self._loaded - self._computed >= slots:
            yield self._changes.wait()

    def _read(self, client: int, read_bytes: int) -> tuple[Request, ...]:
        return (self._machine.arbiter.post(client, Work(Kind.READ, read_bytes)),) if read_bytes else ()

    def _sort(self, client: int, groups: int, step: Step) -> Process:
        """Pass `groups` groups through SORE."""
        if groups:
            yield self._machine.arbiter.post(client, Work(Kind.SORT, groups, step.sort_m))

    def _operands(self, record: StepRecord) -> Process:
        """Wait for the next tile's operands; account the waiting."""
        began = int(self._env.now)
        while self._loaded == self._computed:
            yield self._changes.wait()
        record.note_operands(began, int(self._env.now), self._sort_began.popleft())

    def _space(self, record: StepRecord) -> Process:
        """Wait for room for the next tile's result; account the waiting."""
        began = int(self._env.now)
        while self._unstored_results >= self._slots.out:
            yield self._changes.wait()
        record.wait_write_cycles += int(self._env.now) - began
