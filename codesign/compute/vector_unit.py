"""What the vector unit computes between the products, bit for bit. This text is normative.

Tensors are FP16, channels last: (batch, height, width, channels) or (rows, channels). Values are widened to FP32;
each `+ - * / sqrt` and comparison below is one FP32 operation, rounded to nearest, ties to even; none is fused. A
result that is stored in FP16 is narrowed once (`codesign.compute.formats`). Constants in capitals are computed in
double precision by the host and rounded to FP32 once.

**Order of sums.** A sum over many rows or channels has `WAYS` partial sums, so that a pipelined adder never waits for
itself: partial sum w starts at +0 and adds the terms w, w + WAYS, w + 2 WAYS, ... one after the other. Then the
partial sums are halved, s[w] = s[w] + s[w + WAYS / 2] and so on, down to one. The order depends on neither lanes nor
buffers. Sums over the few positions of a pooling window start at +0 and have one way.

**Element by element.** Residual: y = x + x'. ReLU: +0 where x <= 0, x elsewhere (a NaN stays). ReLU backward: +0
where y <= 0 (`y` is what ReLU gave), dy elsewhere. A bias is not added here, but to the FP32 sums of a product when
they are stored.

**Bias gradient.** The sum of dy over all rows.

**Max-pooling.** Positions are visited row by row. The first one inside the image is taken; a later one replaces what
was taken if it is greater, or if it is the first NaN. So ties, those of -0 and +0 among them, keep the first
position. The position in the window, counted from 0, is stored beside the value (16 bits). Backward: the gradient of
a pixel is the sum of dy over the windows that took it, in ascending order of these.

**Average-pooling.** y = (sum of the window in the order of its positions) * INVERSE; positions outside the image
count as +0, INVERSE = 1 / (positions of a window). Backward: dx = (sum of dy over the windows that hold the pixel,
ascending) * INVERSE. Global pooling has one window.

**Loss.** `codesign.compute.vector_loss`. **Batch normalisation.** `codesign.compute.vector_norm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute.formats import Bits, Float32, Format
from codesign.compute.geometry import Pair
from codesign.compute.reference import narrow, widen
from codesign.errors import SpecError

Array = NDArray[Any]

WAYS = 16
"""Partial sums of a long sum: an FP32 adder of up to 13 cycles is done with one before its next term comes."""


@dataclass(frozen=True, slots=True)
class Window:
    """Pooling window: size, stride and padding on either side, each vertical and horizontal.

    Raises SpecError for a size out of range, or for padding that would leave a window without a pixel.
    """

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        if min(*self.kernel, *self.stride) < 1 or any(
            not 0 <= 2 * self.padding[d] <= self.kernel[d] for d in (0, 1)
        ):
            raise SpecError(
                f"{self}: expected a kernel and a stride of at least 1 and a padding of at most half the kernel"
            )

    @property
    def taps(self) -> int:
        """Positions of the window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def inverse(self) -> np.float32:
        """INVERSE."""
        return np.float32(1 / self.taps)

    def out_size(self, image: Pair) -> Pair:
        """Height and width of the output. Raises SpecError if the window does not fit into the image."""
        height, width = (
            (image[d] + 2 * self.padding[d] - self.kernel[d]) // self.stride[d] + 1 for d in (0, 1)
        )
        if min(height, width) < 1:
            raise SpecError(f"{self} does not fit into an image of {image[0]} x {image[1]}")
        return height, width

    def slices(self, image: Pair) -> Iterator[tuple[slice, slice]]:
        """For each position in order, the pixels of the padded image that all windows see there."""
        height, width = self.out_size(image)
        for dh, dw in np.ndindex(self.kernel):
            yield (
                slice(dh, dh + height * self.stride[0], self.stride[0]),
                slice(dw, dw + width * self.stride[1], self.stride[1]),
            )


_quiet = np.errstate(all="ignore")  # infinities and NaNs of a diverging network are results like any other


@_quiet
def ordered_sum(terms: Float32) -> Float32:
    """Sum over axis 0 in the order above."""
    partial = np.zeros((WAYS, *terms.shape[1:]), np.float32)
    for first in range(0, len(terms), WAYS):
        part = terms[first : first + WAYS]
        partial[: len(part)] += part
    while len(partial) > 1:
        half = len(partial) // 2
        partial = partial[:half] + partial[half:]
    total: Float32 = partial[0]
    return total


# -- element by element --------------------------------------------------------------------------------------------


@_quiet
def add(x: Array, other: Array) -> Bits:
    """Sum of two tensors of one shape."""
    return narrow(_wide(x) + _wide(other), Format.FP16)


def relu(x: Array) -> Bits:
    """+0 instead of what is negative or zero."""
    wide = _wide(x)
    return narrow(np.where(wide <= 0, np.float32(0), wide), Format.FP16)


def relu_backward(dy: Array, y: Array) -> Bits:
    """Gradient of the input of ReLU from that of its output `y`."""
    return narrow(np.where(_wide(y) <= 0, np.float32(0), _wide(dy)), Format.FP16)


def column_sum(dy: Array) -> Bits:
    """Bias gradient (C,) of an output gradient (..., C)."""
    wide = _wide(dy)
    return narrow(ordered_sum(wide.reshape(-1, wide.shape[-1])), Format.FP16)


# -- pooling -------------------------------------------------------------------------------------------------------


def max_pool(x: Array, window: Window) -> tuple[Bits, NDArray[np.uint16]]:
    """Output (B, Ho, Wo, C) of `x` (B, H, W, C), and the position that each value comes from."""
    wide = _wide(x)
    image = wide.shape[1], wide.shape[2]
    padded, inside = _padded(wide, window), _padded(np.ones_like(wide), window) > 0
    best = np.zeros((len(wide), *window.out_size(image), wide.shape[3]), np.float32)
    index = np.zeros(best.shape, np.uint16)
    empty = np.ones(best.shape, np.bool_)
    for tap, (rows, columns) in enumerate(window.slices(image)):
        value = padded[:, rows, columns]
        wins = empty | (value > best) | (np.isnan(value) & ~np.isnan(best))
        wins &= inside[:, rows, columns]
        best, index, empty = np.where(wins, value, best), np.where(wins, tap, index), empty & ~wins
    return narrow(best, Format.FP16), index.astype(np.uint16)


def max_pool_backward(dy: Array, index: NDArray[np.uint16], window: Window, image: Pair) -> Bits:
    """Input gradient (B, *image, C) from the output gradient and the positions that `max_pool` gave."""
    wide = _wide(dy)
    taken = (np.where(index == tap, wide, np.float32(0)) for tap in reversed(range(window.taps)))
    return narrow(_scattered(taken, wide.shape, window, image), Format.FP16)


@_quiet
def avg_pool(x: Array, window: Window) -> Bits:
    """Output (B, Ho, Wo, C) of `x` (B, H, W, C)."""
    wide = _wide(x)
    image, padded = (wide.shape[1], wide.shape[2]), _padded(wide, window)
    total = np.zeros((len(wide), *window.out_size(image), wide.shape[3]), np.float32)
    for rows, columns in window.slices(image):
        total = total + padded[:, rows, columns]
    return narrow(total * window.inverse, Format.FP16)


def avg_pool_backward(dy: Array, window: Window, image: Pair) -> Bits:
    """Input gradient (B, *image, C) from the output gradient."""
    wide = _wide(dy)
    total = _scattered((wide for _ in range(window.taps)), wide.shape, window, image)
    return narrow(total * window.inverse, Format.FP16)


@_quiet
def _scattered(
    sent: Iterator[Float32], shape: tuple[int, ...], window: Window, image: Pair
) -> NDArray[np.float32]:
    """Sum for each pixel of what the windows send back to each position, the last position first.

    A pixel is in the last position of the first window that holds it, so that it sees windows in ascending order.
    """
    total = _padded(np.zeros((shape[0], *image, shape[3]), np.float32), window)
    for (rows, columns), part in zip(reversed(list(window.slices(image))), sent, strict=True):
        total[:, rows, columns] += part
    (top, left), (height, width) = window.padding, image
    return total[:, top : top + height, left : left + width]


def _padded(x: Float32, window: Window) -> Float32:
    top, left = window.padding
    return np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))


def _wide(x: Array) -> Float32:
    return widen(x, Format.FP16)
