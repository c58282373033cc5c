"""A recorded training step computed again as the accelerator would, and held against what PyTorch got.

Each pass starts from the operands that PyTorch had, so that errors do not add up from layer to layer. They may differ
for three reasons, and for no other: the accelerator's operands and results have 16 bits; both round each addition, in
different orders; and of two weights that are equal in 16 bits the one with the lower index is kept, which need not be
the larger one in FP32. The bound of every element is derived from these (`codesign.compute.bounds`), with the
operands at hand. Gradients are multiplied by a power of two, as in mixed-precision training, so that 16 bits hold
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, log2

import numpy as np

from codesign.compute.formats import Format
from codesign.errors import TraceError
from codesign.functional import ScheduledOrders
from codesign.simulate_run import phase_trace
from codesign.verify.check import Check
from codesign.verify.layer import LayerProducts
from codesign.verify.update import verify_update
from hw_models.arch import Arch
from workloads.recording import Recording
from workloads.run_trace import RunTrace
from workloads.trace import Trace

__all__ = ["Check", "loss_scale", "recorded_iteration", "verify"]


def verify(
    arch: Arch, trace: RunTrace, recording: Recording, *, on_layer: Callable[[int, int], None] | None = None
) -> Iterator[Check]:
    """Check every recorded layer: FF, BP, WU, the pruned weights and the update.

    Raises TraceError if trace and recording do not belong together.
    """
    fmt = Format.BF16 if recording.header.dtype == "bfloat16" else Format.FP16
    orders = ScheduledOrders.of(arch, recorded_iteration(arch, trace, recording.header.step))
    scale = loss_scale(recording, fmt)
    for number, (name, tensors) in enumerate(recording.layers.items(), start=1):
        layer = LayerProducts(
            name, recording.header.layers[name], tensors, orders, fmt, scale, recording.header.dtype
        )
        gradient = yield from layer.products()
        yield from verify_update(name, tensors, recording.header, gradient, fmt)
        if on_layer:
            on_layer(number, len(recording.layers))


def loss_scale(recording: Recording, fmt: Format) -> float:
    """The largest power of two that leaves every recorded gradient a factor of two below overflow; 1 for BF16."""
    if fmt is Format.BF16:
        return 1.0
    names = ("output_gradient", "input_gradient", "weight_gradient")
    largest = max(
        float(np.abs(tensors[name]).max())
        for tensors in recording.layers.values()
        for name in names
        if name in tensors
    )
    return 2.0 ** (ceil(log2(fmt.overflow)) - 1 - ceil(log2(largest))) if largest > 0 else 1.0


def recorded_iteration(arch: Arch, trace: RunTrace, step: int) -> Trace:
    """The iteration of the phase that contains a step, its operands marked. Raises TraceError if there is none."""
    if trace.run is None:
        raise TraceError("the trace is not of a training run; expected one that `codesign train` recorded")
    for phase in trace.run.phases:
        if phase.first_step <= step < phase.first_step + phase.steps:
            return phase_trace(arch, trace.iteration, trace.run.method, phase.decisions)
    raise TraceError(f"the run has no step {step}, at which the tensors were recorded; record both again")
