"""Products `Y[i, j] = sum over k of A[i, k] . B[k, j]` in any order of summation, compiled.

Everything that the array multiplies is one such product: A is *seen* in memory through two tables of addresses,
`A[i, k] = memory[row[k] + lane[i]]`, which covers matrices of any memory order and, with no im2col buffer, the
windows of a convolution. B is a list of terms for each j (`codesign.compute.terms`).

The loop works on `_LANES` neighbouring i, a vector register or several for the sums of one j. A *panel* holds A for
them and for a few k, small enough for the first cache; each term of each j then multiplies one row of it. So outputs
are what is done side by side, and each of them is summed exactly in the order that was asked for.
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
from codesign.compute.terms import Terms
from codesign.compute.threads import in_parallel, thread_count
from codesign.compute.vector_kernels import BYTES, INT32, PREFETCH, Vectors
from codesign.nm.jit_kernels import CHUNK, compiled, copy_chunk

_VECTOR = 16  # sums in one register of 512 bits
_LANES = 64
_PANEL_ROWS = 128  # with 64 lanes of 4 bytes, as much as a first cache of 32 KiB
_STRIPE = 4 * _LANES  # i that are copied together, since memory is fast in long stretches
_COLUMNS = 512  # most j that are summed with one stripe
_LINE_BYTES = 64
_ROWS_AHEAD = 8  # of A that are fetched before they are copied: processors do not foresee such long steps
_TOGETHER = 16  # columns of B that are read side by side when the terms are listed
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
    stripes = -(-lanes // _STRIPE)
    shares = -(-thread_count() // max(1, stripes))  # so that every thread gets a block
    block_columns = max(1, min(_COLUMNS, -(-columns // shares)))

    def run(first: int, last: int) -> None:
        panels, sums = _scratch.take(panel_rows * _STRIPE, block_columns * _STRIPE)
        chunks = begins, ends, closes, b.values.shape[2], b.m
        blocks = block_columns, first, last
        _product(
            a.memory, row, a.lane, values, places, *chunks, *blocks, panels, sums, y, onto is None, fused
        )

    blocks = -(-columns // block_columns) * stripes
    in_parallel(run, blocks, _GRAIN * blocks // (b.values.size * lanes or 1))
    return y


def _chunks(run_ends: NDArray[np.int64], most: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Cut each run into chunks of at most `most`: where they begin and end, and whether one ends its run."""
    begin = np.concatenate([np.arange(a, b, most) for a, b in pairwise([0, *run_ends.tolist()])])
    end = np.append(begin[1:], run_ends[-1])
    return begin, end, run_ends[np.searchsorted(run_ends, end)] == end


def _tabulate(b: Terms, begins: NDArray[Any], ends: NDArray[Any]) -> tuple[Float32, NDArray[np.int32]]:
    """The terms chunk by chunk, and in each column by column: their values, and which item of a panel they meet.

    Of a dense B only the items of its first column are listed; all others are the same.
    """
    columns, groups, n = b.values.shape
    grain = -(-_GRAIN // (16 * groups * n))
    chunks = begins // b.m * n, ends // b.m * n
    rows = np.arange(groups) * b.m - np.repeat(begins, (ends - begins) // b.m)
    first_items = np.repeat(rows * _LANES, n).astype(np.int32)
    kept = np.ascontiguousarray(b.values).reshape(columns, -1)
    values = np.empty(kept.size, np.float32)
    in_parallel(lambda a, b: _list_values(kept, *chunks, a, b, values), columns, grain)
    if b.m == 1:
        return values, first_items
    indices = np.ascontiguousarray(b.indices).reshape(columns, -1)
    places = np.empty(kept.size, np.int32)
    in_parallel(lambda a, b: _list_places(indices, first_items, *chunks, a, b, places), columns, grain)
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
def _list_places(indices, first_items, begins, ends, first, last, places):  # type: ignore[no-untyped-def]
    for together in range(first, last, _TOGETHER):
        for chunk in range(len(begins)):
            begin, count = begins[chunk], ends[chunk] - begins[chunk]
            start = first_items[begin:]
            for j in range(together, min(together + _TOGETHER, last)):
                source, target = indices[j, begin:], places[begin * len(indices) + count * j :]
                for term in range(count):
                    target[term] = start[term] + source[term] * np.int32(_LANES)


def _multiply_add(flags: tuple[str, ...]) -> Any:
    """An intrinsic that adds the products of a column's terms in a chunk to its sums."""

    def emit_multiply_add(_, panels, values, places, sums, panel, value, place, terms, start, resumes):  # type: ignore[no-untyped-def]
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vectors = Vectors(context, builder, signature, arguments, _VECTOR)
            rows, first_value, first_place, column = map(
                vectors.pointer, (0, 1, 2, 3), arguments[4:7] + arguments[8:9]
            )
            zero = vectors.constant(0.0)
            offsets = range(0, _LANES, _VECTOR)
            totals = [
                vectors.variable(builder.select(arguments[9], vectors.load(column, offset), zero))
                for offset in offsets
            ]
            with vectors.repeat(arguments[7]) as term:
                weight = vectors.splat(builder.load(builder.gep(first_value, [term])))
                row = builder.gep(rows, [builder.load(builder.gep(first_place, [term]))])
                for total, offset in zip(totals, offsets, strict=True):
                    product = builder.fmul(weight, vectors.load(row, offset), flags=flags)
                    builder.store(builder.fadd(builder.load(total), product, flags=flags), total)
            for total, offset in zip(totals, offsets, strict=True):
                vectors.store(builder.load(total), column, offset)
            return context.get_dummy_value()

        return types.void(panels, values, places, sums, *[types.intp] * 5, types.boolean), emit

    return intrinsic(emit_multiply_add)


_add: Any = _multiply_add(())
_add_fused: Any = _multiply_add(("contract",))


@compiled
def _product(  # type: ignore[no-untyped-def]
    memory, row, lane, values, places, begins, ends, closes, n, m,
    columns, first, last, panels, sums, y, fresh, fused,
):  # fmt: skip
    """Blocks `first` to `last` of y; a block is up to `columns` of its columns and a stripe of lanes.

    `fresh`: y holds nothing yet. The first run is written there as it is, since +0 + s = s: no sum is -0.
    """
    stripes = -(-len(lane) // _STRIPE)
    for block in range(first, last):
        column, start = block // stripes * columns, block % stripes * _STRIPE
        block_lane = lane[start : start + _STRIPE]
        block_y = y[column : column + columns, start : start + _STRIPE]
        adds = not fresh
        for chunk in range(len(begins)):
            begin, end = begins[chunk], ends[chunk]
            _fill(memory, row[begin:end], block_lane, panels)
            terms, resumes = (end - begin) // m * n, chunk > 0 and not closes[chunk - 1]
            value = begin // m * n * len(y) + terms * column
            place, next_place = (begin, 0) if m == 1 else (value, terms)
            for part in range(-(-len(block_lane) // _LANES)):
                panel = part * (end - begin) * _LANES
                for j in range(len(block_y)):
                    call = value + j * terms, place + j * next_place, terms, (part * columns + j) * _LANES
                    if fused:
                        _add_fused(panels, values, places, sums, panel, *call, resumes)
                    else:
                        _add(panels, values, places, sums, panel, *call, resumes)
            if closes[chunk]:
                _put_sums(sums, columns, adds, block_y)
                adds = True


def _emit_prefetch(_, memory, place):  # type: ignore[no-untyped-def]
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        item = Vectors(context, builder, signature, arguments, 1).pointer(0, arguments[1])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [BYTES], PREFETCH)
        builder.call(
            prefetch, [builder.bitcast(item, BYTES), *map(INT32, (0, 3, 1))]
        )  # to read data, to stay
        return context.get_dummy_value()

    return types.void(memory, types.intp), emit


_prefetch: Any = intrinsic(_emit_prefetch)
"""Have the cache line of an item fetched in the background, wherever it is: the place need not exist."""


@compiled
def _fill(memory, row, lane, panels):  # type: ignore[no-untyped-def]
    """Copy A into one panel after the other, stretch by stretch of neighbouring addresses."""
    starts = np.empty(_STRIPE + 1, np.intp)
    stretches = 0
    for i in range(len(lane)):
        if i % _LANES == 0 or lane[i] != lane[i - 1] + 1:
            starts[stretches] = i
            stretches += 1
    starts[stretches] = len(lane)
    for k in range(len(row)):
        for stretch in range(stretches):
            start, end = starts[stretch], starts[stretch + 1]
            source = row[k] + lane[start] - start
            later = row[min(k + _ROWS_AHEAD, len(row) - 1)] + lane[start] - start
            target = (start // _LANES * len(row) + k) * _LANES - start // _LANES * _LANES
            for i in range(start, end - CHUNK + 1, CHUNK):
                _prefetch(memory, later + i)
                copy_chunk(memory, source + i, panels, target + i)
            for i in range(end - (end - start) % CHUNK, end):
                panels[target + i] = memory[source + i]


@compiled
def _put_sums(sums, columns, adds, y):  # type: ignore[no-untyped-def]
    for j in range(len(y)):
        for start in range(0, y.shape[1], _LANES):
            source, target = sums[start * columns + j * _LANES :], y[j, start : start + _LANES]
            for i in range(len(target)):
                target[i] = target[i] + source[i] if adds else source[i]
