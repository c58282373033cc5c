"""Softmax cross-entropy and its gradient on the vector unit, bit for bit. This text is normative.

It goes on where `codesign.compute.vector_unit` stops; arithmetic and `ordered_sum` are the same.

**exp(z)** of a z that is at most 0. All constants are FP32.

    k = the integer part of z * LOG2E - 0.5     truncated, so that k is z / ln 2 rounded to nearest
    r = (z - k * LN2_HIGH) - k * LN2_LOW        LN2_HIGH has 9 bits, so that its product is exact
    p = 1 / 7!, then p = p * r + 1 / c! for c = 6, 5, ..., 0
    exp(z) = p * 2^k; +0 if z < -87; NaN if z is

|r| is at most 0.347, where the series cut off after r^7 / 7! is off by less than 2^-26; with the roundings, exp is
off by less than 2^-22 of itself.

**log(s)** of an s from 1 to 2^24.

    s = m * 2^e with 0.75 <= m < 1.5             exactly; e is the exponent of s, plus 1 if m would be 1.5 or more
    t = (m - 1) / (m + 1)
    q = 1 / 9, then q = q * (t * t) + 1 / c for c = 7, 5, 3, 1
    log(s) = e * LN2 + (t + t) * q

|t| is at most 0.2, where the series cut off after t^9 / 9 is off by less than 2^-26 of itself.

**Loss.** For each row x of logits, channels c = 0 ... C - 1, with class `label`:

    z[c] = x[c] - max(x)                         if any x is NaN, so is everything below
    s = ordered_sum(exp(z))
    row loss = log(s) - (KEEP * z[label] + OFF * ordered_sum(z))
    dx[c] = (exp(z[c]) * (1 / s) - (ON if c is label else OFF)) * SCALE, narrowed

    loss = ordered_sum(row losses) * INVERSE, FP32

    OFF = smoothing / C    KEEP = 1 - smoothing    ON = KEEP + OFF    INVERSE = 1 / rows    SCALE = loss scale / rows

This is the mean over rows of `torch.nn.functional.cross_entropy(..., label_smoothing=smoothing)`.
"""

from __future__ import annotations

from math import factorial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.compute.formats import Bits, Float32, Format
from codesign.compute.reference import narrow, widen
from codesign.compute.vector_unit import ordered_sum
from codesign.errors import SpecError

LOG2E = np.float32(1.4426950408889634)
LN2 = np.float32(0.6931471805599453)
LN2_HIGH = np.float32(0.693359375)  # 355 / 512
LN2_LOW = np.float32(0.6931471805599453 - 0.693359375)
EXP_TERMS = [np.float32(1 / factorial(c)) for c in range(8)]
LOG_TERMS = [np.float32(1 / c) for c in range(1, 10, 2)]
LEAST_EXPONENT = np.float32(-87)


class LossConstants(NamedTuple):
    """FP32 constants of a loss."""

    scale: np.float32
    on: np.float32
    off: np.float32
    keep: np.float32
    inverse: np.float32

    @classmethod
    def of(cls, rows: int, classes: int, loss_scale: float = 1.0, smoothing: float = 0.0) -> LossConstants:
        """Of the mean over `rows`. Raises SpecError unless 0 <= smoothing <= 1."""
        if not 0 <= smoothing <= 1:
            raise SpecError(f"label smoothing {smoothing}: expected a number from 0 to 1")
        keep, off = 1 - smoothing, smoothing / classes
        return cls(*map(np.float32, (loss_scale / rows, keep + off, off, keep, 1 / rows)))


def cross_entropy(
    logits: NDArray[Any], labels: NDArray[Any], constants: LossConstants
) -> tuple[np.float32, Bits]:
    """Loss, and its gradient (rows, classes), of `logits` (rows, classes) in FP16 and integer `labels` (rows,)."""
    x = widen(logits, Format.FP16).T
    at_label = np.arange(len(x))[:, np.newaxis] == labels
    with np.errstate(all="ignore"):
        z = x - x.max(axis=0)
        exps = exp(z)
        s = ordered_sum(exps)
        z_label = np.where(at_label, z, np.float32(0)).sum(axis=0)  # of one term
        row_losses = log(s) - (constants.keep * z_label + constants.off * ordered_sum(z))
        dx = (exps * (np.float32(1) / s) - np.where(at_label, constants.on, constants.off)) * constants.scale
        loss = np.float32(ordered_sum(row_losses) * constants.inverse)
    return loss, np.ascontiguousarray(narrow(dx, Format.FP16).T)


def exp(z: Float32) -> Float32:
    """Of numbers that are at most 0."""
    with np.errstate(all="ignore"):
        k = np.trunc(np.maximum(z, LEAST_EXPONENT) * LOG2E - np.float32(0.5))
        r = (z - k * LN2_HIGH) - k * LN2_LOW
        p = np.full_like(z, EXP_TERMS[-1])
        for term in reversed(EXP_TERMS[:-1]):
            p = p * r + term
        power = np.ldexp(np.float32(1), np.nan_to_num(k).astype(np.int32))
        return np.where(z < LEAST_EXPONENT, np.float32(0), p * power)


def log(s: Float32) -> Float32:
    """Of numbers from 1 to 2^24."""
    with np.errstate(all="ignore"):
        half, exponent = np.frexp(s)  # s = half * 2^exponent, half from 0.5 to 1
        low = half < 0.75
        m, e = np.where(low, half + half, half), exponent - low
        t = (m - 1) / (m + 1)
        q, square = np.full_like(s, LOG_TERMS[-1]), t * t
        for term in reversed(LOG_TERMS[:-1]):
            q = q * square + term
        result: Float32 = e.astype(np.float32) * LN2 + (t + t) * q
    return result
