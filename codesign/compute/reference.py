"""Conversions, products and convolutions in numpy, slow and obvious: the oracle for the compiled operations.

`codesign.compute.formats` and `codesign.compute.order` state the rules. Nothing here depends on numpy's own order of
summation: additions are written out, one step at a time for all outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute.formats import Bits, Float32, Format, bits_of, float32_of
from codesign.compute.geometry import Geometry, Pair, Phase
from codesign.compute.order import Order, Walk
from codesign.compute.terms import Terms, dense_terms, matrix_terms, weight_filters
from codesign.nm.reference import Compact, indices

Array = NDArray[Any]


def widen(values: Array, fmt: Format) -> Float32:
    """float32 of the same shape, exactly. Raises FormatError for another type than `fmt` or its bit patterns."""
    bits = bits_of(values, fmt)
    if fmt is Format.FP16:
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)


def narrow(values: Float32, fmt: Format) -> Bits:
    """Bit patterns of the same shape, rounded to nearest, ties to even. Raises FormatError if not float32."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if fmt is Format.FP16:
            bits = float32_of(values).astype(np.float16).view(np.uint16)
        else:
            wide = float32_of(values).view(np.uint32).astype(np.uint64)
            bits = (wide + 0x7FFF + (wide >> 16 & 1) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(fmt.nan_bits), bits)


# -- products ------------------------------------------------------------------------------------------------------


def gemm(a: Float32, b: Float32 | Compact, order: Order, onto: Array | None = None) -> Array:
    """Y (I, J) = `a` (I, K) times `b`, (K, J) or compact along K, in `order`.

    The runs are added to `onto` (I, J), if given, as to what the output buffer holds from earlier buffer tiles; all
    arithmetic is of its type. Raises FormatError for operands that are corrupt or not float32, SpecError for an order
    that does not fit.
    """
    terms = matrix_terms(a, b, indices)
    return _accumulate(float32_of(a), terms, order.walk(terms.k), onto)


def _accumulate(a: Float32, terms: Terms, walk: Walk, onto: Array | None = None) -> Array:
    """Y (I, J), one product at a time for all outputs at once."""
    total = np.zeros((len(a), len(terms.values)), np.float32) if onto is None else onto
    a, terms, run = a[:, walk.visit].astype(total.dtype), terms.visited(walk), np.zeros_like(total)
    for group, term in np.ndindex(terms.values.shape[1:]):
        k = group * terms.m + terms.indices[:, group, term].astype(np.int64)
        with np.errstate(all="ignore"):
            run = run + a[:, k] * terms.values[:, group, term]
            if term == terms.values.shape[2] - 1 and (group + 1) * terms.m in walk.ends:
                total, run = total + run, np.zeros_like(run)
    return total


# -- convolutions --------------------------------------------------------------------------------------------------


def forward(x: Float32, w: Float32 | Compact, geometry: Geometry, order: Order) -> Float32:
    """Output (B, Cout, Ho, Wo) of input (B, Cin, H, W) and weight (Cout, Cin / groups, taps, taps), by im2col.

    A compact weight is pruned along axis 1. Raises errors as `gemm` does.
    """
    sizes, filters = geometry.fit(w.shape, x.shape), weight_filters(w, 1, indices)
    taps = range(sizes.kernel[0] * sizes.kernel[1])
    parts = []
    for group in range(geometry.groups):
        inputs, outputs = sizes.of_group(group)
        a = im2col(x[:, inputs], sizes.kernel, geometry)
        terms = filters.product(outputs, taps, slice(0, w.shape[1]))
        parts.append(_accumulate(a, terms, order.walk(terms.k, len(taps))))
    y: Float32 = np.concatenate(parts, 1).reshape(len(x), *sizes.out, w.shape[0]).transpose(0, 3, 1, 2)
    return y


def input_gradient(
    dy: Float32, w: Float32 | Compact, geometry: Geometry, image_size: Pair, orders: Sequence[Order]
) -> Float32:
    """Input gradient (B, Cin, *image_size) of output gradient (B, Cout, Ho, Wo); `orders` for each stride phase.

    A compact weight is pruned along axis 0. Raises errors as `gemm` does.
    """
    dx = np.zeros((len(dy), w.shape[1] * geometry.groups, *image_size), np.float32)
    sizes, filters = geometry.fit(w.shape, dx.shape, dy.shape), weight_filters(w, 0, indices)
    for phase, order in zip(geometry.phases(sizes.kernel), orders, strict=True):
        for group in range(geometry.groups):
            inputs, outputs = sizes.of_group(group)
            terms = filters.product(slice(0, w.shape[1]), phase.taps, outputs)
            pixels, a = _phase_rows(dy[:, outputs], phase, geometry, image_size)
            for (b, h, v), row in zip(
                pixels, _accumulate(a, terms, order.walk(terms.k, len(phase.taps))), strict=True
            ):
                dx[b, inputs, h, v] = row
    return dx


def weight_gradient(x: Float32, dy: Float32, kernel: Pair, geometry: Geometry, order: Order) -> Float32:
    """Weight gradient (Cout, Cin / groups, *kernel), summed over batch and output pixels."""
    dw = np.empty((dy.shape[1], x.shape[1] // geometry.groups, *kernel), np.float32)
    sizes = geometry.fit(dw.shape, x.shape, dy.shape)
    for group in range(geometry.groups):
        inputs, outputs = sizes.of_group(group)
        a = im2col(x[:, inputs], kernel, geometry).T
        terms = dense_terms(dy[:, outputs].transpose(0, 2, 3, 1).reshape(a.shape[1], -1))
        y = _accumulate(a, terms, order.walk(terms.k))
        dw[outputs] = y.T.reshape(-1, *kernel, sizes.inputs).transpose(0, 3, 1, 2)
    return dw


def im2col(x: Float32, kernel: Pair, geometry: Geometry) -> Float32:
    """The A operand (B x output pixels, taps x channels) of a convolution of `x` (B, C, H, W)."""
    out = geometry.out_size((x.shape[2], x.shape[3]), kernel)
    (top, left), (stride_h, stride_w), (step_h, step_w) = geometry.padding, geometry.stride, geometry.dilation
    padded = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    columns = [
        padded[:, :, dh * step_h :: stride_h, dw * step_w :: stride_w][:, :, : out[0], : out[1]]
        for dh, dw in product(range(kernel[0]), range(kernel[1]))
    ]
    a: Float32 = np.stack(columns, 1).transpose(0, 3, 4, 1, 2).reshape(len(x) * out[0] * out[1], -1)
    return a


def _phase_rows(
    dy: Float32, phase: Phase, geometry: Geometry, image: Pair
) -> tuple[list[tuple[int, int, int]], Float32]:
    """The input pixels of a phase, and for each its row of A: the outputs that it met, zero off the image."""
    pixels, rows = [], []
    for b, *pixel in product(range(len(dy)), range(image[0]), range(image[1])):
        padded = [pixel[d] + geometry.padding[d] for d in (0, 1)]
        if all(padded[d] % geometry.stride[d] == phase.offset[d] for d in (0, 1)):
            row = np.zeros((len(phase.taps), dy.shape[1]), np.float32)
            for tap, reach in enumerate(phase.reach):
                h, v = (padded[d] // geometry.stride[d] - reach[d] for d in (0, 1))
                if 0 <= h < dy.shape[2] and 0 <= v < dy.shape[3]:
                    row[tap] = dy[b, :, h, v]
            pixels.append((b, pixel[0], pixel[1]))
            rows.append(row.reshape(-1))
    return pixels, np.array(rows, np.float32).reshape(len(rows), len(phase.taps) * dy.shape[1])
