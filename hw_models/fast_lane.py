"""A lane of the fast path: the machine of `hw_models.lane` as an explicit state that can be compared and moved."""

from __future__ import annotations

from collections import deque

from hw_models.buffers import Slots
from hw_models.engine import Engine
from hw_models.fast_state import NEVER, Phase, Progress, Stage
from hw_models.memory import Kind, Port, Work, first_client
from hw_models.program import Step, Tile, Unit
from hw_models.tile_stream import NOWHERE, Region, TileStream


class FastLane:
    """Executes the steps of one unit in program order."""

    def __init__(
        self, progress: Progress, unit: Unit, engine: Engine, slots: Slots, steps: tuple[Step, ...]
    ) -> None:
        self.steps = [(index, step) for index, step in enumerate(steps) if step.unit is unit]
        self.contents = [progress.content(step) for _, step in self.steps]
        self.load, self.compute, self.prune, self.store = Stage(), Stage(), Stage(), Stage()
        self.next_event = NEVER
        self.unstored_results = 0
        self._progress = progress
        self._engine = engine
        self._slots = slots
        self._client = first_client(unit)
        self._streams: dict[int, TileStream] = {}
        self._costs: dict[int, int] = {}
        self._a_until = self._b_until = 0
        self._early_b = False
        self._waiting_since = 0
        self._sort_began: deque[int] = deque()
        for stage in (self.load, self.compute, self.prune, self.store):
            self._enter_next_step(stage)

    # -- a cycle: wake up, settle, be served -------------------------------------------------------------------

    def look_ahead(self) -> None:
        """Note when the first of the stages wakes up."""
        self.next_event = min(self.load.until, self.compute.until, self.prune.until, self.store.until)

    def wake(self) -> None:
        """Finish what ends in this cycle."""
        now = self._progress.now
        if self.load.until == now:
            self._load_woke()
        if self.compute.until == now:
            self._finish_compute()
        if self.prune.until == now:
            self._advance(self.prune, Phase.OPERANDS)
        if self.store.until == now:
            self.unstored_results -= 1
            self._finish_store()

    def settle(self) -> None:
        """Let every stage that is not asleep go as far as it can in this cycle."""
        if self.load.until == NEVER:
            self._settle_load()
        if self.compute.until == NEVER:
            self._settle_compute()
        if self.prune.until == NEVER:
            self._settle_prune()
        if self.store.until == NEVER:
            self._settle_store()

    def served(self, client: int, until: int) -> None:
        """A request that was posted in this cycle will be done at `until`."""
        load, port = self.load, client - self._client
        if port == Port.STORE:
            self.store.until = until
        elif port == Port.PRUNE:
            self.prune.until = until
        elif load.phase == Phase.SORT:
            load.until = until
        else:
            if port == Port.LOAD_A:
                self._a_until = until
            else:
                self._b_until = until
            if load.phase == Phase.BUSY:
                load.until = max(self._a_until, self._b_until)

    # -- the four stages ---------------------------------------------------------------------------------------

    def _settle_load(self) -> None:
        stage = self.load
        while stage.phase < Phase.BUSY:
            step, tile = self.steps[stage.step][1], stage.tiles[stage.tile]
            if stage.phase == Phase.ENTER:
                self._early_b = step.prefetch_b and tile.load_b_bytes > 0
                if step.prefetch_b and not self._has_slot(tile):
                    return
                if self._early_b:
                    self._b_until = self._post(Port.LOAD_B, Kind.READ, tile.load_b_bytes)
                stage.phase = Phase.DEPENDENCES
            if stage.phase == Phase.DEPENDENCES and not self._dependences_met(step):
                return
            stage.phase = Phase.SPACE
            if not self._has_slot(tile):
                return
            self._fetch(tile)

    def _fetch(self, tile: Tile) -> None:
        now = self._progress.now
        self._a_until = self._post(Port.LOAD_A, Kind.READ, tile.load_a_bytes) if tile.load_a_bytes else now
        if not self._early_b:
            self._b_until = (
                self._post(Port.LOAD_B, Kind.READ, tile.load_b_bytes) if tile.load_b_bytes else now
            )
        self._early_b = False
        self.load.phase = Phase.BUSY
        self.load.until = max(self._a_until, self._b_until)
        if self.load.until <= now:
            self._load_woke()

    def _load_woke(self) -> None:
        stage = self.load
        if stage.phase == Phase.BUSY:
            self._sort_began.append(self._progress.now)
            groups = stage.tiles[stage.tile].sort_before_groups
            if groups:
                stage.phase = Phase.SORT
                stage.until = self._post(Port.LOAD_B, Kind.SORT, groups, self.steps[stage.step][1].sort_m)
                return
        self._advance(stage, Phase.SPACE)

    def _settle_compute(self) -> None:
        stage, progress = self.compute, self._progress
        if stage.phase >= Phase.BUSY:
            return
        index, step = self.steps[stage.step]
        record = progress.records[index]
        if stage.phase == Phase.ENTER:
            self._waiting_since = progress.model_now  # another lane may skip cycles meanwhile
            stage.phase = Phase.DEPENDENCES
        if stage.phase == Phase.DEPENDENCES:
            if not self._dependences_met(step):
                return
            record.note_dependences(self._waiting_since, progress.model_now, step, progress.records)
            self._costs = {id(tile): self._engine.cycles(step, tile) for tile, _ in step.tile_counts()}
            self._wait(Phase.OPERANDS)
        if stage.phase == Phase.OPERANDS:
            if self.load.finished == stage.finished:
                return
            record.note_operands(self._waiting_since, progress.now, self._sort_began.popleft())
            self._wait(Phase.SPACE)
        if self.unstored_results >= self._slots.out:
            return
        record.wait_write_cycles += progress.now - self._waiting_since
        if record.start_cycle < 0:
            record.start_cycle = progress.model_now
        stage.phase = Phase.BUSY
        stage.until = progress.now + self._costs[id(stage.tiles[stage.tile])]

    def _finish_compute(self) -> None:
        stage = self.compute
        tile = stage.tiles[stage.tile]
        self._progress.records[self.steps[stage.step][0]].compute_cycles += self._costs[id(tile)]
        self.unstored_results += tile.store_bytes > 0
        self._advance(stage, Phase.OPERANDS)
        self._waiting_since = self._progress.now
        self._progress.tile_computed = True

    def _settle_prune(self) -> None:
        stage = self.prune
        while stage.phase < Phase.BUSY and stage.finished < self.compute.finished:
            groups = stage.tiles[stage.tile].sort_after_groups
            if groups:
                stage.phase = Phase.SORT
                stage.until = self._post(Port.PRUNE, Kind.SORT, groups, self.steps[stage.step][1].sort_m)
            else:
                self._advance(stage, Phase.OPERANDS)

    def _settle_store(self) -> None:
        stage = self.store
        while stage.phase < Phase.BUSY and stage.finished < self.prune.finished:
            store_bytes = stage.tiles[stage.tile].store_bytes
            if store_bytes:
                stage.phase = Phase.BUSY
                stage.until = self._post(Port.STORE, Kind.WRITE, store_bytes)
            else:
                self._finish_store()

    def _finish_store(self) -> None:
        stage, progress = self.store, self._progress
        ending = stage.step
        self._advance(stage, Phase.OPERANDS)
        if stage.step != ending:
            index = self.steps[ending][0]
            del self._streams[ending]
            progress.records[index].end_cycle = progress.model_now
            progress.done[index] = progress.step_ended = True
            if progress.on_step is not None:
                progress.on_step(index)

    # -- what the stages are made of ---------------------------------------------------------------------------

    def _advance(self, stage: Stage, phase: int) -> None:
        """Go on to the next tile, in `phase`, or enter the next step."""
        stage.finished += 1
        stage.tile += 1
        stage.phase = phase
        stage.until = NEVER
        if stage.tile == len(stage.tiles):
            self._enter_next_step(stage)

    def _enter_next_step(self, stage: Stage) -> None:
        stage.step += 1
        if stage.step == len(self.steps):
            stage.phase = Phase.ENDED
            return
        if stage.step not in self._streams:
            self._streams[stage.step] = TileStream(self.steps[stage.step][1])
        stage.tiles = self._streams[stage.step].tiles
        stage.tile = 0
        stage.phase = Phase.ENTER

    def _wait(self, phase: int) -> None:
        self.compute.phase = phase
        self._waiting_since = self._progress.now

    def _post(self, port: int, kind: Kind, amount: int, group_size: int = 0) -> int:
        """Ask the shared servers for work; the answer comes with `served`."""
        self._progress.posted.append((self._client + port, Work(kind, amount, group_size)))
        return NEVER

    def _dependences_met(self, step: Step) -> bool:
        done = self._progress.done
        for dep in step.deps:  # noqa: SIM110 - twice as fast as all(), and often asked
            if not done[dep]:
                return False
        return True

    def _has_slot(self, tile: Tile) -> bool:
        slots = self._slots.b if tile.load_b_bytes else self._slots.a
        return self.load.finished - self.compute.finished < slots

    # -- what skipping needs -----------------------------------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """Nothing asked of the shared servers: at most the compute stage is at work."""
        return self.load.until == self.prune.until == self.store.until == NEVER

    def standing(self) -> tuple[int, ...]:
        """Changes whenever a stage does something."""
        stages = (self.load, self.compute, self.prune, self.store)
        return tuple(number for stage in stages for number in (stage.finished, stage.phase))

    def region(self) -> Region:
        """The repetition that all stages are in, an empty one if they are not in the same."""
        if not self.load.step == self.compute.step == self.store.step < len(self.steps):
            return NOWHERE
        return self._streams[self.load.step].region(self.store.tile, self.load.tile)

    def state(self, region: Region) -> tuple[int, ...]:
        """All that this lane's future depends on, with positions relative to the repetition and times to now."""
        now, load, compute = self._progress.now, self.load, self.compute
        prune, store = self.prune, self.store
        here = compute.tile
        return (
            (here - region.start) % region.period,
            load.tile - here,
            prune.tile - here,
            store.tile - here,
            self.unstored_results,
            load.phase,
            compute.phase,
            prune.phase,
            store.phase,
            load.left(now),
            compute.left(now) or now - self._waiting_since,
            prune.left(now),
            store.left(now),
            now - self._sort_began[-1] if load.phase == Phase.SORT else 0,
        )

    def skip(self, tiles: int) -> None:
        """Move all stages `tiles` positions ahead in the repetition."""
        for stage in (self.load, self.compute, self.prune, self.store):
            stage.tile += tiles
            stage.finished += tiles

    def stay(self, cycles: int) -> None:
        """Other lanes skip `cycles`: what this one waits for comes so much sooner in local time."""
        self._b_until -= cycles
        if self.compute.until < NEVER:
            self.compute.until -= cycles
            self.look_ahead()
