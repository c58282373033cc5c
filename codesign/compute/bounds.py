"""How far a computed result may be from the exact one: bounds on every element, derived, not measured.

Rounding to nearest has a relative error of at most u, 2^-24 for FP32 (N. Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., 2002, section 2.2). If no product of a sum is rounded more than r times, the sum's error is at
most gamma(r) = r u / (1 - r u) times the sum of the products' magnitudes (sections 3.1 and 4.2), whatever the order:
that matters through r alone. Updates are bounded operation by operation, by a running error analysis (section 3.3).

Sums must not over- or underflow on the way; what overflows when it is stored has an infinite bound. Bounds are
computed in float64, whose own rounding `_SLACK` covers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute.formats import Float32, Format
from codesign.compute.optimizers import SGD, AdamW
from codesign.compute.order import Walk
from codesign.errors import SpecError
from codesign.nm.format import NM

Bound = NDArray[np.float64]

U32 = 2.0**-24
"""Unit roundoff of FP32."""

_TINY32 = 2.0**-150  # half of the smallest subnormal: how far off a very small result may be
_SLACK = 1 + 2.0**-20


def gamma(roundings: int) -> float:
    """Relative error of `roundings` in a row. Raises SpecError if they are too many for a bound to exist."""
    if roundings * U32 >= 1:
        raise SpecError(f"error bound: {roundings} roundings in a row, expected less than {int(1 / U32)}")
    return roundings * U32 / (1 - roundings * U32)


def roundings(walk: Walk, nm: NM | None = None, exact_products: bool = False) -> int:
    """How often any product of a reduction is rounded at most, of which `nm` keeps a part.

    Adding to the zero at the start of a run, or of the total, is exact. Products of 16-bit numbers are
    `exact_products`. An unknown order rounds no more often than one run over everything.
    """
    longest_run = int(np.diff(walk.ends, prepend=0).max())
    terms = longest_run if nm is None else nm.kept(longest_run)
    return (0 if exact_products else 1) + terms - 1 + len(walk.ends) - 1


def sum_bound(magnitudes: NDArray[Any], roundings: int) -> Bound:
    """Error of sums of products. `magnitudes` are the sums of the products' magnitudes, computed no less exactly."""
    relative = gamma(roundings)
    bound: Bound = _SLACK * relative / (1 - relative) * magnitudes.astype(np.float64)
    return bound


def rounding_bound(values: NDArray[Any], fmt: Format) -> Bound:
    """Error of `values` rounded to `fmt`."""
    magnitudes = np.abs(values.astype(np.float64))
    error = np.maximum(_SLACK * fmt.unit_roundoff * magnitudes, fmt.smallest_subnormal / 2)
    bound: Bound = np.where(magnitudes < fmt.overflow, error, np.inf)
    return bound


def operand_bound(a: NDArray[Any], b: NDArray[Any], fmt: Format) -> Bound:
    """Error of the exact product of `a` (I, K) and `b` (K, J) if both are rounded to `fmt` before."""
    (a, b), (da, db) = (np.abs(a), np.abs(b)), (rounding_bound(a, fmt), rounding_bound(b, fmt))
    bound: Bound = _SLACK * (da @ b + a @ db + da @ db)
    return bound


def stored_bound(exact: NDArray[Any], error: Bound, fmt: Format) -> Bound:
    """Error of a result that is narrowed to `fmt` when it may already be off by `error`."""
    return error + rounding_bound(np.abs(exact) + error, fmt)


def sgd_bound(
    weight: Float32, velocity: Float32, gradient: Float32, rule: SGD, gradient_error: Bound | float = 0.0
) -> tuple[Bound, Bound]:
    """Errors of weight and velocity after one step, fused or not; the gradient is unscaled FP32.

    `gradient_error` is how far the gradient that was used may be from `gradient`.
    """
    decay, momentum, step = map(_exact, rule.constants())
    w, v, g = _exact(weight), _exact(velocity), _within(gradient, gradient_error)
    if rule.weight_decay:
        g = g + decay * w
    if rule.momentum:
        g = v = momentum * v + g
    return (w + step * g).error, v.error


def adamw_bound(
    weight: Float32,
    mean: Float32,
    square: Float32,
    gradient: Float32,
    rule: AdamW,
    t: int,
    gradient_error: Bound | float = 0.0,
) -> tuple[Bound, Bound, Bound]:
    """Errors of weight, mean and square after step `t`, fused or not; arguments as of `sgd_bound`."""
    keep, rise1, beta2, rise2, root, eps, step = map(_exact, rule.constants(t))
    w, m, v = map(_exact, (weight, mean, square))
    g = _within(gradient, gradient_error)
    if rule.weight_decay:
        w = w * keep
    m = m + rise1 * (g - m)
    v = beta2 * v + rise2 * g * g
    return (w + step * m / (v.sqrt() / root + eps)).error, m.error, v.error


@dataclass(frozen=True, slots=True)
class _Computed:
    """An exact value in float64, and how far the one computed in FP32 may be off."""

    value: Bound
    error: Bound

    def _rounded(self, value: Bound, error: Bound) -> _Computed:
        magnitude = np.abs(value) + error
        return _Computed(value, _SLACK * (error + U32 * magnitude + _TINY32))

    def __add__(self, other: _Computed) -> _Computed:
        return self._rounded(self.value + other.value, self.error + other.error)

    def __sub__(self, other: _Computed) -> _Computed:
        return self._rounded(self.value - other.value, self.error + other.error)

    def __mul__(self, other: _Computed) -> _Computed:
        error = np.abs(self.value) * other.error + self.error * np.abs(other.value) + self.error * other.error
        return self._rounded(self.value * other.value, error)

    def __truediv__(self, other: _Computed) -> _Computed:
        """The divisor must be positive; there is no bound if it need not be so with its error."""
        least = other.value - other.error
        error = np.divide(
            self.error + np.abs(self.value) / other.value * other.error,
            least,
            out=np.full(np.broadcast_shapes(self.value.shape, least.shape), np.inf),
            where=least > 0,
        )
        return self._rounded(self.value / other.value, error)

    def sqrt(self) -> _Computed:
        """Up to a unit in the last place off, as torch's may be. The root of x + e is at most root x + root e."""
        root = np.sqrt(np.maximum(self.value, 0))
        smooth = np.divide(self.error, root, out=np.full_like(root, np.inf), where=root > 0)
        once = self._rounded(root, np.minimum(np.sqrt(self.error), smooth))
        return self._rounded(once.value, once.error)


def _within(value: NDArray[Any], error: Bound | float) -> _Computed:
    wide = np.asarray(value, np.float64)
    return _Computed(wide, np.broadcast_to(np.asarray(error, np.float64), wide.shape))


def _exact(value: NDArray[Any] | np.float32) -> _Computed:
    wide = np.asarray(value, np.float64)
    return _Computed(wide, np.zeros_like(wide))
