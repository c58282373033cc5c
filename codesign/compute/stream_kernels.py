"""The index stream of the N:M format, compiled: `encode`, `indices`, and `unpack`, which follows the indices.

`codesign.nm.format` states the rules; results equal those of `codesign.nm.reference` bit for bit.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute.threads import in_parallel
from codesign.errors import FormatError
from codesign.nm import reference
from codesign.nm.format import NM
from codesign.nm.jit_kernels import compiled
from codesign.nm.reference import Compact

Array = NDArray[Any]
Places = NDArray[np.uint8]

MAX_M = 256  # outside its stream an index takes a byte
_GRAIN = 1 << 17  # indices; some 100 microseconds
_BLOCK = 8  # indices of b bits that make up b bytes


def check_m(nm: NM) -> None:
    """Raise FormatError for groups that are too long for the compiled loops."""
    if nm.m > MAX_M:
        raise FormatError(f"N:M ratio {nm}: expected groups of at most {MAX_M}; use codesign.nm.reference")


def encode(places: Places, nm: NM) -> NDArray[np.uint8]:
    """Index stream of the indices (vectors, groups, N)."""
    if nm.dense:
        return np.zeros(0, np.uint8)
    words = _padded(places.reshape(-1), _BLOCK).view("<u8").reshape(-1)
    stream = np.empty((len(words), nm.index_bits), np.uint8)
    in_parallel(lambda a, b: _encode(words[a:b], stream[a:b]), len(words), _GRAIN // _BLOCK)
    return stream.reshape(-1)[: -(-places.size * nm.index_bits // 8)]


def indices(compact: Compact) -> Places:
    """Index of each kept entry in its group, (vectors, groups, N). FormatError if corrupt, or if M is beyond 256."""
    nm, stream, values = compact.nm, compact.index_stream, compact.values
    check_m(nm)
    expected = nm.index_bytes(compact.shape[compact.axis], prod(values.shape[:1]))
    known = values.ndim == 3 and stream.dtype == np.uint8 and stream.shape == (expected,)
    if nm.dense or not known or values.size != nm.kept(prod(compact.shape)):
        return reference.indices(compact).astype(np.uint8)
    blocks = _padded(stream, nm.index_bits)
    words = np.empty(len(blocks), "<u8")
    in_parallel(lambda a, b: _decode(blocks[a:b], words[a:b]), len(blocks), _GRAIN // _BLOCK)
    places = words.view(np.uint8)
    kept = places[: values.size].reshape(values.shape)
    follows = np.tile(np.arange(nm.n) > 0, values.shape[1])
    rows = kept.reshape(len(kept), -1)
    falls: list[bool] = []
    in_parallel(
        lambda a, b: falls.append(_falls(rows[a:b], follows)), len(rows), _GRAIN // (rows.shape[1] or 1)
    )
    if places[values.size :].any() or any(falls) or kept.max(initial=0) >= nm.m:
        reference.indices(compact)  # says what is wrong
    return kept


def _padded(flat: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Rows of `width`, the last one filled with zeros."""
    missing = -flat.size % width
    return (np.append(flat, np.zeros(missing, np.uint8)) if missing else flat).reshape(-1, width)


def unpack(compact: Compact) -> Array:
    """Dense tensor with +0 where nothing is stored. Raises FormatError as `indices` does."""
    places, shape, axis = indices(compact), compact.shape, compact.axis
    dense = np.zeros(shape, compact.values.dtype)
    bits, inner = f"u{dense.itemsize}", prod(shape[axis + 1 :])
    source, target = compact.values.view(bits), dense.reshape(-1).view(bits)
    grain = _GRAIN * len(places) // (places.size or 1)
    in_parallel(
        lambda first, last: _scatter(source, places, compact.nm.m, inner, first, last, target),
        len(places),
        grain,
    )
    return dense


# An index takes a byte of a 64-bit word; neighbouring fields are moved together, or apart, two by two.
_BYTES, _PAIRS, _QUADS = (
    np.uint64(mask) for mask in (0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF, 0x00000000FFFFFFFF)
)


@compiled
def _encode(words, stream):  # type: ignore[no-untyped-def]
    blocks, bits = stream.shape
    one, two, four = np.uint64(bits), np.uint64(2 * bits), np.uint64(4 * bits)
    for block in range(blocks):
        word = words[block]
        word = word & _BYTES | (word >> np.uint64(8) & _BYTES) << one
        word = word & _PAIRS | (word >> np.uint64(16) & _PAIRS) << two
        word = word & _QUADS | word >> np.uint64(32) << four
        for byte in range(bits):
            stream[block, byte] = word >> np.uint64(8 * byte)


@compiled
def _decode(stream, words):  # type: ignore[no-untyped-def]
    blocks, bits = stream.shape
    one, two, four = np.uint64(bits), np.uint64(2 * bits), np.uint64(4 * bits)
    bit = np.uint64(1)
    quads, pairs, single = (bit << four) - bit, (bit << two) - bit, (bit << one) - bit
    pairs, single = pairs | pairs << np.uint64(32), single | single << np.uint64(16)
    single |= single << np.uint64(32)
    for block in range(blocks):
        word = np.uint64(0)
        for byte in range(bits):
            word |= np.uint64(stream[block, byte]) << np.uint64(8 * byte)
        word = word & quads | (word >> four & quads) << np.uint64(32)
        word = word & pairs | (word >> two & pairs) << np.uint64(16)
        words[block] = word & single | (word >> one & single) << np.uint64(8)


@compiled
def _falls(rows, follows):  # type: ignore[no-untyped-def]
    """Whether an index that `follows` one of its group is not above it."""
    falls = np.uint8(0)
    for row in rows:
        for i in range(1, len(follows)):
            falls |= np.uint8(row[i] <= row[i - 1]) & np.uint8(follows[i])
    return falls != 0


@compiled
def _scatter(values, places, m, inner, first, last, dense):  # type: ignore[no-untyped-def]
    groups, n = values.shape[1:]
    for vector in range(first, last):
        outer, lane = divmod(vector, inner)
        for group in range(groups):
            target = dense[(outer * groups + group) * m * inner + lane :]
            for e in range(n):
                target[places[vector, group, e] * inner] = values[vector, group, e]
