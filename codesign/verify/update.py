"""The update of a recorded layer's weight against PyTorch's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute import update_kernels
from codesign.compute.bounds import Bound, adamw_bound, sgd_bound
from codesign.compute.formats import Float32, Format
from codesign.compute.optimizers import SGD, AdamW
from codesign.verify.check import Check
from workloads.recording import Header


def verify_update(
    layer: str,
    tensors: Mapping[str, NDArray[Any]],
    header: Header,
    gradient: Float32 | None,
    fmt: Format,
) -> Iterator[Check]:
    """Check the master weight after the step. `gradient` is the accelerator's, unscaled, None if it has none.

    What PyTorch did to its gradient before the update (clipping, decay of a method) is done to the accelerator's.
    """
    if gradient is None:
        yield Check(layer, "update", note="there is no weight gradient to update with")
        return
    used = tensors["weight_gradient_used"].astype(np.float32)
    gradient = gradient + (used - tensors["weight_gradient"].astype(np.float32))
    error = np.abs(gradient.astype(np.float64) - used)
    update = _sgd if header.optimizer == "sgd" else _adamw
    weight, bound = update(tensors, header, gradient, used, error, fmt)
    yield Check.of(layer, "update", weight, tensors["weight_after"].astype(np.float32), bound, fmt)


def _sgd(
    tensors: Mapping[str, NDArray[Any]],
    header: Header,
    gradient: Float32,
    used: Float32,
    error: Bound,
    fmt: Format,
) -> tuple[Float32, Bound]:
    options = header.hyperparameters
    rule = SGD(header.lr, options["momentum"], options["weight_decay"])
    weight, velocity = (_fresh(tensors, name) for name in ("weight", "momentum_before"))
    ours, _ = sgd_bound(weight, velocity, used, rule, error)
    theirs, _ = sgd_bound(weight, velocity, used, rule)
    update_kernels.sgd(weight, velocity, np.ascontiguousarray(gradient), rule, fmt)
    return weight, ours + theirs


def _adamw(
    tensors: Mapping[str, NDArray[Any]],
    header: Header,
    gradient: Float32,
    used: Float32,
    error: Bound,
    fmt: Format,
) -> tuple[Float32, Bound]:
    options = header.hyperparameters
    beta1, beta2 = options["betas"]
    rule = AdamW(header.lr, beta1, beta2, options["eps"], options["weight_decay"])
    weight, mean, square = (
        _fresh(tensors, name) for name in ("weight", "exp_avg_before", "exp_avg_sq_before")
    )
    t = header.step + 1
    ours, *_ = adamw_bound(weight, mean, square, used, rule, t, error)
    theirs, *_ = adamw_bound(weight, mean, square, used, rule, t)
    update_kernels.adamw(weight, mean, square, np.ascontiguousarray(gradient), rule, t, fmt)
    return weight, ours + theirs


def _fresh(tensors: Mapping[str, NDArray[Any]], name: str) -> Float32:
    """A copy; state of the optimizer that did not exist yet is zero."""
    values = tensors.get(name)
    return (
        np.zeros(tensors["weight"].shape, np.float32)
        if values is None
        else values.astype(np.float32, order="C")
    )
