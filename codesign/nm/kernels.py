"""The N:M selection as a compiled loop: the fast realisation for tensors in main memory.

`codesign.nm.format` states the rules. A contiguous tensor is seen as (outer, M, inner): `outer` groups of M slices
of `inner` neighbours, so that no reduction axis needs a transposition. The loop works on tiles of `_LANES` groups
side by side, one row for each of their M members. A tile first finds the N-th largest key of every lane by N passes
of compare and exchange, then keeps what reaches it; only lanes where more than N keys reach it look for ties.

Floats come as the unsigned integers that hold their bit patterns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.nm.format import FLOAT_KEYS, NM
from codesign.nm.jit_kernels import CHUNK, compiled, copy_chunk

Bits = NDArray[Any]

_LANES = 64
_PITCH = _LANES + CHUNK  # between the rows of a tile; what a chunk brings too much is overwritten by the next


def mask(bits: Bits, nm: NM, inner: int, dtype: str, kept: NDArray[np.bool_]) -> None:
    """Write into `kept` which entries of `bits` are kept; both flat, `dtype` the float type's name."""
    ones = np.ones((nm.m, _PITCH), np.uint8)
    _run(bits, nm, inner, dtype, _tile(nm, bits), ones, kept.view(np.uint8))


def prune(bits: Bits, nm: NM, inner: int, dtype: str, pruned: Bits) -> None:
    """Write into `pruned` the kept entries of `bits`, and zeros; both flat, `dtype` the float type's name."""
    raw = _tile(nm, bits)
    _run(bits, nm, inner, dtype, raw, raw, pruned)


def _tile(nm: NM, like: Bits) -> Bits:
    return np.zeros((nm.m, _PITCH), like.dtype)


def _run(bits: Bits, nm: NM, inner: int, dtype: str, raw: Bits, payload: Bits, out: Bits) -> None:
    key, unsigned = FLOAT_KEYS[dtype], bits.dtype.type
    tiles = raw, payload, _tile(nm, bits), np.zeros((nm.n + 1, _LANES), bits.dtype), _tile(nm, out)
    constants = unsigned(key.magnitude_mask), unsigned(key.nan_key)
    _loop(bits, nm.n, nm.m, inner, *constants, *tiles, out)


@compiled
def _loop(bits, n, m, inner, magnitude_mask, nan_key, raw, payload, key, top, keep, out):  # type: ignore[no-untyped-def]
    outer = bits.size // (m * inner)
    if inner >= _LANES:  # a tile is part of one group's slices; the last one overlaps its neighbour
        for group in range(outer):
            for lane in range(0, inner, _LANES):
                start = group * m * inner + min(lane, inner - _LANES)
                _load(bits, start, 1, m, inner, _LANES, raw)
                _select(raw, payload, n, m, magnitude_mask, nan_key, key, top, keep)
                _store(keep, start, 1, m, inner, _LANES, out)
    else:  # a tile is several whole groups
        groups = _LANES // inner
        for group in range(0, outer, groups):
            start, count = group * m * inner, min(groups, outer - group)
            _load(bits, start, count, m, inner, inner, raw)
            _select(raw, payload, n, m, magnitude_mask, nan_key, key, top, keep)
            _store(keep, start, count, m, inner, inner, out)


@compiled
def _load(bits, start, groups, m, inner, width, tile):  # type: ignore[no-untyped-def]
    """Fill row i of `tile` with the first `width` values of slice i of each group."""
    roomy = start + groups * m * inner + CHUNK <= bits.size
    for group in range(groups):
        for i in range(m):
            begin, lane = start + (group * m + i) * inner, group * width
            if (roomy or width == _LANES) and width > 1:
                for offset in range(0, width, CHUNK):
                    copy_chunk(bits, begin + offset, tile, i * _PITCH + lane + offset)
            else:
                for offset in range(width):
                    tile[i, lane + offset] = bits[begin + offset]


@compiled
def _store(tile, start, groups, m, inner, width, out):  # type: ignore[no-untyped-def]
    """The inverse of `_load`."""
    roomy = start + groups * m * inner + CHUNK <= out.size
    for group in range(groups):
        for i in range(m):
            begin, lane = start + (group * m + i) * inner, group * width
            if (roomy or width == _LANES) and width > 1:
                for offset in range(0, width, CHUNK):
                    copy_chunk(tile, i * _PITCH + lane + offset, out, begin + offset)
            else:
                for offset in range(width):
                    out[begin + offset] = tile[i, lane + offset]


@compiled
def _select(raw, payload, n, m, magnitude_mask, nan_key, key, top, keep):  # type: ignore[no-untyped-def]
    """Fill `keep` with `payload` where `raw` is kept, and with zeros."""
    nothing = keep.dtype.type(0)
    top[:] = 0
    for i in range(m):
        for lane in range(_LANES):
            key[i, lane] = min(raw[i, lane] & magnitude_mask, nan_key)
            top[n, lane] = key[i, lane]
        for rank in range(n):  # top[:n] stays sorted; the smallest falls out into top[n]
            for lane in range(_LANES):
                a, b = top[rank, lane], top[n, lane]
                top[rank, lane], top[n, lane] = max(a, b), min(a, b)
    reached = np.zeros(_LANES, raw.dtype)
    for i in range(m):
        for lane in range(_LANES):
            reaches = key[i, lane] >= top[n - 1, lane]
            reached[lane] += reaches
            keep[i, lane] = payload[i, lane] if reaches else nothing
    if reached.max() > n:
        for lane in range(_LANES):
            surplus = reached[lane] - n
            for i in range(m - 1, -1, -1):  # of equal keys the highest indices go
                if surplus > 0 and key[i, lane] == top[n - 1, lane]:
                    keep[i, lane] = nothing
                    surplus -= 1
