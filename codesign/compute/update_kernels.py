"""The update that WUVE makes, compiled; `codesign.compute.optimizers` states the rules."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute.formats import Bits, Float32, Format, float32_of
from codesign.compute.half_kernels import narrow, widen
from codesign.compute.optimizers import SGD, AdamW
from codesign.compute.threads import in_parallel
from codesign.errors import SpecError
from codesign.nm.jit_kernels import compiled

Array = NDArray[Any]

_GRAIN = 1 << 16  # parameters; some 30 microseconds


def sgd(
    weight: Float32,
    velocity: Float32,
    gradient: Array,
    rule: SGD,
    fmt: Format,
    loss_scale: float = 1.0,
) -> Bits:
    """One step, `weight` and `velocity` in place; returns the next weight in `fmt`.

    All of one shape, contiguous. `gradient` is float32 or 16-bit, in `fmt`. Raises FormatError for another type,
    SpecError for another shape or memory order.
    """
    flat = _flat(weight, velocity, _float32(gradient, fmt))
    switches = bool(rule.weight_decay), bool(rule.momentum)
    constants = np.float32(1 / loss_scale), *rule.constants()
    in_parallel(lambda a, b: _sgd(*(part[a:b] for part in flat), *switches, *constants), weight.size, _GRAIN)
    return narrow(weight, fmt)


def adamw(
    weight: Float32,
    mean: Float32,
    square: Float32,
    gradient: Array,
    rule: AdamW,
    t: int,
    fmt: Format,
    loss_scale: float = 1.0,
) -> Bits:
    """Step `t` (from 1), `weight`, `mean` and `square` in place; returns the next weight in `fmt`.

    Arguments and errors are those of `sgd`.
    """
    flat = _flat(weight, mean, square, _float32(gradient, fmt))
    constants = np.float32(1 / loss_scale), *rule.constants(t)
    decays = bool(rule.weight_decay)
    in_parallel(lambda a, b: _adamw(*(part[a:b] for part in flat), decays, *constants), weight.size, _GRAIN)
    return narrow(weight, fmt)


def _float32(gradient: Array, fmt: Format) -> Float32:
    return gradient if gradient.dtype == np.float32 else widen(gradient, fmt)


def _flat(*arrays: Float32) -> list[Float32]:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or not all(array.flags.c_contiguous for array in arrays):
        raise SpecError(
            f"weight, state and gradient of shapes {sorted(shapes)}: expected one shape, contiguous in memory"
        )
    return [float32_of(array).reshape(-1) for array in arrays]


@compiled
def _sgd(weight, velocity, gradient, decays, moves, unscale, decay, momentum, step):  # type: ignore[no-untyped-def]
    for e in range(weight.size):
        g = gradient[e] * unscale
        if decays:
            g = g + decay * weight[e]
        if moves:
            g = momentum * velocity[e] + g
            velocity[e] = g
        weight[e] = weight[e] + step * g


@compiled
def _adamw(  # type: ignore[no-untyped-def]
    weight, mean, square, gradient, decays, unscale, keep, rise1, beta2, rise2, root, eps, step
):
    for e in range(weight.size):
        g = gradient[e] * unscale
        w = weight[e] * keep if decays else weight[e]
        mean[e] = mean[e] + rise1 * (g - mean[e])
        square[e] = beta2 * square[e] + rise2 * g * g
        weight[e] = w + step * mean[e] / (np.sqrt(square[e]) / root + eps)
