"""Writes results: every file is written beside its place and renamed, so nothing half-written is ever seen."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from codesign import strict_yaml
from codesign.errors import ExportError
from codesign.report.machine_readable import layers_csv, timeline_json, to_json
from codesign.result import SimResult
from hw_models.arch import Arch

if TYPE_CHECKING:
    from codesign.ablation import Rung


def ensure_writable(directory: Path) -> None:
    """Check before the work that files can be written there later. Creates nothing. Raises ExportError."""
    place = directory
    while not os.path.exists(place) and place != place.parent:  # noqa: PTH110 - unlike Path.exists it never raises
        place = place.parent
    if not os.path.isdir(place):  # noqa: PTH112 - as above
        raise ExportError(f"cannot write to {directory}: {place} is not a directory; choose another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ExportError(f"cannot write to {directory}: no permission in {place}; choose another folder")


def ensure_file_writable(path: Path) -> None:
    """The same for one file. Raises ExportError."""
    if os.path.isdir(path):  # noqa: PTH112 - as above
        raise ExportError(f"cannot write to {path}: is a directory; choose a file in it")
    ensure_writable(path.parent)


def write_result(directory: Path, result: SimResult, arch: Arch, rungs: list[Rung] | None = None) -> None:
    """Write `result.json`, `layers.csv`, `timeline.json` and `resolved.yaml`. Raises ExportError."""
    write_files(
        directory,
        {
            "result.json": to_json(result, rungs) + "\n",
            "layers.csv": layers_csv(result),
            "timeline.json": timeline_json(result) + "\n",
            "resolved.yaml": strict_yaml.dump(arch.model_dump(mode="json")),
        },
    )


def write_files(directory: Path, texts: Mapping[str, str]) -> None:
    """Write all files, then rename all into place. Raises ExportError and leaves no partial file."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".writing-") as scratch:
            for name, text in texts.items():
                (Path(scratch) / name).write_text(text, encoding="utf-8")
            for name in texts:
                (Path(scratch) / name).replace(directory / name)
    except OSError as error:
        raise ExportError(
            f"cannot write to {directory}: {error.strerror or error}; choose another folder"
        ) from None
