"""The fast path: when the machine is in a state it was in before, the cycles in between repeat; skip them.

The model is deterministic, so its future is a function of its state and of the tiles still to come. A state
here is everything that the future depends on, with times relative to now: where each stage of a busy lane
stands in the repetition of its step, what it waits for and for how long, and how long each shared server is
reserved. Lanes that ask nothing of the shared servers (idle, or deep in a long tile) are no part of it; they
only bound how far the others may skip. If a state recurs while every busy lane is still inside the same
repetition, the stretch between the two moments recurs as often as the repetitions allow. Skipping k of them
adds k times the stretch's cycles, tiles, bytes and waits: the integers that stepping through would have given.

Skipped cycles are added to a counter instead of to the times of everything in flight: local time plus that
counter is model time.
"""

from __future__ import annotations

from typing import NamedTuple

from hw_models.fast_lane import FastLane
from hw_models.fast_state import NEVER, Phase, Progress
from hw_models.memory import PORTS, SharedServers
from hw_models.tile_stream import Region

State = tuple[object, ...]
Busy = list[tuple[FastLane, Region]]


class Totals(NamedTuple):
    """Local time and everything that is counted, for the busy lanes; also the difference of two such moments."""

    time: int
    tiles: tuple[int, ...]
    counters: tuple[tuple[int, ...], ...]
    shared: tuple[int, ...]


def run(lanes: list[FastLane], servers: SharedServers, progress: Progress) -> None:
    """Execute the lanes' steps to the end."""
    skipper = _Skipper(lanes, servers, progress)
    awake = lanes
    while True:
        for lane in awake:
            lane.settle()
        while progress.step_ended:  # lanes hear of each other only through steps that end
            progress.step_ended = False
            awake = lanes
            for lane in lanes:
                lane.settle()
        if progress.posted:
            posted, progress.posted = sorted(progress.posted), []
            for client, work in posted:
                lanes[client // PORTS].served(client, servers.serve(progress.now, work))
        for lane in awake:
            lane.look_ahead()
        if progress.tile_computed:
            progress.tile_computed = False
            skipper.observe()
        now = min([lane.next_event for lane in lanes])
        if now == NEVER:
            return
        progress.now = now
        awake = [lane for lane in lanes if lane.next_event == now]
        for lane in awake:
            lane.wake()


class _Skipper:
    """Looks for recurring states whenever a tile has been computed."""

    def __init__(self, lanes: list[FastLane], servers: SharedServers, progress: Progress) -> None:
        self._lanes = lanes
        self._servers = servers
        self._progress = progress
        self._computed = [0] * len(lanes)
        self._situation: State = ()
        self._seen: dict[State, Totals] = {}
        self._periods: dict[State, Totals] = {}

    def observe(self) -> None:
        """Look at the settled state of a cycle; skip if it is known to recur."""
        busy: Busy = []
        staying: list[FastLane] = []
        computed, self._computed = self._computed, [lane.compute.finished for lane in self._lanes]
        for lane, before in zip(self._lanes, computed, strict=True):
            if lane.compute.finished == before and lane.quiet:
                staying.append(lane)
            elif lane.store.phase != Phase.ENDED:
                region = lane.region()
                if region.end - 1 <= lane.load.tile:
                    return  # nothing left to skip
                busy.append((lane, region))
        if busy:  # not if the lane has just ended
            self._look_up(busy, staying)

    def _look_up(self, busy: Busy, staying: list[FastLane]) -> None:
        situation = (
            tuple((id(lane), lane.compute.step) for lane, _ in busy),
            tuple((id(lane), *lane.standing()) for lane in staying),
        )
        if situation != self._situation:
            self._situation, self._seen = situation, {}
        state = (
            tuple(lane.contents[lane.compute.step] for lane, _ in busy),
            self._servers.reserved_cycles(self._progress.now),
            *((region, lane.state(region)) for lane, region in busy),
        )
        period = self._periods.get(state)
        if period is None:
            totals = self._totals(busy)
            earlier = self._seen.setdefault(state, totals)
            if earlier is totals:
                return
            period = self._periods[state] = _difference(totals, earlier)
        self._skip(busy, staying, period)

    def _totals(self, busy: Busy) -> Totals:
        records = self._progress.records
        return Totals(
            self._progress.now,
            tuple(lane.compute.finished for lane, _ in busy),
            tuple(records[lane.steps[lane.compute.step][0]].counters() for lane, _ in busy),
            self._servers.counters(),
        )

    def _skip(self, busy: Busy, staying: list[FastLane], period: Totals) -> None:
        """Skip as many whole periods as fit in every busy lane's repetition and before a staying lane acts."""
        now = self._progress.now
        pairs = zip(busy, period.tiles, strict=True)
        room = [(region.end - 1 - lane.load.tile) // tiles for (lane, region), tiles in pairs]
        room += [(lane.next_event - 1 - now) // period.time for lane in staying]
        times = min(room)
        if times <= 0:
            return
        for (lane, _), tiles, delta in zip(busy, period.tiles, period.counters, strict=True):
            self._progress.records[lane.steps[lane.compute.step][0]].advance(delta, times)
            lane.skip(tiles * times)
        for lane in staying:
            lane.stay(period.time * times)
        self._servers.advance(period.shared, times)
        self._progress.skipped_cycles += period.time * times
        self._computed = [lane.compute.finished for lane in self._lanes]
        self._seen = {}


def _difference(new: Totals, old: Totals) -> Totals:
    return Totals(
        new.time - old.time,
        _minus(new.tiles, old.tiles),
        tuple(_minus(a, b) for a, b in zip(new.counters, old.counters, strict=True)),
        _minus(new.shared, old.shared),
    )


def _minus(new: tuple[int, ...], old: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a - b for a, b in zip(new, old, strict=True))
