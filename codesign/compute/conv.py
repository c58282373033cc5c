"""2-D convolution in the three passes of training, compiled: `forward`, `input_gradient`, `weight_gradient`.

Each is a product whose A is seen in a padded copy of the image through two tables of addresses: no im2col buffer is
made. The input gradient is one product for each stride phase, so that its multiplications are those of the forward
pass. With a summation order, the result is the accelerator's, bit for bit (`codesign.compute.order`), and equals that
of `codesign.compute.reference`; without one, sums are as in `codesign.compute.gemm.FAST`.

Everything is float32; images are (B, C, H, W), weights (Cout, Cin / groups, taps, taps).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.compute.formats import Float32, float32_of
from codesign.compute.gemm import FAST
from codesign.compute.geometry import Geometry, Pair
from codesign.compute.order import Order
from codesign.compute.product_kernels import View, product
from codesign.compute.stream_kernels import indices
from codesign.compute.terms import Terms, dense_terms, weight_filters
from codesign.nm.reference import Compact

Addresses = NDArray[np.int64]


def forward(x: Float32, w: Float32 | Compact, geometry: Geometry, order: Order | None = None) -> Float32:
    """Output (B, Cout, Ho, Wo) of input `x`. A compact weight is pruned along axis 1.

    Raises FormatError for operands that are corrupt or not float32, SpecError for shapes or an order that do not fit.
    """
    sizes = geometry.fit(w.shape, x.shape)
    filters, image = weight_filters(w, 1, indices), _Image.of(x, geometry.padding, geometry.padding)
    window = image.pixels(sizes.kernel, geometry.dilation)
    lane = _sum(image.samples, image.pixels(sizes.out, geometry.stride))
    y = np.empty((w.shape[0], lane.size), np.float32)
    for group in range(geometry.groups):
        inputs, outputs = sizes.of_group(group)
        terms = filters.product(outputs, range(len(window)), slice(0, w.shape[1]))
        row = _sum(window, image.channels[inputs])
        y[outputs] = _product(View(image.memory, row, lane), terms, len(window), order)
    return _images(y, len(x), sizes.out)


def input_gradient(
    dy: Float32,
    w: Float32 | Compact,
    geometry: Geometry,
    image_size: Pair,
    orders: Sequence[Order] | None = None,
) -> Float32:
    """Gradient (B, Cin, *image_size) of the input, from that of the output. A compact weight is pruned along axis 0.

    `orders` has one entry for each of `Geometry.phases`. Raises errors as `forward` does.
    """
    dx = np.zeros((len(dy), w.shape[1] * geometry.groups, *image_size), np.float32)
    sizes, filters = geometry.fit(w.shape, dx.shape, dy.shape), weight_filters(w, 0, indices)
    phases = geometry.phases(sizes.kernel)
    before, after = geometry.margins(image_size, sizes.kernel, sizes.out)
    image = _Image.of(dy, before, after)
    for phase, order in zip(phases, orders or repeat(None, len(phases)), strict=True):
        first = tuple(-(-(geometry.padding[d] - phase.offset[d]) // geometry.stride[d]) for d in (0, 1))
        top, left = (phase.offset[d] + first[d] * geometry.stride[d] - geometry.padding[d] for d in (0, 1))
        pixels = dx[:, :, top :: geometry.stride[0], left :: geometry.stride[1]]
        start = image.address(first[0] + before[0], first[1] + before[1])
        lane = start + _sum(image.samples, image.pixels(pixels.shape[2:], (1, 1)))
        window = -np.array([image.address(*reach) for reach in phase.reach])
        for group in range(geometry.groups):
            inputs, outputs = sizes.of_group(group)
            terms = filters.product(slice(0, w.shape[1]), phase.taps, outputs)
            row = _sum(window, image.channels[outputs])
            y = _product(View(image.memory, row, lane), terms, len(window), order)
            pixels[:, inputs] = _images(y, len(dy), pixels.shape[2:])
    return dx


def weight_gradient(
    x: Float32, dy: Float32, kernel: Pair, geometry: Geometry, order: Order | None = None
) -> Float32:
    """Gradient (Cout, Cin / groups, *kernel) of the weight, summed over batch and pixels.

    Raises errors as `forward` does.
    """
    dw = np.empty((dy.shape[1], x.shape[1] // geometry.groups, *kernel), np.float32)
    sizes = geometry.fit(dw.shape, x.shape, dy.shape)
    image = _Image.of(x, geometry.padding, geometry.padding, channels_last=True)
    window = image.pixels(kernel, geometry.dilation)
    row = _sum(image.samples, image.pixels(sizes.out, geometry.stride))
    for group in range(geometry.groups):
        inputs, outputs = sizes.of_group(group)
        lane = _sum(window, image.channels[inputs])
        terms = dense_terms(dy[:, outputs].transpose(0, 2, 3, 1).reshape(len(row), -1))
        y = _product(View(image.memory, row, lane), terms, 1, order)
        dw[outputs] = y.reshape(len(y), *kernel, -1).transpose(0, 3, 1, 2)
    return dw


class _Image(NamedTuple):
    """A padded copy of an image and the addresses in it, each the distance from the first sample, channel, pixel."""

    memory: Float32
    samples: Addresses
    channels: Addresses
    row: int  # from one pixel to the one below
    column: int  # to the one beside

    @classmethod
    def of(cls, x: Float32, before: Pair, after: Pair, channels_last: bool = False) -> _Image:
        """Pad `x` by so many rows above and columns left, `before`, and below and right, `after`."""
        borders = ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1]))
        padded = np.pad(float32_of(x), borders)
        stored = np.ascontiguousarray(padded.transpose(0, 2, 3, 1)) if channels_last else padded
        strides = (stored.transpose(0, 3, 1, 2) if channels_last else stored).strides
        sample, channel, row, column = (stride // stored.itemsize for stride in strides)
        return cls(
            stored.reshape(-1), sample * np.arange(len(x)), channel * np.arange(x.shape[1]), row, column
        )

    def address(self, row: int, column: int) -> int:
        """Of a pixel."""
        return row * self.row + column * self.column

    def pixels(self, size: Pair, step: Pair) -> Addresses:
        """Of every `step`-th pixel, row by row."""
        return _sum(self.row * step[0] * np.arange(size[0]), self.column * step[1] * np.arange(size[1]))


def _product(a: View, b: Terms, taps: int, order: Order | None) -> Float32:
    return product(a, b, (order or FAST).walk(b.k, taps), fused=order is None)


def _images(y: Float32, samples: int, size: Pair) -> Float32:
    """(B, C, H, W) from (C, B x H x W)."""
    return y.reshape(len(y), samples, *size).transpose(1, 0, 2, 3)


def _sum(outer: Addresses, inner: Addresses) -> Addresses:
    """Every pair's sum, flat."""
    return np.add.outer(outer, inner).reshape(-1)
