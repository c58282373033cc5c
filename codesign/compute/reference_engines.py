"""SORE and WUVE in numpy, slow and obvious: the oracle for the compiled engines.

`codesign.nm.format` and `codesign.compute.optimizers` state the rules.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute.formats import Bits, Float32, Format
from codesign.compute.optimizers import SGD, AdamW
from codesign.compute.reference import narrow, widen
from codesign.nm.format import NM
from codesign.nm.reference import magnitude_keys

Array = NDArray[Any]


def sore(groups: Array, nm: NM) -> tuple[Array, NDArray[np.int64]]:
    """Kept values and their indices (groups, N) of dense `groups` (groups, M), as a lane of SORE finds them.

    A lane holds N entries, largest magnitude first. In each of M cycles one value enters: it passes every entry that
    is at least as large (only a strictly larger value displaces one, so ties keep the lowest index), takes the place
    of the next and moves the rest down; the last falls out. A bit for each member of the group tells who is in; when
    all have entered, those are emitted in ascending order.
    """
    keys = magnitude_keys(groups).astype(np.int64)
    held = np.full((len(groups), nm.n), -1)  # an empty entry is smaller than any key
    places = np.zeros(held.shape, np.int64)
    for cycle in range(nm.m):
        entering = keys[:, cycle]
        rank = (held >= entering[:, np.newaxis]).sum(axis=1)
        for entry in reversed(range(nm.n)):
            for state, new in ((held, entering), (places, cycle)):
                moved_down = state[:, entry - 1]
                state[:, entry] = np.select([entry > rank, entry == rank], [moved_down, new], state[:, entry])
    kept = np.sort(places, axis=1)
    return np.take_along_axis(groups, kept, axis=1), kept


def sgd(
    weight: Float32,
    velocity: Float32,
    gradient: Array,
    rule: SGD,
    fmt: Format,
    loss_scale: float = 1.0,
) -> Bits:
    """One step in place; returns the next weight in `fmt`. `gradient` is float32, or patterns of `fmt`."""
    decay, momentum, step = rule.constants()
    g = _unscaled(gradient, fmt, loss_scale)
    with np.errstate(all="ignore"):
        if rule.weight_decay:
            g = g + decay * weight
        if rule.momentum:
            g = velocity[...] = momentum * velocity + g
        weight[...] = weight + step * g
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
    """Step `t` (from 1) in place; returns the next weight in `fmt`. `gradient` is float32, or patterns of `fmt`."""
    keep, rise1, beta2, rise2, root, eps, step = rule.constants(t)
    g = _unscaled(gradient, fmt, loss_scale)
    with np.errstate(all="ignore"):
        if rule.weight_decay:
            weight[...] = weight * keep
        mean[...] = mean + rise1 * (g - mean)
        square[...] = beta2 * square + rise2 * g * g
        weight[...] = weight + step * mean / (np.sqrt(square) / root + eps)
    return narrow(weight, fmt)


def _unscaled(gradient: Array, fmt: Format, loss_scale: float) -> Float32:
    wide: Float32 = gradient if gradient.dtype == np.float32 else widen(gradient, fmt)
    return wide if loss_scale == 1 else (wide * np.float32(1 / loss_scale)).astype(np.float32)
