"""Operand B of a product as the array consumes it: for each column j a list of terms, cut into groups.

A dense operand is seen as 1:1. So sparse and dense products, of matrices and of convolutions, are one and the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.compute.formats import Float32, float32_of
from codesign.compute.order import Walk
from codesign.errors import FormatError, SpecError
from codesign.nm.reference import Compact

Decoder = Callable[[Compact], NDArray[Any]]


class Terms(NamedTuple):
    """Kept `values` and their `indices` in groups of `m`, both (J, groups, N)."""

    values: Float32
    indices: NDArray[Any]
    m: int

    @property
    def k(self) -> int:
        """Length of the reduction."""
        return int(self.values.shape[1]) * self.m

    def visited(self, walk: Walk) -> Terms:
        """The groups in the order of `walk`. Raises SpecError if it cuts a group."""
        first = walk.visit[:: self.m]
        whole = np.array_equal(walk.visit, (first[:, np.newaxis] + np.arange(self.m)).reshape(-1))
        if not whole or (first % self.m).any() or (walk.ends % self.m).any():
            raise SpecError(
                f"summation order: a run or a tile ends within a group: expected multiples of {self.m}"
            )
        groups = first // self.m
        if np.array_equal(groups, np.arange(len(groups))):
            return self
        return Terms(self.values[:, groups], self.indices[:, groups], self.m)


class Filters(NamedTuple):
    """`values` and `indices` of a convolution weight, both (outputs, taps, groups, N).

    The groups, of `m` channels, lie along the axis that the product sums over, the outputs along the other.
    """

    values: Float32
    indices: NDArray[Any]
    m: int

    def product(self, outputs: slice, taps: Sequence[int], channels: slice) -> Terms:
        """Terms of the product of some outputs, taps and channels. Raises SpecError if it cuts a group."""
        if channels.start % self.m or channels.stop % self.m:
            raise SpecError(
                f"convolution group of channels {channels.start} to {channels.stop}: expected multiples of {self.m}"
            )
        groups = slice(channels.start // self.m, channels.stop // self.m)
        values, indices = (part[outputs, :, groups][:, taps] for part in (self.values, self.indices))
        shape = len(values), -1, values.shape[-1]
        return Terms(values.reshape(shape), indices.reshape(shape), self.m)


def dense_terms(b: Float32) -> Terms:
    """Of a matrix B (K, J). Raises FormatError if it is not float32."""
    values = float32_of(b).T[..., np.newaxis]
    return Terms(values, _first_of_group(values), 1)


def matrix_terms(a: Float32, b: Float32 | Compact, decode: Decoder) -> Terms:
    """Of B, (K, J) or compact along K, which A (I, K) is to be multiplied by; `decode` reads a compact one's indices.

    Raises FormatError if the shapes do not fit, or B is corrupt or not float32.
    """
    axis = b.axis if isinstance(b, Compact) else 0
    if a.ndim != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[axis]:
        raise FormatError(
            f"GEMM operands {a.shape} and {b.shape}, summed over axis {axis}: expected (I, K) and (K, J)"
        )
    return Terms(float32_of(b.values), decode(b), b.nm.m) if isinstance(b, Compact) else dense_terms(b)


def weight_filters(w: Float32 | Compact, axis: int, decode: Decoder) -> Filters:
    """Of a weight (Cout, Cin, taps, taps), dense or compact, that is summed over `axis`.

    Raises FormatError if it is corrupt, not float32 or pruned along another axis.
    """
    if not isinstance(w, Compact):
        last = np.moveaxis(float32_of(w), axis, -1)
        values = last.reshape(last.shape[0], -1, last.shape[-1], 1)
        return Filters(values, _first_of_group(values), 1)
    if len(w.shape) != 4 or w.axis != axis:
        raise FormatError(
            f"compact weight {w.shape} along axis {w.axis}: expected (Cout, Cin, taps, taps) along axis {axis}"
        )
    shape = w.shape[1 - axis], -1, *w.values.shape[1:]
    return Filters(float32_of(w.values).reshape(shape), decode(w).reshape(shape), w.nm.m)


def _first_of_group(values: Float32) -> NDArray[np.uint8]:
    return np.broadcast_to(np.uint8(0), values.shape)
