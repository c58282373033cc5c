"""The unit of work: a point goes out as JSON, its result or its error comes back as JSON."""

from __future__ import annotations

import json
from types import TracebackType
from typing import NamedTuple, Protocol, Self

MAX_TRIES = 3
"""Workers that a point may lose before it counts as failed."""


class Task(NamedTuple):
    """A point to compute: its hash, its inputs (JSON of a Point), the cycles of its dense baseline if known."""

    sha256: str
    inputs: str
    dense_cycles: int | None = None


class Outcome(NamedTuple):
    """A computed point: its result (JSON of a flat object), or why there is none."""

    sha256: str
    result: str | None
    error: str | None = None

    @staticmethod
    def lost(task: Task) -> Outcome:
        """Of a point whose worker has died every time."""
        return Outcome(task.sha256, None, "its worker process was killed at every try; out of memory?")


class Executor(Protocol):
    """Computes tasks somewhere, and replaces workers that die."""

    @property
    def slots(self) -> int:
        """Tasks to keep submitted so that no worker is idle."""

    def submit(self, task: Task) -> None:
        """Have a task computed."""

    def wait(self) -> list[Outcome]:
        """Block until something happens; the outcomes of tasks that have ended since, maybe none."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers at once."""


def compute(task: Task) -> Outcome:
    """Runs in a worker: every error of the point becomes its outcome."""
    from codesign.sweep.evaluate import evaluate
    from codesign.sweep.point import Point

    try:
        result = evaluate(Point.model_validate_json(task.inputs), task.dense_cycles)
        return Outcome(task.sha256, json.dumps(result, allow_nan=False))
    except Exception as error:
        return Outcome(task.sha256, None, f"{type(error).__name__}: {error}")
