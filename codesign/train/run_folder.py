"""The folder of a run: what is in it, and who may write there."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import rmtree

from codesign.errors import ExportError, SpecError
from codesign.output_files import ensure_writable, write_files
from codesign.spec_errors import printable
from codesign.train import checkpoint as checkpoints
from codesign.train import config as configs
from codesign.train.checkpoint import Checkpoint, load_checkpoint
from codesign.train.config import TrainConfig, load_config
from codesign.train.metrics import EVENTS, METRICS, STATISTICS
from workloads import recording, run_trace

MODEL, TRACE = "model.safetensors", "trace"

SCRATCH = ".writing-*"
"""What `codesign.output_files` leaves behind if its process is killed."""


def claim(out: Path, config: TrainConfig, *, resume: bool, overwrite: bool) -> Checkpoint | None:
    """The checkpoint to go on from, None to start at the first step. Changes nothing.

    Raises SpecError if the folder holds another run, and ExportError if it cannot be written.
    """
    name = printable(str(out))
    if resume and overwrite:
        raise SpecError("--resume and --overwrite exclude each other; use one of them")
    ensure_writable(out)
    if not resume:
        if not overwrite and _holds_run(out):
            raise SpecError(
                f"{name}: holds a run; use --resume to continue it, --overwrite to replace it, or another folder"
            )
        return None
    checkpoint = load_checkpoint(out)
    if changed := (checkpoint.config if checkpoint else load_config(out)).difference(config):
        raise SpecError(
            f"{name}: a run cannot be resumed with other settings: {changed}; leave them as they were"
        )
    return checkpoint


def begin(out: Path, config: TrainConfig, *, fresh: bool) -> None:
    """Remove the files of an earlier run if this one starts afresh, and write the configuration."""
    try:
        for scratch in (*out.glob(SCRATCH), *(out / TRACE).glob(SCRATCH)):
            rmtree(scratch)
        for path in _files_of_run(out) if fresh else ():
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(
            f"cannot remove {error.filename}: {error.strerror}; choose another folder"
        ) from None
    write_files(out, {configs.FILE_NAME: config.to_json()})


def _holds_run(out: Path) -> bool:
    # unlike Path.exists, os.path.exists never raises
    return any(os.path.exists(out / name) for name in (configs.FILE_NAME, checkpoints.FILE_NAME))  # noqa: PTH110


def _files_of_run(out: Path) -> list[Path]:
    """All but the configuration, which is replaced."""
    trace = out / TRACE
    files = [out / name for name in (checkpoints.FILE_NAME, MODEL, METRICS, STATISTICS)]
    files += [trace / run_trace.FILE_NAME, trace / recording.FILE_NAME]
    return files + sorted((out / EVENTS).glob("events.out.tfevents.*"))
