"""The numbers of a run as it goes: metrics and statistics, one JSON object a line, and event files of TensorBoard.

Lines of `metrics.jsonl` have a `kind`: "step" has the loss and the learning rate of optimizer step `step` (from 0),
"validation" the loss and the accuracy after `step` steps. `statistics.jsonl` has RecordedStep objects. No line has
the time of day, so that equal runs have equal files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from codesign.errors import ExportError, SpecError
from codesign.spec_errors import printable
from codesign.train.checkpoint import Progress
from codesign.train.config import TrainConfig
from workloads.run_trace import RecordedStep

METRICS, STATISTICS, EVENTS = "metrics.jsonl", "statistics.jsonl", "tensorboard"

RESTART = "put the file back, or start again with --overwrite"


def check_tensorboard(config: TrainConfig) -> None:
    """Raise SpecError if event files are wanted, but cannot be made."""
    if config.tensorboard:
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError:
            raise SpecError(
                "event files need the tensorboard package; run: pip install codesign[train]"
            ) from None


def read_statistics(out: Path, progress: Progress) -> list[RecordedStep]:
    """What was recorded before a checkpoint. Raises SpecError if a file is not what it was then."""
    for name, length in ((METRICS, progress.metrics_bytes), (STATISTICS, progress.statistics_bytes)):
        path = out / name
        if length and not (path.is_file() and path.stat().st_size >= length):
            raise SpecError(f"{printable(str(path))}: is shorter than at the checkpoint; {RESTART}")
    if not progress.statistics_bytes:
        return []
    with (out / STATISTICS).open("rb") as file:
        lines = file.read(progress.statistics_bytes).splitlines()
    try:
        return [_adapter().validate_json(line, strict=True) for line in lines]
    except ValidationError:
        raise SpecError(f"{printable(str(out / STATISTICS))}: is damaged; {RESTART}") from None


class Journal(ExitStack):
    """The files of this module, cut back to where a checkpoint left them; leaving the context closes them."""

    def __init__(self, out: Path, config: TrainConfig, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._metrics = self.enter_context(JsonLines(out / METRICS, progress.metrics_bytes))
        self._statistics = self.enter_context(JsonLines(out / STATISTICS, progress.statistics_bytes))
        self._events = None
        if config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._events = self.enter_context(SummaryWriter(str(out / EVENTS), purge_step=progress.step))

    def add_metrics(self, kind: str, step: int, epoch: int, **values: float) -> None:
        """A line of metrics and, in event files, a point of each curve `KIND/VALUE`. Raises ExportError."""
        self._progress.metrics_bytes = self._metrics.append(
            {"kind": kind, "step": step, "epoch": epoch, **values}
        )
        if self._events:
            for name, value in values.items():
                self._events.add_scalar(f"{kind}/{name}", value, step)

    def add_statistics(self, recorded: RecordedStep) -> None:
        """A line of statistics. Raises ExportError."""
        self._progress.statistics_bytes = self._statistics.append(asdict(recorded))


class JsonLines:
    """A file to which objects are appended; what stands behind its first `keep_bytes` bytes is cut off."""

    def __init__(self, path: Path, keep_bytes: int) -> None:
        self._path = path
        try:
            self._file = path.open("r+b" if path.exists() else "wb")
            self._file.truncate(keep_bytes)
            self._file.seek(keep_bytes)
        except OSError as error:
            raise self._cannot_write(error) from None

    def append(self, record: Mapping[str, Any]) -> int:
        """Write an object; returns the length of the file in bytes. Raises ExportError."""
        try:
            self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._cannot_write(error) from None
        return self._file.tell()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # an append that failed said so
            self._file.close()

    def _cannot_write(self, error: OSError) -> ExportError:
        return ExportError(
            f"cannot write {printable(str(self._path))}: {error.strerror or error}; the last checkpoint is kept, "
            "make room and continue with --resume"
        )


@cache
def _adapter() -> TypeAdapter[RecordedStep]:
    return TypeAdapter(RecordedStep)
