"""Tables of a sweep as Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from codesign.sweep.export import in_place, plain

ROWS_OF_A_GROUP = 4096

_TYPES = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
"""Everything else is text, JSON if it was none."""


def write_parquet(path: Path, columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, a group at a time. Raises ExportError and leaves no partial file."""
    schema = pa.schema([(name, _TYPES.get(kind, pa.string())) for name, kind in columns.items()])
    remaining = iter(rows)
    with in_place(path) as scratch, ParquetWriter(scratch, schema) as writer:
        while group := list(islice(remaining, ROWS_OF_A_GROUP)):
            writer.write_table(
                pa.table({name: _column(group, name, kind) for name, kind in columns.items()}, schema)
            )


def _column(rows: list[Mapping[str, Any]], name: str, kind: type) -> list[Any]:
    values = [row[name] for row in rows]
    return values if kind in _TYPES else [plain(value) for value in values]
