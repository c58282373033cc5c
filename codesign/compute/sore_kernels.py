"""SORE, the streaming sorter, compiled: each lane as `codesign.compute.reference_engines.sore` describes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute.threads import in_parallel
from codesign.errors import FormatError
from codesign.nm.format import FLOAT_KEYS, NM
from codesign.nm.jit_kernels import compiled

Array = NDArray[Any]

_GRAIN = 1 << 13  # values; some 50 microseconds


def sore(groups: Array, nm: NM, dtype: str | None = None) -> tuple[Array, NDArray[np.int64]]:
    """Kept values and their indices (groups, N) of dense `groups` (groups, M).

    `dtype` is the float type's name if `groups` holds bit patterns. Raises FormatError for another shape or type.
    """
    key = dtype or groups.dtype.name
    if groups.ndim != 2 or groups.shape[1] != nm.m or key not in FLOAT_KEYS:
        raise FormatError(
            f"SORE: groups of shape {groups.shape}, type {key}: expected (groups, {nm.m}) of {', '.join(FLOAT_KEYS)}"
        )
    bits = np.ascontiguousarray(groups).view(f"u{groups.itemsize}")
    values, places = np.empty((len(bits), nm.n), bits.dtype), np.empty((len(bits), nm.n), np.int64)
    mask, nan = map(np.uint64, FLOAT_KEYS[key])
    in_parallel(lambda a, b: _sore(bits[a:b], mask, nan, values[a:b], places[a:b]), len(bits), _GRAIN // nm.m)
    return values.view(groups.dtype), places


@compiled
def _sore(groups, magnitude_mask, nan_key, values, places):  # type: ignore[no-untyped-def]
    m, n = groups.shape[1], values.shape[1]
    held = np.zeros(n, np.uint64)  # entries, largest first
    place = np.zeros(n, np.int64)
    for group in range(len(groups)):
        inside = np.zeros(m, np.bool_)
        for cycle in range(m):
            entering = min(np.uint64(groups[group, cycle]) & magnitude_mask, nan_key)
            count = min(cycle, n)
            rank = 0
            while rank < count and held[rank] >= entering:
                rank += 1
            if rank == n:
                continue
            if count == n:
                inside[place[n - 1]] = False
            for entry in range(min(count, n - 1), rank, -1):
                held[entry], place[entry] = held[entry - 1], place[entry - 1]
            held[rank], place[rank] = entering, cycle
            inside[cycle] = True
        emitted = 0
        for i in range(m):
            if inside[i]:
                values[group, emitted], places[group, emitted] = groups[group, i], i
                emitted += 1
