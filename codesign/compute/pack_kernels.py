"""N:M packing, compiled: `pack` and `pack_both` for tensors in main memory.

`codesign.nm.format` states the rules; results equal those of `codesign.nm.reference` bit for bit. A tensor is seen as
(outer, groups, M, inner): `inner` vectors lie side by side, so that no reduction axis needs a transposition. The
loop works on tiles of `_LANES` groups, one row for each of their M members, and keeps a vector register for each of
their N kept ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from codesign.compute.stream_kernels import Places, check_m, encode
from codesign.compute.threads import in_parallel
from codesign.compute.vector_kernels import Vectors
from codesign.errors import FormatError
from codesign.nm.format import FLOAT_KEYS, NM
from codesign.nm.jit_kernels import CHUNK, compiled, copy_chunk
from codesign.nm.reference import Compact

Array = NDArray[Any]
Span = tuple[int, int]

_GRAIN = 1 << 15  # values of the dense tensor; some 50 microseconds
_LANES = 512
_WIDTH = 64  # of them in one group, so that several neighbouring groups of a vector are written together
_BAND = _LANES // _WIDTH
_SLAB = 512  # columns of a block that is packed both ways
_PITCH = _LANES + CHUNK  # between the rows of a tile; what a chunk brings too much is overwritten by the next


def pack(w: Array, nm: NM, axis: int, dtype: str | None = None) -> Compact:
    """Compact form of `w`, of any rank and memory order.

    `dtype` is the float type's name (float16, bfloat16, float32) if `w` holds bit patterns. Raises FormatError for a
    wrong axis, ragged length or type, or M beyond 256.
    """
    job = _Job.of(w, nm, axis, dtype)
    if job.outer > 1:
        in_parallel(
            lambda a, b: job.runner()((a, b), (0, job.groups), (0, job.inner)),
            job.outer,
            job.grain(job.outer),
        )
    else:
        in_parallel(
            lambda a, b: job.runner()((0, 1), (a, b), (0, job.inner)),
            job.groups,
            job.grain(job.groups),
            _BAND,
        )
    return job.compact()


def pack_both(w: Array, nm: NM, dtype: str | None = None) -> tuple[Compact, Compact]:
    """Compact forms of a weight (Cout, Cin, ...) along Cin, for the forward pass, and along Cout, for the backward.

    One pass over `w`, in blocks that stay in a cache. Raises FormatError as `pack` does.
    """
    forward, backward = (_Job.of(w, nm, axis, dtype) for axis in (1, 0))
    slab = max(1, _SLAB // (nm.m * forward.inner or 1))

    def run(first: int, last: int) -> None:
        run_forward, run_backward = forward.runner(), backward.runner()
        for band in _cut(first, last, _BAND):
            outputs = band[0] * nm.m, band[1] * nm.m
            for groups in _cut(0, forward.groups, slab):
                run_forward(outputs, groups, (0, forward.inner))
                run_backward(
                    (0, 1), band, (groups[0] * nm.m * forward.inner, groups[1] * nm.m * forward.inner)
                )

    in_parallel(run, backward.groups, backward.grain(backward.groups), _BAND)
    return forward.compact(), backward.compact()


def _cut(first: int, last: int, size: int) -> list[Span]:
    return [(begin, min(begin + size, last)) for begin in range(first, last, size)]


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

    def runner(self) -> Callable[[Span, Span, Span], None]:
        """What packs spans of outer, groups and inner; for use in one thread."""
        bits, m, n = self.w.reshape(-1).view(self.values.dtype), self.nm.m, self.nm.n
        constants = tuple(map(bits.dtype.type, FLOAT_KEYS[self.key]))
        scratch = np.zeros(m * _PITCH, bits.dtype), np.zeros(n * _LANES, bits.dtype)
        n_type = (0,) * n  # its length is part of its type
        results = self.values.reshape(-1), self.places.reshape(-1)

        def run(outer: Span, groups: Span, inner: Span) -> None:
            if bits.size:
                sizes = self.groups, self.inner
                _pack(bits, n_type, m, *sizes, *outer, *groups, *inner, *constants, *scratch, *results)

        return run

    def compact(self) -> Compact:
        """The result."""
        values = self.values.view(self.w.dtype)
        return Compact(values, encode(self.places, self.nm), self.w.shape, self.axis, self.nm)


def _emit_select(_, tile, n_type, m, lanes, magnitude_mask, nan_key, slots):  # type: ignore[no-untyped-def]
    n = n_type.count

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(context, builder, signature, arguments, 512 // tile.dtype.bitwidth)
        rows, mask, nan = arguments[2], vectors.splat(arguments[4]), vectors.splat(arguments[5])
        load, store = builder.load, builder.store

        def one_if(condition: Any) -> Any:
            return builder.zext(condition, vectors.type)

        with vectors.repeat(arguments[3], vectors.width) as lane:

            def key(i: Any) -> Any:
                row = builder.mul(i, context.get_constant(types.intp, _PITCH))
                bits = builder.and_(vectors.load(vectors.pointer(0, builder.add(row, lane))), mask)
                return builder.select(builder.icmp_unsigned("<", bits, nan), bits, nan)

            # sort the N largest keys
            top = [vectors.variable(vectors.constant(0)) for _ in range(n)]
            with vectors.repeat(rows) as i:
                entering = key(i)
                for entry in top:
                    held = load(entry)
                    larger = builder.icmp_unsigned(">", entering, held)
                    store(builder.select(larger, entering, held), entry)
                    entering = builder.select(larger, held, entering)
            smallest = load(top[-1])
            # how many that tie with the smallest of them are kept
            ties = vectors.variable(vectors.constant(n))
            with vectors.repeat(rows) as i:
                store(builder.sub(load(ties), one_if(builder.icmp_unsigned(">", key(i), smallest))), ties)
            # slot r counts the members before the r-th kept one, and so becomes its index
            kept = vectors.variable(vectors.constant(0))
            counts = [vectors.variable(vectors.constant(0)) for _ in range(n)]
            with vectors.repeat(rows) as i:
                entering, left = key(i), load(ties)
                tie = builder.and_(
                    builder.icmp_unsigned("==", entering, smallest),
                    builder.icmp_unsigned("!=", left, vectors.constant(0)),
                )
                store(builder.sub(left, one_if(tie)), ties)
                keep = builder.or_(tie, builder.icmp_unsigned(">", entering, smallest))
                store(builder.add(load(kept), one_if(keep)), kept)
                for r, count in enumerate(counts):
                    before = builder.icmp_unsigned("<=", load(kept), vectors.constant(r))
                    store(builder.add(load(count), one_if(before)), count)
            for r, count in enumerate(counts):
                vectors.store(load(count), vectors.pointer(6, lane), r * _LANES)
        return context.get_dummy_value()

    return types.void(tile, n_type, types.intp, types.intp, tile.dtype, tile.dtype, slots), emit


_select: Any = intrinsic(_emit_select)
"""Write into row r of `slots` the index of the r-th kept member of each of the first `lanes` lanes of `tile`."""


@compiled
def _pack(  # type: ignore[no-untyped-def]
    bits, n_type, m, groups, inner, first, last, first_group, last_group, left, right,
    mask, nan, tile, slots, values, places,
):  # fmt: skip
    n, width = len(n_type), min(right - left, _WIDTH)
    together = _LANES // width
    for begin in range(left, right, width):
        lane = min(begin, right - width)  # the last tile overlaps its neighbour
        for outer in range(first, last):
            for group in range(first_group, last_group, together):
                count = min(together, last_group - group)
                _load(bits, (outer * groups + group) * m * inner + lane, count, m, inner, width, tile)
                _select(tile, n_type, m, count * width, mask, nan, slots)
                at = ((outer * inner + lane) * groups + group) * n
                _store(tile, slots, n_type, count, width, at, groups * n, values, places)


@compiled
def _load(bits, start, groups, m, inner, width, tile):  # type: ignore[no-untyped-def]
    """Fill row i of `tile` with the first `width` values of row i of each group."""
    if width == 1:
        for i in range(m):
            for group in range(groups):
                tile[i * _PITCH + group] = bits[start + group * m + i]
        return
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


@compiled
def _store(tile, slots, n_type, count, width, start, step, values, places):  # type: ignore[no-untyped-def]
    """Write the kept values and their places: groups of a lane follow each other, lanes are `step` apart."""
    index = np.uint64  # numba need not compare it with zero, as it does a signed one
    for lane in range(width):
        at = index(start + lane * step)
        for group in range(count):
            column = index(group * width + lane)
            for r in range(len(n_type)):
                place = index(slots[index(r * _LANES) + column])
                values[at] = tile[place * index(_PITCH) + column]
                places[at] = place
                at += index(1)
