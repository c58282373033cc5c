"""Tables of a sweep as files, written row by row, so that memory does not grow with the sweep."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codesign.errors import ExportError
from codesign.output_files import ensure_file_writable


def write_csv(path: Path, columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with a header; what is None stays empty. Raises ExportError and leaves no partial file."""
    with in_place(path) as scratch, scratch.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([plain(row[column]) for column in columns] for row in rows)


def plain(value: Any) -> Any:
    """A value for a cell: what is no number or text becomes JSON."""
    return value if value is None or type(value) in (int, float, str) else json.dumps(value)


@contextmanager
def in_place(path: Path) -> Iterator[Path]:
    """A path to write to, which is renamed to `path` at the end. Raises ExportError."""
    ensure_file_writable(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
            yield Path(scratch) / path.name
            (Path(scratch) / path.name).replace(path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}; choose another place") from None
