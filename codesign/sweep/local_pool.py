"""Workers on this machine, one process each.

Each worker is a process pool of one, so that a worker that dies takes nothing with it but the task that it had, and
is replaced alone. All hold the reading end of one pipe, the lifeline; when the parent closes it, or dies in whatever
way, they leave at once.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import NamedTuple, Self

from codesign.errors import CodesignError
from codesign.sweep.work import MAX_TRIES, Outcome, Task, compute

MAX_DEATHS_IN_A_ROW = 9
"""Deaths a worker, no task having ended in between, after which it cannot be the points' fault."""

_CONTEXT = get_context("spawn")


class _Attempt(NamedTuple):
    """A task at work, for the `number`th time."""

    task: Task
    number: int
    worker: ProcessPoolExecutor


class LocalPool:
    """An Executor of as many processes as there are slots, each started when it is first needed."""

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self._lifeline, self._end = _CONTEXT.Pipe(duplex=False)
        self._idle = [self._worker() for _ in range(workers)]
        self._running: dict[Future[Outcome], _Attempt] = {}
        self._deaths_in_a_row = 0

    def submit(self, task: Task) -> None:
        """Give a task to an idle worker, of which there must be one."""
        self._send(task, 1, self._idle.pop())

    def wait(self) -> list[Outcome]:
        """Block until a worker has ended its task or died. Raises CodesignError if workers do nothing but die."""
        ended, _ = wait(self._running, return_when=FIRST_COMPLETED)
        return [outcome for future in ended if (outcome := self._collect(future))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()
        for attempt in self._running.values():
            attempt.worker.shutdown(wait=False, cancel_futures=True)
        for worker in self._idle:
            worker.shutdown(wait=False)
        self._lifeline.close()

    def _collect(self, future: Future[Outcome]) -> Outcome | None:
        """The outcome of a task that has ended; None if its worker has died and it is tried again."""
        task, number, worker = self._running.pop(future)
        try:
            outcome = future.result()
        except BrokenProcessPool:
            self._count_death()
            worker = self._replace(worker)
            if number < MAX_TRIES:
                self._send(task, number + 1, worker)
                return None
            outcome = Outcome.lost(task)
        else:
            self._deaths_in_a_row = 0
        self._idle.append(worker)
        return outcome

    def _send(self, task: Task, number: int, worker: ProcessPoolExecutor) -> None:
        try:
            future = worker.submit(compute, task)
        except BrokenProcessPool:  # it died while it was idle
            worker = self._replace(worker)
            future = worker.submit(compute, task)
        self._running[future] = _Attempt(task, number, worker)

    def _worker(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, _CONTEXT, initializer=_start, initargs=(self._lifeline,))

    def _replace(self, worker: ProcessPoolExecutor) -> ProcessPoolExecutor:
        worker.shutdown(wait=False)
        return self._worker()

    def _count_death(self) -> None:
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > MAX_DEATHS_IN_A_ROW * self.slots:
            raise CodesignError(
                f"worker processes die as soon as they work, {self._deaths_in_a_row} in a row; try fewer --workers, "
                "and look for what kills them (memory?)"
            )


def _start(lifeline: Connection) -> None:
    """Runs first in a worker: leave the terminal's Ctrl-C to the parent, follow the lifeline, import the engine."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(lifeline,), daemon=True).start()
    import codesign.sweep.evaluate  # noqa: F401


def _leave_with(lifeline: Connection) -> None:
    lifeline.poll(None)  # nothing is ever sent: it returns when the other end is closed
    os._exit(0)
