"""N:M packing, compiled: `pack` and `pack_both` for tensors in main memory.

`codesign.nm.format` states the rules; results equal those of `codesign.nm.reference` bit for bit. A tensor is seen as
(outer, groups, M, inner): `inner` vectors lie side by side, so that no reduction axis needs a transposition. The
loop works on tiles of `_LANES` groups, one row for each of their M members, and keeps a vector register for each of
their N kept ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from codesign.compute.stream_kernels import Places, check_m, encode
from codesign.compute.threads import in_parallel
from codesign.compute.vector_kernels import Vectors, ir, prefetch_write
from codesign.errors import FormatError
from codesign.nm.format import FLOAT_KEYS, NM
from codesign.nm.jit_kernels import CHUNK, compiled, copy_chunk
from codesign.nm.reference import Compact

Array = NDArray[Any]

_GRAIN = 1 << 15  # values of the dense tensor; some 50 microseconds
_LANES = 512
_WIDTH = 64  # of them in one group, so that several neighbouring groups of a vector are written together
_BAND = _LANES // _WIDTH
_SLAB = 1152  # columns of a block that is packed both ways
_LANES_AHEAD = 8  # whose results are fetched before they are written
_PITCH = _LANES + CHUNK  # between the rows of a tile; what a chunk brings too much is overwritten by the next


def pack(w: Array, nm: NM, axis: int, dtype: str | None = None) -> Compact:
    """Compact form of `w`, of any rank and memory order.

    `dtype` is the float type's name (float16, bfloat16, float32) if `w` holds bit patterns. Raises FormatError for a
    wrong axis, ragged length or type, or M beyond 256.
    """
    job = _Job.of(w, nm, axis, dtype)

    def run(first: int, last: int) -> None:
        outer, groups = ((first, last), (0, job.groups)) if job.outer > 1 else ((0, 1), (first, last))
        _pack(*job.source, *job.sizes, *outer, *groups, 0, job.inner, *job.keys, *job.scratch(), *job.results)

    if w.size:
        parts, unit = (job.outer, 1) if job.outer > 1 else (job.groups, _BAND)
        in_parallel(run, parts, job.grain(parts), unit)
    return job.compact()


def pack_both(w: Array, nm: NM, dtype: str | None = None) -> tuple[Compact, Compact]:
    """Compact forms of a weight (Cout, Cin, ...) along Cin, for the forward pass, and along Cout, for the backward.

    One pass over `w`, in blocks that stay in a cache. Raises FormatError as `pack` does.
    """
    forward, backward = (_Job.of(w, nm, axis, dtype) for axis in (1, 0))

    def run(first: int, last: int) -> None:
        sizes = *forward.sizes, *backward.sizes, first, last
        results = *forward.results, *backward.results
        _pack_both(*forward.source, *sizes, *forward.keys, *forward.scratch(), *results)

    if w.size:
        in_parallel(run, backward.groups, backward.grain(backward.groups), _BAND)
    return forward.compact(), backward.compact()


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A tensor to pack, and room for its kept values and their places, (vectors, groups, N)."""

    w: Array
    nm: NM
    axis: int
    key: str
    values: Array
    places: Places

    @classmethod
    def of(cls, w: Array, nm: NM, axis: int, dtype: str | None) -> _Job:
        key = dtype or w.dtype.name
        if key not in ("float16", "bfloat16", "float32") or not w.dtype.isnative:
            raise FormatError(
                f"N:M tensor of type {w.dtype}: expected float16, bfloat16 or float32; convert it"
            )
        if not -w.ndim <= axis < w.ndim:
            raise FormatError(
                f"reduction axis {axis}: expected {-w.ndim} to {w.ndim - 1} for a tensor of rank {w.ndim}"
            )
        check_m(nm)
        axis %= w.ndim
        shape = prod(w.shape[:axis]) * prod(w.shape[axis + 1 :]), nm.groups(w.shape[axis]), nm.n
        values, places = np.empty(shape, f"u{w.itemsize}"), np.empty(shape, np.uint8)
        return cls(np.ascontiguousarray(w), nm, axis, key, values, places)

    @property
    def outer(self) -> int:
        return prod(self.w.shape[: self.axis])

    @property
    def groups(self) -> int:
        return int(self.values.shape[1])

    @property
    def inner(self) -> int:
        return prod(self.w.shape[self.axis + 1 :])

    def grain(self, parts: int) -> int:
        """How many of `parts` equal parts of the tensor are worth a thread."""
        return -(-_GRAIN * parts // (self.w.size or 1))

    @property
    def source(self) -> tuple[Array, tuple[int, ...], int]:
        """The tensor's bits, N zeros, since the compiler knows how long a tuple is, and M."""
        return self.w.reshape(-1).view(self.values.dtype), (0,) * self.nm.n, self.nm.m

    @property
    def sizes(self) -> tuple[int, int]:
        return self.groups, self.inner

    @property
    def keys(self) -> tuple[np.unsignedinteger[Any], ...]:
        return tuple(map(self.values.dtype.type, FLOAT_KEYS[self.key]))

    @property
    def results(self) -> tuple[Array, Places]:
        return self.values.reshape(-1), self.places.reshape(-1)

    def scratch(self) -> tuple[Array, Array, Array]:
        """A tile, kept values and their places; for one thread."""
        kept, slots = np.zeros((2, self.nm.n * _LANES), np.uint32)
        return np.zeros(self.nm.m * _PITCH, self.values.dtype), kept, slots

    def compact(self) -> Compact:
        """The result."""
        values = self.values.view(self.w.dtype)
        return Compact(values, encode(self.places, self.nm), self.w.shape, self.axis, self.nm)


def _emit_select(_, tile, n_type, m, lanes, magnitude_mask, nan_key, kept, slots):  # type: ignore[no-untyped-def]
    n = n_type.count

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(context, builder, signature, arguments, 512 // tile.dtype.bitwidth)
        rows, mask, nan = arguments[2], vectors.splat(arguments[4]), vectors.splat(arguments[5])
        load, store = builder.load, builder.store

        with vectors.repeat(arguments[3], vectors.width) as lane:

            def row(i: Any) -> tuple[Any, Any]:
                bits = vectors.load(vectors.pointer(0, builder.add(builder.mul(i, i.type(_PITCH)), lane)))
                key = builder.and_(bits, mask)
                return bits, builder.select(builder.icmp_unsigned("<", key, nan), key, nan)

            # sort the N largest keys
            top = [vectors.variable(vectors.constant(0)) for _ in range(n)]
            with vectors.repeat(rows) as i:
                _, entering = row(i)
                for entry in top:
                    held = load(entry)
                    larger = builder.icmp_unsigned(">", entering, held)
                    store(builder.select(larger, entering, held), entry)
                    entering = builder.select(larger, held, entering)
            # as many members that tie with the smallest of them are kept as it stands among them
            smallest, count = load(top[-1]), vectors.constant(0)
            for entry in top:
                tie = builder.icmp_unsigned("==", load(entry), smallest)
                count = builder.add(count, builder.zext(tie, vectors.type))
            # kept members and their indices move through two queues of N, which end up holding just them
            ties = vectors.variable(count)
            queues = [[vectors.variable(vectors.constant(0)) for _ in range(n)] for _ in range(2)]
            with vectors.repeat(rows) as i:
                bits, entering = row(i)
                left = load(ties)
                tie = builder.and_(
                    builder.icmp_unsigned("==", entering, smallest),
                    builder.icmp_unsigned("!=", left, vectors.constant(0)),
                )
                store(builder.sub(left, builder.zext(tie, vectors.type)), ties)
                keep = builder.or_(tie, builder.icmp_unsigned(">", entering, smallest))
                index = vectors.splat(builder.trunc(i, vectors.item))
                for queue, last in zip(queues, (bits, index), strict=True):
                    following = [load(place) for place in queue[1:]] + [last]
                    for place, value in zip(queue, following, strict=True):
                        store(builder.select(keep, value, load(place)), place)
            words = ir.VectorType(ir.IntType(32), vectors.width)
            for array, queue in zip((6, 7), queues, strict=True):
                for r, place in enumerate(queue):
                    vectors.store(builder.zext(load(place), words), vectors.pointer(array, lane), r * _LANES)
        return context.get_dummy_value()

    return types.void(tile, n_type, types.intp, types.intp, tile.dtype, tile.dtype, kept, slots), emit


_select: Any = intrinsic(_emit_select)
"""Write the r-th kept member of each of `lanes` lanes of `tile` into row r of `kept`, its index into `slots`.

Both have items of 32 bits, whatever the tile has.
"""


@compiled
def _pack_both(  # type: ignore[no-untyped-def]
    bits, n_type, m, groups, inner, all_bands, columns, first, last,
    mask, nan, tile, kept, slots, values, places, other_values, other_places,
):  # fmt: skip
    """Bands `first` to `last` of the first axis, along it and along the second, whose members are `inner` values."""
    slab = max(1, _SLAB // (m * inner) // _BAND) * _BAND
    for band in range(first, last, _BAND):
        end = min(band + _BAND, last)
        for group in range(0, groups, slab):
            next_group = min(group + slab, groups)
            _pack(
                bits, n_type, m, groups, inner, band * m, end * m, group, next_group, 0, inner,
                mask, nan, tile, kept, slots, values, places,
            )  # fmt: skip
            _pack(
                bits, n_type, m, all_bands, columns, 0, 1, band, end, group * m * inner, next_group * m * inner,
                mask, nan, tile, kept, slots, other_values, other_places,
            )  # fmt: skip


@compiled
def _pack(  # type: ignore[no-untyped-def]
    bits, n_type, m, groups, inner, first, last, first_group, last_group, left, right,
    mask, nan, tile, kept, slots, values, places,
):  # fmt: skip
    n, width = len(n_type), min(right - left, _WIDTH)
    together = _LANES // width
    offsets, members = np.empty(together * n, np.int32), np.empty(together, np.int32)
    for group in range(together):
        members[group] = group * m
        for r in range(n):
            offsets[group * n + r] = group * width + r * _LANES
    for begin in range(left, right, width):
        lane = min(begin, right - width)  # the last tile overlaps its neighbour
        for outer in range(first, last):
            for group in range(first_group, last_group, together):
                count = min(together, last_group - group)
                start = (outer * groups + group) * m * inner + lane
                if width == 1:
                    for i in range(m):
                        _put(bits, members, start + i, count, tile, i * _PITCH)
                else:
                    _load(bits, start, count, m, inner, width, tile)
                _select(tile, n_type, m, count * width, mask, nan, kept, slots)
                at = ((outer * inner + lane) * groups + group) * n
                for i in range(width):
                    later = at + (i + _LANES_AHEAD) * groups * n
                    prefetch_write(values, later)
                    prefetch_write(places, later)
                    _put(kept, offsets, i, count * n, values, at + i * groups * n)
                    _put(slots, offsets, i, count * n, places, at + i * groups * n)


@compiled
def _load(bits, start, groups, m, inner, width, tile):  # type: ignore[no-untyped-def]
    """Fill row i of `tile` with the first `width` values of row i of each group."""
    roomy = start + groups * m * inner + CHUNK <= bits.size
    for group in range(groups):
        for i in range(m):
            begin, lane = start + (group * m + i) * inner, i * _PITCH + group * width
            if roomy or width % CHUNK == 0:
                for offset in range(0, width, CHUNK):
                    copy_chunk(bits, begin + offset, tile, lane + offset)
            else:
                for offset in range(width):
                    tile[lane + offset] = bits[begin + offset]


def _emit_gather(_, source, offsets, entry, lane, target, at):  # type: ignore[no-untyped-def]
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(context, builder, signature, arguments, CHUNK)
        words = vectors.gather(
            vectors.pointer(0, arguments[3]), vectors.load(vectors.pointer(1, arguments[2]))
        )
        item = ir.VectorType(ir.IntType(target.dtype.bitwidth), CHUNK)
        narrow = words if item == vectors.type else builder.trunc(words, item)
        vectors.store(narrow, vectors.pointer(4, arguments[5]))
        return context.get_dummy_value()

    return types.void(source, offsets, types.intp, types.intp, target, types.intp), emit


_gather: Any = intrinsic(_emit_gather)
"""Copy the `CHUNK` values of `source` that lie `offsets[entry]` and so on after `lane` to `at` in `target`.

They are narrowed to its type.
"""


@compiled
def _put(source, offsets, lane, count, target, at):  # type: ignore[no-untyped-def]
    """Write `count` values, `offsets` after `lane`, one after the other."""
    for entry in range(0, count - CHUNK + 1, CHUNK):
        _gather(source, offsets, entry, lane, target, at + entry)
    for entry in range(count - count % CHUNK, count):
        target[at + entry] = source[offsets[entry] + lane]
