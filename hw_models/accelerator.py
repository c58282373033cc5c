"""The accelerator: wires the blocks together and executes a program."""

from __future__ import annotations

import math
from collections.abc import Callable

from codesign.errors import ScheduleError
from hw_models import fast_path
from hw_models.arch import Arch
from hw_models.buffers import Slots
from hw_models.engine import Engine
from hw_models.execution import Execution, StepRecord
from hw_models.fast_lane import FastLane
from hw_models.fast_state import Progress
from hw_models.memory import SharedServers
from hw_models.program import Program, Step, Unit
from hw_models.stce import Stce
from hw_models.vector_unit import VectorUnit
from hw_models.wuve import Wuve

OnStep = Callable[[int], None]
Units = list[tuple[Unit, Engine, Slots]]

MAX_TILES = 1 << 27
"""Tiles of a program: a gigabyte of references, minutes of work."""


def execute(arch: Arch, program: Program, *, full: bool = False, on_step: OnStep | None = None) -> Execution:
    """Run `program` on `arch`, from the first load to the last store.

    `full` runs the event model, which steps through every tile and, inside it, every array tile. The fast path
    (default) follows the same rules, takes tiles in closed form and skips steady states; both give the same
    integers. `on_step` is called with the index of each step that ends.
    Raises ScheduleError for a program of more than `MAX_TILES` tiles.
    """
    if (tiles := sum(step.tiles for step in program.steps)) > MAX_TILES:
        raise ScheduleError(
            f"{program.name}: the schedule takes {tiles} tiles, expected at most {MAX_TILES}; "
            "use a smaller batch or larger buffers"
        )
    engines: tuple[tuple[Unit, Engine], ...] = (
        (Unit.STCE, Stce(arch)),
        (Unit.VECTOR, VectorUnit(arch)),
        (Unit.UPDATE, Wuve(arch)),
    )
    units = [(unit, engine, Slots.of(arch, unit)) for unit, engine in engines]
    servers = SharedServers(arch)
    records = (_event_model if full else _fast_path)(servers, units, program.steps, on_step)
    read_bytes, write_bytes, dram_busy_cycles, sore_busy_cycles = servers.counters()
    return Execution(
        total_cycles=max((record.end_cycle for record in records), default=0),
        steps=tuple(records),
        dram_read_bytes=read_bytes,
        dram_write_bytes=write_bytes,
        dram_busy_cycles=dram_busy_cycles,
        sore_busy_cycles=sore_busy_cycles,
    )


def _event_model(
    servers: SharedServers, units: Units, steps: tuple[Step, ...], on_step: OnStep | None
) -> list[StepRecord]:
    """Cycle by cycle: let every unit settle, then arbitrate what was posted."""
    from hw_models.lane import Lane
    from hw_models.machine import Machine

    machine = Machine(servers, steps, on_step)
    for unit, engine, slots in units:
        Lane(machine, unit, engine, slots)
    env = machine.env
    while (cycle := env.peek()) != math.inf:
        while env.peek() == cycle:
            env.step()
        machine.arbiter.arbitrate()
    return machine.records


def _fast_path(
    servers: SharedServers, units: Units, steps: tuple[Step, ...], on_step: OnStep | None
) -> list[StepRecord]:
    progress = Progress([StepRecord() for _ in steps], [False] * len(steps), on_step)
    lanes = [FastLane(progress, unit, engine, slots, steps) for unit, engine, slots in units]
    fast_path.run(lanes, servers, progress)
    return progress.records
