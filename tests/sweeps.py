"""What the tests of sweeps share: small sweeps, and an executor without processes."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from codesign.sweep.engine import Sweep, Tally
from codesign.sweep.spec import SweepSpec
from codesign.sweep.store import Store
from codesign.sweep.work import Outcome, Task, compute

GEMM = "gemm:64x64x64"


def spec_of(**keys: Any) -> SweepSpec:
    """A sweep of one small product unless there are other workloads."""
    if not {"workloads", "traces", "points"} & keys.keys():
        keys["workloads"] = [{"name": GEMM}]
    return SweepSpec.model_validate_json(json.dumps(keys))


class Inline:
    """An Executor that computes in this process, and remembers what it was given. It loses nothing."""

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.given: list[Task] = []
        self.most = 0
        self._waiting: list[Task] = []

    def submit(self, task: Task) -> None:
        self.given.append(task)
        self._waiting.append(task)
        self.most = max(self.most, len(self._waiting))

    def wait(self) -> list[Outcome]:
        return [compute(self._waiting.pop())]


def run(spec: SweepSpec, store: Store, executor: Any = None, **how: Any) -> Tally:
    """Run a sweep in this process."""
    return Sweep(spec).run(store, executor or Inline(), **how)


def rows_of(store: Store, spec: SweepSpec) -> dict[str, Any]:
    """Results and errors by hash; fails if a point is there twice."""
    records = list(store.records(spec.sha256))
    rows = {record.sha256: (record.result, record.error) for record in records}
    assert len(rows) == len(records)
    return rows


FATAL_ROWS = 24


def compute_or_die(task: Task) -> Outcome:
    """`compute` whose worker process is killed by points of FATAL_ROWS rows."""
    if json.loads(task.inputs)["arch"]["array"]["rows"] == FATAL_ROWS:
        os.kill(os.getpid(), signal.SIGKILL)
    return compute(task)


def die(task: Task) -> Outcome:
    """A worker that is killed by whatever it is given."""
    os.kill(os.getpid(), signal.SIGKILL)
    return compute(task)
