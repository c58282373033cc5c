"""Workers of a Dask cluster, which must have this version of the package installed and the same files to read.

Dask itself runs a task again whose worker is lost, up to the scheduler's `allowed-failures` (3 by default). A worker
of one thread is best: the simulator holds Python's interpreter lock.
"""

from __future__ import annotations

import logging
from typing import Any, Self

from distributed import Client, KilledWorker, as_completed

from codesign.errors import CodesignError, SpecError
from codesign.sweep.work import Outcome, Task, compute

CONNECT_TIMEOUT_S = 20

TASKS_PER_THREAD = 2
"""So that a worker has its next task at hand when it ends one."""


class DaskCluster:
    """An Executor of all workers that a Dask scheduler has, and of those that join it later."""

    def __init__(self, address: str) -> None:
        """Connect to `tcp://host:port`. Raises SpecError if no scheduler answers there, or it has no workers."""
        self._address = address
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what matters is raised here
        try:
            self._client: Any = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SpecError(f"--scheduler {address}: no Dask scheduler answers: {_text(error)}") from None
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
        except TimeoutError:
            self._client.close()
            raise SpecError(
                f"--scheduler {address}: has no workers; start some, such as `dask worker {address} --nthreads 1`"
            ) from None
        self._running: dict[Any, Task] = {}
        self._ended: Any = as_completed(loop=self._client.loop, with_results=True, raise_errors=False)

    @property
    def slots(self) -> int:
        """Tasks that keep the present workers busy."""
        threads: dict[str, int] = self._client.nthreads()
        return TASKS_PER_THREAD * max(1, sum(threads.values()))

    def submit(self, task: Task) -> None:
        """Hand a task to the scheduler."""
        future = self._client.submit(compute, task, pure=False)
        self._running[future] = task
        self._ended.add(future)

    def wait(self) -> list[Outcome]:
        """Block until tasks have ended. Raises CodesignError if the scheduler is lost, or workers cannot compute."""
        return [self._outcome(*ended) for ended in self._ended.next_batch()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.cancel(list(self._running))
        self._client.close()

    def _outcome(self, future: Any, result: Any) -> Outcome:
        task = self._running.pop(future)
        if isinstance(result, Outcome):
            return result
        error = (
            result[1] if isinstance(result, tuple) else result
        )  # (type, exception, traceback) if it failed
        if isinstance(error, KilledWorker):
            return Outcome.lost(task)
        raise CodesignError(f"--scheduler {self._address}: the cluster gave up: {_text(error)}")


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
