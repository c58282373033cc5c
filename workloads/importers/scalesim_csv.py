"""Workload from a SCALE-Sim topology file (https://github.com/scalesim-project/SCALE-Sim).

Convolutions, one sample each; the image height and width include the padding:

    Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,

GEMMs, an M x K matrix times a K x N matrix; the batch is part of M:

    Layer, M, N, K,

As in SCALE-Sim, the first line is a header, an output row is ceil((IFMAP - Filter) / Strides) + 1 long, and `DP`
in a layer's name means one convolution for each channel. A file says nothing of what lies between the layers,
so they follow each other without other work and there is no loss. The input of the first convolution needs no
gradient; GEMMs may come from anywhere in a network and all have one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from codesign.errors import SpecError
from codesign.input_files import read_file
from codesign.spec_errors import printable, shorten
from workloads.graph import DEFAULT_BATCH, Graph
from workloads.importers.files import MAX_BYTES, UniqueNames, refuse_batch
from workloads.trace import Trace
from workloads.training import training_trace
from workloads.zoo.raw_gemms import RawGemm, raw_gemms

CONV_COLUMNS = "IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides"
GEMM_COLUMNS = "M, N, K"
MAX_LAYERS = 10_000
DENSE = "1:1"  # SCALE-Sim's optional sparsity column


class _Row(NamedTuple):
    where: str
    name: str
    sizes: list[int]


def load_scalesim(path: Path, *, batch: int | None = None) -> Trace:
    """Trace of the layers in a SCALE-Sim topology file. Raises SpecError with file and line."""
    lines = _lines(path)
    where, header = next(lines)
    columns = _columns(where, header)
    unique = UniqueNames()
    rows = [_row(where, fields, columns, unique) for where, fields in lines]
    if not 1 <= len(rows) <= MAX_LAYERS:
        raise SpecError(f"{where}: {len(rows)} layers follow the header, expected 1 to {MAX_LAYERS}")
    if columns == GEMM_COLUMNS:
        refuse_batch(where, batch)
        gemms = [RawGemm(row.name, rows=m, inputs=k, outputs=n) for row in rows for m, n, k in (row.sizes,)]
        return training_trace(raw_gemms(gemms), path.stem)
    return training_trace(_convolutions(rows, batch or DEFAULT_BATCH), path.stem)


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where each line that is not blank stands, and its fields."""
    name = printable(str(path))
    try:
        text = read_file(path, "a SCALE-Sim topology file", MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{name}: is not UTF-8 text; expected a SCALE-Sim topology file") from None
    if not text.strip():
        raise SpecError(f"{name}: is empty; expected a SCALE-Sim topology file")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{name}:{number}", [field.strip() for field in line.split(",")]


def _columns(where: str, header: list[str]) -> str:
    """Which of the two forms the header announces; SCALE-Sim itself goes by position, so the order must be right."""
    found = ", ".join(header[1:]).lower()
    for columns in (CONV_COLUMNS, GEMM_COLUMNS):
        if found == columns.lower() or found.startswith(f"{columns.lower()},"):
            return columns
    raise SpecError(
        f"{where}: got the header {shorten(', '.join(header))!r}, expected "
        f"'Layer name, {CONV_COLUMNS}' or 'Layer, {GEMM_COLUMNS}'"
    )


def _row(where: str, fields: list[str], columns: str, unique: UniqueNames) -> _Row:
    name, labels = fields[0], columns.split(", ")
    values, rest = fields[1 : 1 + len(labels)], fields[1 + len(labels) :]
    if not name or len(values) < len(labels):
        raise SpecError(f"{where}: got {len(fields)} fields, expected a name and {columns}")
    for label, value in zip(labels, values, strict=True):
        if not (value.isascii() and value.isdigit() and len(value) < 9 and int(value) > 0):
            raise SpecError(f"{where}: {label} is {shorten(value)!r}, expected an integer from 1 to 99999999")
    if surplus := [field for field in rest if field not in ("", DENSE) and not field.startswith("#")]:
        raise SpecError(
            f"{where}: unexpected column {shorten(surplus[0])!r} after {labels[-1]}; batches and sparsity "
            "are options of the command"
        )
    return _Row(where, unique(shorten(printable(name))), [int(value) for value in values])


def _convolutions(rows: list[_Row], batch: int) -> Graph:
    g = Graph(batch)
    x = None
    for row in rows:
        height, width, filter_h, filter_w, channels, filters, stride = row.sizes
        if filter_h > height or filter_w > width:
            raise SpecError(
                f"{row.where}: filter {filter_h} x {filter_w} is larger than its input {height} x {width}"
            )
        x = g.order(x, (batch, channels, height, width)) if x else g.input(channels, height, width)
        depthwise = "DP" in row.name
        x = g.conv(
            x,
            filters * channels if depthwise else filters,
            (filter_h, filter_w),
            row.name,
            stride=stride,
            groups=channels if depthwise else 1,
            out_size=(-((filter_h - height) // stride) + 1, -((filter_w - width) // stride) + 1),
        )
    return g
