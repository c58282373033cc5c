"""The N:M format in numpy, slow and obvious: the oracle for every other realisation.

`codesign.nm.format` states the rules. Tensors are float16, float32, float64 or integers, of any rank and
memory order; bfloat16 too where the package `ml_dtypes` provides it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import FormatError
from codesign.nm.format import FLOAT_KEYS, NM

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Compact:
    """A packed N:M tensor.

    - `values`: the value stream, (vectors, groups, N), in the tensor's type.
    - `index_stream`: the index stream, uint8, (bytes,); empty if `nm` is dense.
    - `shape`, `axis`: shape of the dense tensor, and its reduction axis counted from the front.
    """

    values: Array
    index_stream: NDArray[np.uint8]
    shape: tuple[int, ...]
    axis: int
    nm: NM


def pad(w: Array, nm: NM, axis: int) -> Array:
    """Copy of `w`, `axis` zero-padded at its end to a multiple of M. Raises FormatError for a wrong axis."""
    axis = _front_axis(w.ndim, axis)
    tail = list(w.shape)
    tail[axis] = nm.padded(w.shape[axis]) - w.shape[axis]
    return np.concatenate([w, np.zeros(tail, w.dtype)], axis)


def mask(w: Array, nm: NM, axis: int) -> NDArray[np.bool_]:
    """True where `w` is kept, same shape. Raises FormatError for a wrong axis, ragged length or type."""
    axis = _front_axis(w.ndim, axis)
    grouped = _group(w, nm, axis)
    kept = np.zeros(grouped.shape, np.bool_)
    np.put_along_axis(kept, _select(grouped, nm), True, axis=-1)
    return _ungroup(kept, w.shape, axis)


def prune(w: Array, nm: NM, axis: int) -> Array:
    """Copy of `w` with +0 where it is not kept. Raises FormatError as `mask` does."""
    pruned = w.copy()
    pruned[~mask(w, nm, axis)] = 0
    return pruned


def pack(w: Array, nm: NM, axis: int) -> Compact:
    """Compact form of `w`. Raises FormatError as `mask` does."""
    axis = _front_axis(w.ndim, axis)
    grouped = _group(w, nm, axis)
    kept = _select(grouped, nm)
    values = np.take_along_axis(grouped, kept, axis=-1)
    return Compact(values, _encode(kept, nm), w.shape, axis, nm)


def unpack(compact: Compact) -> Array:
    """Dense tensor with +0 where nothing is stored. Raises FormatError as `indices` does."""
    kept = indices(compact)
    dense = np.zeros((*kept.shape[:-1], compact.nm.m), compact.values.dtype)
    np.put_along_axis(dense, kept, compact.values, axis=-1)
    return _ungroup(dense, compact.shape, compact.axis)


def indices(compact: Compact) -> NDArray[np.int64]:
    """Index of each kept entry in its group, (vectors, groups, N). Raises FormatError if corrupt."""
    nm, shape = compact.nm, compact.shape
    axis = _front_axis(len(shape), compact.axis)
    k = shape[axis]
    vectors = prod(shape[:axis]) * prod(shape[axis + 1 :])
    kept_shape = (vectors, nm.groups(k), nm.n)
    if compact.values.shape != kept_shape:
        raise _corrupt(compact, f"values of shape {compact.values.shape}: expected {kept_shape}")
    stream, stream_shape = compact.index_stream, (nm.index_bytes(k, vectors),)
    if stream.dtype != np.uint8 or stream.shape != stream_shape:
        found = f"index stream of shape {stream.shape} of {stream.dtype}"
        raise _corrupt(compact, f"{found}: expected {stream_shape} of uint8")
    if nm.dense:
        return np.broadcast_to(np.arange(nm.m), kept_shape)
    return _decode(compact, kept_shape)


def magnitude_keys(w: Array) -> NDArray[np.uint64]:
    """Integer that ranks each entry by magnitude, same shape. Raises FormatError for another type."""
    if w.dtype.isnative and w.dtype.name in FLOAT_KEYS:
        key = FLOAT_KEYS[w.dtype.name]
        bits = w.view(f"u{w.dtype.itemsize}").astype(np.uint64)
        keys: NDArray[np.uint64] = np.minimum(bits & key.magnitude_mask, key.nan_key)
        return keys
    if w.dtype.isnative and w.dtype.kind == "u":
        return w.astype(np.uint64)
    if w.dtype.isnative and w.dtype.kind == "i":
        return np.abs(w.astype(np.int64)).view(np.uint64)  # the most negative integer wraps to the right key
    known = ", ".join(FLOAT_KEYS)
    raise FormatError(
        f"N:M tensor of type {w.dtype}: expected {known} or integers in native byte order; convert it"
    )


def _front_axis(rank: int, axis: int) -> int:
    if not -rank <= axis < rank:
        raise FormatError(
            f"reduction axis {axis}: expected {-rank} to {rank - 1} for a tensor of rank {rank}"
        )
    return axis % rank


def _group(w: Array, nm: NM, axis: int) -> Array:
    """(vectors, groups, M) from a tensor; `_ungroup` is the inverse."""
    last = np.moveaxis(w, axis, -1)
    return last.reshape(prod(last.shape[:-1]), nm.groups(last.shape[-1]), nm.m)


def _ungroup(grouped: Array, shape: tuple[int, ...], axis: int) -> Array:
    """Tensor of `shape`, in C order, from (vectors, groups, M)."""
    last = grouped.reshape(*shape[:axis], *shape[axis + 1 :], shape[axis])
    return np.ascontiguousarray(np.moveaxis(last, -1, axis))


def _select(grouped: Array, nm: NM) -> NDArray[np.int64]:
    """Ascending indices of the kept entries, (vectors, groups, N), by the selection rule."""
    # a stable sort keeps ties in index order
    largest_first = np.argsort(~magnitude_keys(grouped), axis=-1, kind="stable")
    return np.sort(largest_first[..., : nm.n], axis=-1)


def _encode(kept: NDArray[np.int64], nm: NM) -> NDArray[np.uint8]:
    """Index stream of (vectors, groups, N) indices, (bytes,)."""
    if nm.dense:
        return np.zeros(0, np.uint8)
    bits = kept[..., np.newaxis] >> np.arange(nm.index_bits) & 1
    return np.packbits(bits.astype(np.uint8), axis=None, bitorder="little")


def _decode(compact: Compact, kept_shape: tuple[int, int, int]) -> NDArray[np.int64]:
    """Indices, (vectors, groups, N), of an index stream of the right length; the inverse of `_encode`."""
    nm = compact.nm
    bits = np.unpackbits(compact.index_stream, bitorder="little")
    payload, padding = np.split(bits, [prod(kept_shape) * nm.index_bits])
    kept = payload.reshape(*kept_shape, nm.index_bits) @ (1 << np.arange(nm.index_bits))
    if padding.any():
        raise _corrupt(compact, "padding bits at the end of the index stream are not zero")
    if (kept >= nm.m).any():
        raise _corrupt(compact, f"index {kept.max()}: expected less than M = {nm.m}")
    if (descents := np.argwhere(np.diff(kept, axis=-1) <= 0)).size:
        vector, group, _ = descents[0]
        found = kept[vector, group].tolist()
        raise _corrupt(compact, f"indices {found} of vector {vector}, group {group}: expected ascending ones")
    return kept


def _corrupt(compact: Compact, what: str) -> FormatError:
    where = f"compact {compact.nm} tensor of shape {compact.shape} along axis {compact.axis}"
    return FormatError(f"{where}: {what}; pack it again")
