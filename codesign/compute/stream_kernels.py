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
_GRAIN = 1 << 15  # indices; some 50 microseconds
_BLOCK = 8  # indices of b bits that make up b bytes


def check_m(nm: NM) -> None:
    """Raise FormatError for groups that are too long for the compiled loops."""
    if nm.m > MAX_M:
        raise FormatError(f"N:M ratio {nm}: expected groups of at most {MAX_M}; use codesign.nm.reference")


def encode(places: Places, nm: NM) -> NDArray[np.uint8]:
    """Index stream of the indices (vectors, groups, N)."""
    if nm.dense:
        return np.zeros(0, np.uint8)
    blocks = _padded(places.reshape(-1), _BLOCK)
    stream = np.empty((len(blocks), nm.index_bits), np.uint8)
    in_parallel(lambda a, b: _encode(blocks[a:b], stream[a:b]), len(blocks), _GRAIN // _BLOCK)
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
    places = np.empty((len(blocks), _BLOCK), np.uint8)
    in_parallel(lambda a, b: _decode(blocks[a:b], places[a:b]), len(blocks), _GRAIN // _BLOCK)
    kept, padding = np.split(places.reshape(-1), [values.size])
    if padding.any() or not _ascend(kept.reshape(-1, nm.n), nm.m):
        reference.indices(compact)  # says what is wrong
    return kept.reshape(values.shape)


def _padded(flat: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Rows of `width`, the last one filled with zeros."""
    return np.append(flat, np.zeros(-flat.size % width, np.uint8)).reshape(-1, width)


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


@compiled
def _encode(places, stream):  # type: ignore[no-untyped-def]
    blocks, bits = stream.shape
    for block in range(blocks):
        word = np.uint64(0)
        for e in range(_BLOCK):
            word |= np.uint64(places[block, e]) << np.uint64(e * bits)
        for byte in range(bits):
            stream[block, byte] = word >> np.uint64(8 * byte)


@compiled
def _decode(stream, places):  # type: ignore[no-untyped-def]
    blocks, bits = stream.shape
    mask = np.uint64((1 << bits) - 1)
    for block in range(blocks):
        word = np.uint64(0)
        for byte in range(bits):
            word |= np.uint64(stream[block, byte]) << np.uint64(8 * byte)
        for e in range(_BLOCK):
            places[block, e] = (word >> np.uint64(e * bits)) & mask


@compiled
def _ascend(places, m):  # type: ignore[no-untyped-def]
    """Whether the indices of each group, (groups, N), ascend and stay below `m`."""
    groups, n = places.shape
    sound = True
    for group in range(groups):
        sound &= places[group, n - 1] < m
        for e in range(1, n):
            sound &= places[group, e - 1] < places[group, e]
    return sound


@compiled
def _scatter(values, places, m, inner, first, last, dense):  # type: ignore[no-untyped-def]
    groups, n = values.shape[1:]
    for vector in range(first, last):
        outer, lane = divmod(vector, inner)
        for group in range(groups):
            target = dense[(outer * groups + group) * m * inner + lane :]
            for e in range(n):
                target[places[vector, group, e] * inner] = values[vector, group, e]
