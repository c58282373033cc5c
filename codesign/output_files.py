"""Writing of files: every file is written beside its place and renamed, so nothing half-written is ever seen."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from codesign.errors import ExportError


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


def write_files(directory: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write all files, texts in UTF-8, then rename all into place. Raises ExportError and leaves no partial file."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".writing-") as scratch:
            for name, content in contents.items():
                _write_durably(
                    Path(scratch) / name, content.encode() if isinstance(content, str) else content
                )
            for name in contents:
                (Path(scratch) / name).replace(directory / name)
    except OSError as error:
        raise ExportError(
            f"cannot write to {directory}: {error.strerror or error}; choose another folder"
        ) from None


def _write_durably(path: Path, content: bytes) -> None:
    """Onto the disk itself: after a power loss, a file that was renamed but not synced may be empty."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
