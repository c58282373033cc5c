"""Batch normalisation in training on the vector unit, bit for bit. This text is normative.

It goes on where `codesign.compute.vector_unit` stops; arithmetic and `ordered_sum` are the same. Activations and
their gradients are FP16, everything that exists once for each channel is FP32, but for the two parameter gradients,
which the optimizer takes in FP16. For each channel, over all rows (batch and pixels):

**Forward.** Deviations from the channel's first value are summed: sums of squares would cancel where the mean is far
from zero (Chan, Golub & LeVeque, The American Statistician 37(3), 1983, section 2, shifted data).

    d = x - x[first row]            s1 = ordered_sum(d)    s2 = ordered_sum(d * d)
    c = s1 * INVERSE                mean = x[first row] + c
    variance = s2 * INVERSE - c * c, or +0 if that is negative
    reciprocal = 1 / sqrt(variance + EPS)
    y = (x - mean) * (scale * reciprocal) + shift, narrowed
    running mean = running mean + MOMENTUM * (mean - running mean)
    running variance = running variance + MOMENTUM * (variance * UNBIASED - running variance)

**Backward.** Mean and reciprocal are those of the forward pass.

    xhat = (x - mean) * reciprocal
    dshift = ordered_sum(dy)        dscale = ordered_sum(dy * xhat)      both narrowed when stored, not before
    dx = ((dy - dshift * INVERSE) - xhat * (dscale * INVERSE)) * (scale * reciprocal), narrowed

    INVERSE = 1 / rows    UNBIASED = rows / (rows - 1)    EPS, MOMENTUM as in `torch.nn.BatchNorm2d`

Running statistics that decay towards zero may become subnormal, which AMD's floating-point operators take for zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.compute.formats import Bits, Float32, Format
from codesign.compute.reference import narrow, widen
from codesign.compute.vector_unit import ordered_sum
from codesign.errors import SpecError


class NormConstants(NamedTuple):
    """FP32 constants of a batch normalisation."""

    inverse: np.float32
    eps: np.float32
    momentum: np.float32
    unbiased: np.float32

    @classmethod
    def of(cls, rows: int, eps: float = 1e-5, momentum: float = 0.1) -> NormConstants:
        """Over `rows` values of a channel. Raises SpecError for fewer than two, which have no variance."""
        if rows < 2:
            raise SpecError(f"batch normalisation over {rows} values of a channel: expected at least 2")
        return cls(*map(np.float32, (1 / rows, eps, momentum, rows / (rows - 1))))


class Statistics(NamedTuple):
    """Of each channel, FP32, (C,): of this batch, and running, which `batch_norm` changes in place."""

    mean: Float32
    reciprocal: Float32
    running_mean: Float32
    running_variance: Float32


def batch_norm(
    x: NDArray[Any],
    scale: Float32,
    shift: Float32,
    statistics: Statistics,
    constants: NormConstants,
) -> Bits:
    """Output of `x` (..., C); fills in or updates all `statistics`."""
    rows = _rows(x)
    with np.errstate(all="ignore"):
        d = rows - rows[0]
        c = ordered_sum(d) * constants.inverse
        mean, variance = rows[0] + c, ordered_sum(d * d) * constants.inverse - c * c
        variance = np.where(variance < 0, np.float32(0), variance)
        reciprocal = 1 / np.sqrt(variance + constants.eps)
        y = (rows - mean) * (scale * reciprocal) + shift
        statistics.mean[...], statistics.reciprocal[...] = mean, reciprocal
        _move(statistics.running_mean, mean, constants)
        _move(statistics.running_variance, variance * constants.unbiased, constants)
    return narrow(y, Format.FP16).reshape(x.shape)


def batch_norm_backward(
    x: NDArray[Any], dy: NDArray[Any], scale: Float32, statistics: Statistics, inverse: np.float32
) -> tuple[Bits, Bits, Bits]:
    """Gradients of `x` (..., C), scale and shift (C,) from that of the output; `inverse` is INVERSE."""
    gradient = _rows(dy)
    with np.errstate(all="ignore"):
        xhat = (_rows(x) - statistics.mean) * statistics.reciprocal
        dshift, dscale = ordered_sum(gradient), ordered_sum(gradient * xhat)
        centred = (gradient - dshift * inverse) - xhat * (dscale * inverse)
        dx = centred * (scale * statistics.reciprocal)
    dx_bits, dscale_bits, dshift_bits = (narrow(part, Format.FP16) for part in (dx, dscale, dshift))
    return dx_bits.reshape(x.shape), dscale_bits, dshift_bits


def _rows(x: NDArray[Any]) -> Float32:
    return widen(x, Format.FP16).reshape(-1, x.shape[-1])


def _move(running: Float32, now: Float32, constants: NormConstants) -> None:
    running[...] = running + constants.momentum * (now - running)
