"""Products `Y[i, j] = sum over k of A[i, k] . B[k, j]` in any order of summation, compiled.

Everything that the array multiplies is one such product: A is *seen* in memory through two tables of addresses,
`A[i, k] = memory[row[k] + lane[i]]`, which covers matrices of any memory order and, with no im2col buffer, the
windows of a convolution. B is a list of terms for each j (`codesign.compute.terms`).

The loop works on up to `_LANES` neighbouring i, a vector register or several for the sums of one j. A *panel* holds A
for them and for a few k, small enough for the first cache; each term of each j then multiplies one row of it. So
outputs are what is done side by side, and each of them is summed exactly in the order that was asked for.
"""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from codesign.compute.formats import Float32
from codesign.compute.order import Walk
from codesign.compute.stream_kernels import Places
from codesign.compute.terms import Terms
from codesign.compute.threads import in_parallel, thread_count
from codesign.compute.vector_kernels import Vectors, prefetch_read, prefetch_write
from codesign.nm.jit_kernels import CHUNK, compiled, copy_chunk

_VECTOR = 16  # sums in one register of 512 bits
_LANES = 6 * _VECTOR  # many sums that do not wait for each other, in panels that are still small
_PANEL_ROWS = 64  # with these lanes of 4 bytes, three quarters of a first cache of 32 KiB
_STRIPE = 4 * _LANES  # most i that are copied together, since memory is fast in long stretches
_COLUMNS = 512  # most j that are summed with one stripe
_LINE_BYTES = 64
_COLUMNS_AHEAD = 4  # of Y that are fetched before they are written
_ROWS_AHEAD = 8  # of A that are fetched before they are copied: processors do not foresee such long steps
_TOGETHER = 4  # columns of B that are read side by side when the terms are listed
_GRAIN = 1 << 21  # multiplications; some 100 microseconds


class View(NamedTuple):
    """Operand A: `A[i, k] = memory[row[k] + lane[i]]`; `memory` flat and float32, the addresses int64."""

    memory: Float32
    row: NDArray[np.int64]
    lane: NDArray[np.int64]


def product(a: View, b: Terms, walk: Walk, fused: bool, onto: Float32 | None = None) -> Float32:
    """Y, transposed: (J, I). Its runs are added to `onto`, if given, of that shape.

    `fused` lets a product be added before it is rounded, where the processor can.
    """
    b, row = b.visited(walk), a.row[walk.visit]
    columns, lanes = len(b.values), len(a.lane)
    panel_rows = max(1, _PANEL_ROWS // b.m) * b.m
    begins, ends, closes = _chunks(walk.ends, panel_rows)
    values, places = _tabulate(b, begins, ends)
    y = np.empty((columns, lanes), np.float32) if onto is None else onto.copy()
    stripes = _cut(lanes, _STRIPE)
    shares = -(-thread_count() // (len(stripes) - 1))  # so that every thread gets a block
    shares = max(shares, -(-columns // _COLUMNS))
    block_columns = max(1, -(-columns // shares))

    def run(first: int, last: int) -> None:
        panels, sums = _scratch.take(panel_rows * _STRIPE, block_columns * _STRIPE)
        chunks = begins, ends, closes, b.values.shape[2], b.m
        blocks = stripes, block_columns, first, last
        _product(
            a.memory, row, a.lane, values, places, *chunks, *blocks, panels, sums, y, onto is None, fused
        )

    blocks = -(-columns // block_columns) * (len(stripes) - 1)
    in_parallel(run, blocks, _GRAIN * blocks // (b.values.size * lanes or 1))
    return y


def _chunks(run_ends: NDArray[np.int64], most: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Cut each run into chunks of at most `most`: where they begin and end, and whether one ends its run."""
    begin = np.concatenate([np.arange(a, b, most) for a, b in pairwise([0, *run_ends.tolist()])])
    end = np.append(begin[1:], run_ends[-1])
    return begin, end, run_ends[np.searchsorted(run_ends, end)] == end


def _tabulate(b: Terms, begins: NDArray[Any], ends: NDArray[Any]) -> tuple[Float32, Places]:
    """The terms chunk by chunk, and in each column by column: their values, and which row of a panel they meet.

    Of a dense B only the rows of its first column are listed; all others are the same.
    """
    columns, groups, n = b.values.shape
    grain = -(-_GRAIN // (16 * groups * n))
    chunks = begins // b.m * n, ends // b.m * n
    rows = np.arange(groups) * b.m - np.repeat(begins, (ends - begins) // b.m)
    first_rows = np.repeat(rows, n).astype(np.uint8)
    kept = np.ascontiguousarray(b.values).reshape(columns, -1)
    values = np.empty(kept.size, np.float32)
    if b.m == 1:
        in_parallel(lambda a, b: _list_values(kept, *chunks, a, b, values), columns, grain)
        return values, first_rows
    indices = np.ascontiguousarray(b.indices).reshape(columns, -1)
    places = np.empty(kept.size, np.uint8)

    def run(first: int, last: int) -> None:
        _list_values(kept, *chunks, first, last, values)
        _list_places(indices, first_rows, *chunks, first, last, places)

    in_parallel(run, columns, grain)
    return values, places


def _aligned(items: int) -> Float32:
    """Zeros whose memory starts with a cache line: a vector that straddles two takes twice as long to load."""
    memory = np.zeros(items * 4 + _LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % _LINE_BYTES
    return memory[start : start + items * 4].view(np.float32)


class _Scratch(threading.local):
    """What a thread works in, kept for its next product: the pages of new memory cost more than small products."""

    def __init__(self) -> None:
        self._panels = self._sums = _aligned(0)

    def take(self, panel_items: int, sum_items: int) -> tuple[Float32, Float32]:
        """Panels and sums of at least so many items, with anything in them."""
        if self._panels.size < panel_items:
            self._panels = _aligned(panel_items)
        if self._sums.size < sum_items:
            self._sums = _aligned(sum_items)
        return self._panels, self._sums


_scratch = _Scratch()


@compiled
def _list_values(kept, begins, ends, first, last, values):  # type: ignore[no-untyped-def]
    for together in range(first, last, _TOGETHER):
        for chunk in range(len(begins)):
            begin, count = begins[chunk], ends[chunk] - begins[chunk]
            for j in range(together, min(together + _TOGETHER, last)):
                source, target = kept[j, begin:], values[begin * len(kept) + count * j :]
                for term in range(count):
                    target[term] = source[term]


@compiled
def _list_places(indices, first_rows, begins, ends, first, last, places):  # type: ignore[no-untyped-def]
    for together in range(first, last, _TOGETHER):
        for chunk in range(len(begins)):
            begin, count = begins[chunk], ends[chunk] - begins[chunk]
            start = first_rows[begin:]
            for j in range(together, min(together + _TOGETHER, last)):
                source, target = indices[j, begin:], places[begin * len(indices) + count * j :]
                for term in range(count):
                    target[term] = start[term] + source[term]


def _multiply_add(flags: tuple[str, ...]) -> Any:
    """An intrinsic that adds the products of a column's terms in a chunk to its sums, in 1 to `_LANES` lanes.

    `resumes`: the sums begin as they are, not at zero. `closes`: they go to y, added to what is there if `adds`.
    """

    def emit_multiply_add(  # type: ignore[no-untyped-def]
        _, panels, values, places, sums, y,
        vectors, panel, value, place, terms, start, target, resumes, closes, adds,
    ):  # fmt: skip
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vectors = Vectors(context, builder, signature, arguments, _VECTOR)
            count, panel, value, first, terms, start, target, resumes, closes, adds = arguments[5:]
            rows, first_value, first_place, column, result = map(
                vectors.pointer, range(5), (panel, value, first, start, target)
            )
            zero = vectors.constant(0.0)

            def add(offsets: range) -> None:
                totals = [
                    vectors.variable(builder.select(resumes, vectors.load(column, offset), zero))
                    for offset in offsets
                ]
                with vectors.repeat(terms) as term:
                    weight = vectors.splat(builder.load(builder.gep(first_value, [term])))
                    place = builder.zext(builder.load(builder.gep(first_place, [term])), terms.type)
                    row = builder.gep(rows, [builder.mul(place, terms.type(_LANES))])
                    for total, offset in zip(totals, offsets, strict=True):
                        product = builder.fmul(weight, vectors.load(row, offset), flags=flags)
                        builder.store(builder.fadd(builder.load(total), product, flags=flags), total)
                with builder.if_else(closes) as (then, otherwise):
                    with then:
                        for total, offset in zip(totals, offsets, strict=True):
                            held = builder.load(total)
                            more = builder.fadd(vectors.load(result, offset), held)
                            vectors.store(builder.select(adds, more, held), result, offset)
                    with otherwise:
                        for total, offset in zip(totals, offsets, strict=True):
                            vectors.store(builder.load(total), column, offset)

            for lanes in range(_VECTOR, _LANES + 1, _VECTOR):
                with builder.if_then(builder.icmp_signed("==", count, count.type(lanes // _VECTOR))):
                    add(range(0, lanes, _VECTOR))
            return context.get_dummy_value()

        arrays = panels, values, places, sums, y
        return types.void(*arrays, *[types.intp] * 7, *[types.boolean] * 3), emit

    return intrinsic(emit_multiply_add)


_add: Any = _multiply_add(())
_add_fused: Any = _multiply_add(("contract",))


@compiled
def _product(  # type: ignore[no-untyped-def]
    memory, row, lane, values, places, begins, ends, closes, n, m,
    stripes, columns, first, last, panels, sums, y, fresh, fused,
):  # fmt: skip
    """Blocks `first` to `last` of y; a block is up to `columns` of its columns and a stripe of lanes.

    `fresh`: y holds nothing yet. The first run is written there as it is, since +0 + s = s: no sum is -0.
    """
    flat_y = y.reshape(-1)
    for block in range(first, last):
        column, stripe = block // (len(stripes) - 1) * columns, block % (len(stripes) - 1)
        start, width = stripes[stripe], min(columns, len(y) - column)
        block_lane = lane[start : stripes[stripe + 1]]
        edges = _cut(len(block_lane), _LANES)
        starts, parts = _stretches(block_lane, edges)
        adds = not fresh
        for chunk in range(len(begins)):
            begin, end = begins[chunk], ends[chunk]
            _fill(memory, row[begin:end], block_lane, edges, starts, parts, panels)
            terms, resumes = (end - begin) // m * n, chunk > 0 and not closes[chunk - 1]
            value = begin // m * n * len(y) + terms * column
            place, next_place = (begin, 0) if m == 1 else (value, terms)
            for part in range(len(edges) - 1):
                panel, sum_ = part * (end - begin) * _LANES, part * columns * _LANES
                lanes, target = edges[part + 1] - edges[part], column * y.shape[1] + start + edges[part]
                vectors, goes_to_y = -(-lanes // _VECTOR), closes[chunk] and lanes % _VECTOR == 0
                for j in range(width):
                    call = (
                        vectors, panel, value + j * terms, place + j * next_place, terms,
                        sum_ + j * _LANES, target + j * y.shape[1], resumes, goes_to_y, adds,
                    )  # fmt: skip
                    if goes_to_y:
                        for i in range(0, lanes, _VECTOR):
                            prefetch_write(flat_y, target + (j + _COLUMNS_AHEAD) * y.shape[1] + i)
                    if fused:
                        _add_fused(panels, values, places, sums, flat_y, *call)
                    else:
                        _add(panels, values, places, sums, flat_y, *call)
                if closes[chunk] and not goes_to_y:
                    _put_sums(sums[sum_:], adds, y[column : column + width, start + edges[part] :][:, :lanes])
            adds = adds or closes[chunk]


@compiled
def _cut(lanes, most):  # type: ignore[no-untyped-def]
    """Where pieces of at most `most` lanes begin, and the last ends: of nearly as many vectors each."""
    vectors, pieces = -(-lanes // _VECTOR), max(1, -(-lanes // most))
    edges = np.empty(pieces + 1, np.intp)
    for piece in range(pieces + 1):
        edges[piece] = min(vectors * piece // pieces * _VECTOR, lanes)
    return edges


@compiled
def _stretches(lane, edges):  # type: ignore[no-untyped-def]
    """Where stretches of neighbouring addresses begin, and the last ends, and what lies before the part of each."""
    starts, parts = np.empty(len(lane) + 1, np.intp), np.empty(len(lane), np.intp)
    count = 0
    for part in range(len(edges) - 1):
        for i in range(edges[part], edges[part + 1]):
            if i == edges[part] or lane[i] != lane[i - 1] + 1:
                starts[count], parts[count] = i, part
                count += 1
    starts[count] = len(lane)
    return starts[: count + 1], parts


@compiled
def _fill(memory, row, lane, edges, starts, parts, panels):  # type: ignore[no-untyped-def]
    """Copy A into the panels of all parts, stretch by stretch."""
    for k in range(len(row)):
        for stretch in range(len(starts) - 1):
            start, end = starts[stretch], starts[stretch + 1]
            source = row[k] + lane[start] - start
            later = row[min(k + _ROWS_AHEAD, len(row) - 1)] + lane[start] - start
            target = (parts[stretch] * len(row) + k) * _LANES - edges[parts[stretch]]
            for i in range(start, end - CHUNK + 1, CHUNK):
                prefetch_read(memory, later + i)
                copy_chunk(memory, source + i, panels, target + i)
            for i in range(end - (end - start) % CHUNK, end):
                panels[target + i] = memory[source + i]


@compiled
def _put_sums(sums, adds, y):  # type: ignore[no-untyped-def]
    """Close a run in a part of the lanes that is not whole vectors."""
    for j in range(len(y)):
        source, target = sums[j * _LANES :], y[j]
        for i in range(len(target)):
            target[i] = target[i] + source[i] if adds else source[i]
