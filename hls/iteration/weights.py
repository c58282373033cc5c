"""How convolutions and linear layers take part in an iteration: three products, the update, pruning."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from codesign.compute.geometry import Geometry
from codesign.nm import reference
from codesign.nm.format import NM
from hls.golden import Array
from hls.iteration.layers import Context, Site, Tensors, rows_of
from hls.iteration.network import Conv, Linear
from hls.lower import Compact, Weight, WeightLayer
from hls.program.memory import Tensor
from hls.program.vector_operations import VectorOp
from workloads.ops import GemmOp, Op, Stage

_COMPACT_AXIS = {Stage.FF: 1, Stage.BP: 0}  # of a weight in torch's layout, the axis that a pass sums over


class WeightSite(Site):
    """A convolution or linear layer. A weight that stays dense in a pass is multiplied as its FP16 copy."""

    def __init__(self, context: Context, layer: Conv | Linear, tensors: Tensors) -> None:
        super().__init__(context, layer.name, tensors)
        self._layer = _weight_layer(layer, self.x, self.y)
        shape = self._layer.cout, self._layer.taps, self._layer.cin
        self._weight = self.parameter("weight", shape)
        self._bias = self.parameter("bias", shape[:1]) if layer.bias else None
        self._copy = self.tensor("weight16", shape, "float16")
        self._streams = {
            stage: self._place_streams(stage, context.ratios[layer.name, stage])
            for stage in (Stage.FF, Stage.BP)
            if (layer.name, stage) in context.ratios
        }

    def initial(self, values: Mapping[str, Array]) -> dict[str, Array]:
        layer = self._layer
        tensors = self.given(values, "weight", (layer.cout, layer.cin, layer.taps))
        narrowed = tensors["weight"].astype(np.float16)
        for stage, (_, _, nm) in self._streams.items():
            packed = reference.pack(narrowed, nm, _COMPACT_AXIS[stage])
            tensors |= {f"{stage}_values": packed.values, f"{stage}_indices": packed.index_stream}
        if self._bias:
            tensors |= self.given(values, "bias", (layer.cout,))
        channels_last = {name: tensors[name].swapaxes(1, 2) for name in ("weight", "weight_velocity")}
        return tensors | channels_last | {"weight16": narrowed.swapaxes(1, 2)}

    def ff(self, op: GemmOp) -> None:
        bias = self._bias.master.address if self._bias else None
        plan = self.context.planner.plan(op)
        product = self._layer.forward(plan, self.x.address, self._operand(Stage.FF), self.y.address, bias)
        self.context.builder.product(product, op.name)

    def bp(self, op: GemmOp) -> None:
        plan, dx = self.context.planner.plan(op), self.dx
        for product in self._layer.input_gradient(plan, self.dy, self._operand(Stage.BP), dx):
            self.context.builder.product(product, op.name)
        for zeros in self._layer.untouched(dx):
            self.context.builder.packet(zeros)

    def wu(self, op: GemmOp) -> None:
        plan, dw = self.context.planner.plan(op), self._weight.gradient.address
        product = self._layer.weight_gradient(plan, self.x.address, self.dy, dw)
        self.context.builder.product(product, op.name)

    def bias(self, _: Op) -> None:
        assert self._bias is not None, "the trace has this operation for layers with a bias"
        addresses = {"x": self.dy, "out": self._bias.gradient.address}
        self.vector(VectorOp.COLUMN_SUM, rows_of(self.y), **addresses)

    def update(self, _: Op) -> None:
        """The update, then the next compact weights."""
        builder = self.context.builder
        builder.packet(self._weight.update(self.context, self._copy))
        if self._bias:
            builder.packet(self._bias.update(self.context))
        for stage in self._streams:
            builder.packet(self._layer.prune(stage, self._copy.address, self._compact(stage)))

    def _operand(self, stage: Stage) -> Weight:
        return self._compact(stage) if stage in self._streams else self._copy.address

    def _compact(self, stage: Stage) -> Compact:
        values, indices, nm = self._streams[stage]
        return Compact(values.address, indices.address, nm)

    def _place_streams(self, stage: Stage, nm: NM) -> tuple[Tensor, Tensor, NM]:
        channels = self._layer.cin, self._layer.cout
        k, columns = channels if stage is Stage.FF else reversed(channels)
        vectors = columns * self._layer.taps
        values = self.tensor(f"{stage}_values", (vectors, nm.groups(k), nm.n), "float16")
        return values, self.tensor(f"{stage}_indices", (nm.index_bytes(k, vectors),), "uint8"), nm


def _weight_layer(layer: Conv | Linear, x: Tensor, y: Tensor) -> WeightLayer:
    cin, cout = x.shape[-1], y.shape[-1]
    if isinstance(layer, Linear):
        return WeightLayer(layer.name, x.shape[0], cin, cout, (1, 1), (1, 1), Geometry())
    kernel, stride, padding = ((size, size) for size in (layer.kernel, layer.stride, layer.padding))
    image = x.shape[1], x.shape[2]
    return WeightLayer(layer.name, x.shape[0], cin, cout, image, kernel, Geometry(stride, padding))
