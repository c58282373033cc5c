"""What a weight layer computes in an iteration, by `codesign.functional` in the orders of the schedule."""

from dataclasses import replace

import numpy as np
from hls_networks import filters

from codesign.compute.formats import Format
from codesign.compute.half_kernels import narrow, widen
from codesign.compute.reference_engines import sgd
from codesign.functional import ScheduledOrders, products_of
from codesign.nm.format import NM
from codesign.nm.reference import Compact, pack
from hls.iteration.lower import Iteration, Training
from hls.iteration.network import Conv
from workloads.ops import Stage
from workloads.recording import LayerGeometry


class Recomputed:
    """A weight layer's part of an iteration by `codesign.functional`, from memory before and after."""

    def __init__(self, iteration: Iteration, layer, before, after) -> None:
        self.iteration, self.layer, self.before, self.after = iteration, layer, before, after
        (self.place,) = (site.tensors for site in iteration.sites if site.name == layer.name)
        self.is_conv = isinstance(layer, Conv)
        copy = self.stored("weight16", before).swapaxes(1, 2)  # (Cout, Cin, taps)
        self.weight = copy.reshape(*copy.shape[:2], *[layer.kernel] * 2) if self.is_conv else copy[..., 0]
        self.x, self.y = self.activation(self.place.x[0]), self.activation(self.place.y)
        self.dy = self.activation(replace(self.place.y, address=self.place.dy))
        slides = ([layer.stride] * 2, [layer.padding] * 2, [1, 1]) if self.is_conv else ([], [], [])
        stride, padding, dilation = slides
        kind = "conv" if self.is_conv else "linear"
        geometry = LayerGeometry(kind=kind, stride=stride, padding=padding, dilation=dilation)
        self.products = products_of(geometry, self.x.shape, self.weight.shape)

    def stored(self, name: str, memory):
        """A tensor of the layer."""
        return self.iteration.get(memory, f"{self.layer.name}/{name}")

    def activation(self, tensor):
        """In FP32 and PyTorch's layout."""
        values = widen(tensor.of(self.after), Format.FP16)
        return np.moveaxis(values, -1, 1) if self.is_conv else values

    def operand(self, stage: Stage, nm: NM | None):
        """The weight of a pass, and whether memory holds it in compact form if it is sparse."""
        if nm is None:
            return widen(self.weight, Format.FP16)
        packed = pack(self.weight, nm, 1 if stage is Stage.FF else 0)
        np.testing.assert_array_equal(self.stored(f"{stage}_values", self.before), packed.values)
        np.testing.assert_array_equal(self.stored(f"{stage}_indices", self.before), packed.index_stream)
        return Compact(widen(packed.values, Format.FP16), packed.index_stream, packed.shape, packed.axis, nm)

    def check(self, orders: ScheduledOrders, training: Training) -> None:
        """All that the layer computes."""

        def operand(stage: Stage):
            sparsity = orders.op(self.layer.name, stage).sparsity
            return self.operand(stage, sparsity and sparsity.nm)

        name = self.layer.name
        y = self.products.forward(self.x, operand(Stage.FF), orders.orders(name, Stage.FF))
        if self.layer.bias:
            y += self.stored("bias", self.before).reshape(-1, *[1] * (y.ndim - 2))
        self.assert_stored(y, self.y)
        if self.place.dx is not None:
            dx = self.products.input_gradient(self.dy, operand(Stage.BP), orders.orders(name, Stage.BP))
            self.assert_stored(dx, self.activation(replace(self.place.x[0], address=self.place.dx)))
        dw = filters(self.products.weight_gradient(self.x, self.dy, orders.orders(name, Stage.WU)))
        self.assert_stored(dw, widen(self.stored("weight_gradient", self.after), Format.FP16))
        weight, velocity = (self.stored(part, self.before).copy() for part in ("weight", "weight_velocity"))
        gradient = self.stored("weight_gradient", self.after)
        copy = sgd(weight, velocity, gradient, training.rule, Format.FP16, training.loss_scale)
        for part, values in (
            ("weight", weight),
            ("weight_velocity", velocity),
            ("weight16", copy.view(np.float16)),
        ):
            np.testing.assert_array_equal(self.stored(part, self.after), values)

    @staticmethod
    def assert_stored(sums, stored) -> None:
        """Memory holds the sums, narrowed."""
        np.testing.assert_array_equal(widen(narrow(sums, Format.FP16), Format.FP16), stored)
