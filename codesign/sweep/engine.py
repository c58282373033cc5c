"""Runs a sweep: enters its points in a store, has those computed that are not there yet, keeps what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from codesign.errors import SpecError
from codesign.sweep.agenda import Agenda
from codesign.sweep.extras import needed_for
from codesign.sweep.objectives import DEFAULT, objectives_of
from codesign.sweep.point import Point
from codesign.sweep.space import Space, listed
from codesign.sweep.spec import SweepSpec
from codesign.sweep.store import Store
from codesign.sweep.view import Row, View
from codesign.sweep.work import Executor, Outcome, Task

OnPoint = Callable[[int, int], None]
"""Called with (points ended, points to compute as far as is known), baselines included."""


@dataclass
class Tally:
    """What became of the points of a sweep, baselines not counted.

    `computed`: now, failures among them. `reused`: were in the store. `failed`: now or before. `dropped`:
    combinations that cannot be, by reason.
    """

    points: int = 0
    computed: int = 0
    reused: int = 0
    failed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)


class Sweep:
    """A sweep that can be run. Raises SpecError or TraceError for what cannot be, before anything is written."""

    def __init__(self, spec: SweepSpec) -> None:
        self.spec = spec
        self._space = None if spec.points else Space(spec)
        self._objectives = objectives_of(spec.objectives or DEFAULT)
        if spec.search and self._space:
            _check_search(self._space)
        else:
            for _ in self._points():
                pass

    def run(
        self, store: Store, executor: Executor, *, retry_failed: bool = False, on_point: OnPoint | None = None
    ) -> Tally:
        """Have every point computed that the store does not hold.

        A point that fails is recorded with its error and does not stop the others; it is tried again only if
        `retry_failed`. Raises ExportError if the store cannot be written, CodesignError if workers cannot work.
        """
        job = _Job(self.spec, store, executor, retry_failed, on_point)
        if self.spec.search and self._space:
            from codesign.sweep.search import search

            self._space.dropped.clear()
            search(self._space, self.spec.search, self._objectives, self.spec.must_fit, job.rows)
        else:
            job.complete(self._points())
        if self._space:
            job.tally.dropped = dict(self._space.dropped)
        return job.tally

    def _points(self) -> Iterator[Point]:
        return self._space.grid() if self._space else listed(self.spec)


def _check_search(space: Space) -> None:
    with needed_for("a search"):
        import codesign.sweep.search  # noqa: F401
    if all(len(axis.values) == 1 for axis in space.axes):
        raise SpecError("there is nothing to search; give several values, such as --set array.rows=16,32,64")
    workloads = {training.workload.sha256: training.workload for training in space.axes[-1].values}
    if len(workloads) > 1:
        names = ", ".join(f"{workload.source} (batch {workload.batch})" for workload in workloads.values())
        raise SpecError(f"a search is about one workload, since others are not comparable; got {names}")


class _Job:
    """A sweep at work."""

    def __init__(
        self, spec: SweepSpec, store: Store, executor: Executor, retry_failed: bool, on_point: OnPoint | None
    ) -> None:
        self.tally = Tally()
        self._view = View(store, spec)
        self._store = store
        self._agenda = Agenda(store, spec, retry_failed=retry_failed)
        self._executor = executor
        self._on_point = on_point or (lambda ended, known: None)
        self._ended = 0

    def complete(self, points: Iterable[Point]) -> None:
        """Enter points and have those computed that are pending, first those that others are compared with."""
        before = self._agenda.counts()
        self._agenda.add(points)
        entered = self._agenda.counts()
        known = self._ended + entered.pending
        self._on_point(self._ended, known)
        for baselines in (True, False):
            for outcomes in _ended(self._executor, self._agenda.pending(baselines=baselines)):
                self._store.record(outcomes)
                self._ended += len(outcomes)
                self._on_point(self._ended, known)
        after = self._agenda.counts()
        self.tally.points = after.total
        self.tally.reused += entered.done - before.done
        self.tally.computed += after.done - entered.done + after.failed - entered.failed
        self.tally.failed += after.failed - before.failed

    def rows(self, points: Sequence[Point]) -> dict[str, Row | None]:
        """The same; what became of each point by its hash, None for one that has failed."""
        self.complete(points)
        records = [record for point in points if (record := self._store.find(point.sha256))]
        return {record.sha256: self._view.row(record) if record.result else None for record in records}


def _ended(executor: Executor, tasks: Iterator[Task]) -> Iterator[list[Outcome]]:
    """Outcomes as they come; no more tasks are under way than the executor has slots for."""
    running = 0
    outcomes: list[Outcome] = []
    while True:
        for task in islice(tasks, max(0, executor.slots - running)):
            executor.submit(task)
            running += 1
        if outcomes:
            yield outcomes
        if not running:
            return
        outcomes = executor.wait()
        running -= len(outcomes)
