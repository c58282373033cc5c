"""A layer's part of a training step, computed as the accelerator would: 16-bit operands, FP32 sums in schedule order.

A product's order of summation follows from the dataflow and the tile sizes that the scheduler chose for it
(`codesign.compute.order`); everything else about a schedule decides when a result is there, not what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from codesign.compute import conv
from codesign.compute.formats import Float32, Format
from codesign.compute.gemm import gemm
from codesign.compute.geometry import Geometry, Pair
from codesign.compute.half_kernels import narrow, widen
from codesign.compute.order import Order
from codesign.errors import TraceError
from codesign.nm.reference import Compact
from codesign.schedule.planner import Planner
from hw_models.arch import Arch
from workloads.ops import GemmOp, Stage
from workloads.recording import LayerGeometry
from workloads.trace import Trace

Orders = Sequence[Order] | None
"""One for each product of an operation; None sums as fast as possible."""


def stored(values: Float32, fmt: Format) -> Float32:
    """`values` as memory holds them."""
    return widen(narrow(values, fmt), fmt)


class Products(Protocol):
    """The three products of a weight layer, on float32 tensors in torch's layout; weights may be compact.

    `reductions` tells for each stage how long the sums of its products are, and how many taps are folded into them.
    """

    def reductions(self, stage: Stage) -> Sequence[tuple[int, int]]: ...

    def forward(self, x: Float32, w: Float32 | Compact, orders: Orders = None) -> Float32: ...

    def input_gradient(self, g: Float32, w: Float32 | Compact, orders: Orders = None) -> Float32: ...

    def weight_gradient(self, x: Float32, g: Float32, orders: Orders = None) -> Float32: ...


class LinearProducts(NamedTuple):
    """Of a linear layer: x (..., Cin), w (Cout, Cin), g (..., Cout)."""

    rows: int
    cin: int
    cout: int

    def reductions(self, stage: Stage) -> Sequence[tuple[int, int]]:
        return [({Stage.FF: self.cin, Stage.BP: self.cout, Stage.WU: self.rows}[stage], 1)]

    def forward(self, x: Float32, w: Float32 | Compact, orders: Orders = None) -> Float32:
        y = gemm(_rows(x), w if isinstance(w, Compact) else w.T, _only(orders))
        return y.reshape(*x.shape[:-1], self.cout)

    def input_gradient(self, g: Float32, w: Float32 | Compact, orders: Orders = None) -> Float32:
        return gemm(_rows(g), w, _only(orders)).reshape(*g.shape[:-1], self.cin)

    def weight_gradient(self, x: Float32, g: Float32, orders: Orders = None) -> Float32:
        return gemm(_rows(x).T, _rows(g), _only(orders)).T


class ConvProducts(NamedTuple):
    """Of a 2-D convolution: x (B, Cin, H, W), w (Cout, Cin / groups, taps, taps), g (B, Cout, Ho, Wo)."""

    geometry: Geometry
    weight: tuple[int, ...]
    image: Pair
    pixels: int  # of the output, all samples together

    def reductions(self, stage: Stage) -> Sequence[tuple[int, int]]:
        cout, cin, *kernel = self.weight
        taps = kernel[0] * kernel[1]
        if stage is Stage.FF:
            return [(cin * taps, taps)]
        if stage is Stage.WU:
            return [(self.pixels, 1)]
        phases = self.geometry.phases((kernel[0], kernel[1]))
        channels = cout // self.geometry.groups
        return [(channels * len(phase.taps), len(phase.taps)) for phase in phases]

    def forward(self, x: Float32, w: Float32 | Compact, orders: Orders = None) -> Float32:
        return conv.forward(x, w, self.geometry, _only(orders))

    def input_gradient(self, g: Float32, w: Float32 | Compact, orders: Orders = None) -> Float32:
        return conv.input_gradient(g, w, self.geometry, self.image, orders)

    def weight_gradient(self, x: Float32, g: Float32, orders: Orders = None) -> Float32:
        kernel = self.weight[2], self.weight[3]
        return conv.weight_gradient(x, g, kernel, self.geometry, _only(orders))


def products_of(geometry: LayerGeometry, x_shape: Sequence[int], w_shape: Sequence[int]) -> Products:
    """The products of a recorded layer. Raises TraceError for one that is neither linear nor a 2-D convolution."""
    if geometry.kind == "linear" and len(w_shape) == 2 and w_shape[1] == x_shape[-1]:
        rows = 1
        for size in x_shape[:-1]:
            rows *= size
        return LinearProducts(rows, w_shape[1], w_shape[0])
    if geometry.kind == "conv" and len(w_shape) == len(x_shape) == 4:
        stride, padding, dilation = (
            (sizes[0], sizes[1]) for sizes in (geometry.stride, geometry.padding, geometry.dilation)
        )
        slide = Geometry(stride, padding, dilation, geometry.groups)
        sizes = slide.fit(tuple(w_shape), tuple(x_shape))
        image = x_shape[2], x_shape[3]
        return ConvProducts(slide, tuple(w_shape), image, x_shape[0] * sizes.out[0] * sizes.out[1])
    raise TraceError(
        f"recorded {geometry.kind} layer with a weight of shape {list(w_shape)} and an input of shape "
        f"{list(x_shape)}; expected a linear layer or a 2-D convolution"
    )


@dataclass(frozen=True)
class ScheduledOrders:
    """In which order the products of an iteration, its sparse operands marked, are summed up on an architecture."""

    planner: Planner
    ops: dict[tuple[str, Stage], GemmOp]

    @classmethod
    def of(cls, arch: Arch, iteration: Trace) -> ScheduledOrders:
        """Plan nothing yet."""
        return cls(Planner(arch), {(op.layer, op.stage): op for op in iteration.gemms()})

    def op(self, layer: str, stage: Stage) -> GemmOp:
        """The operation of a layer. Raises TraceError if there is none."""
        if (layer, stage) not in self.ops:
            raise TraceError(
                f"the trace has no {stage} product of recorded layer {layer!r}; record both again"
            )
        return self.ops[layer, stage]

    def orders(self, layer: str, stage: Stage) -> list[Order]:
        """One for each product. Raises what `op` raises, and ScheduleError if a buffer cannot hold one tile."""
        plan = self.planner.plan(self.op(layer, stage))
        rows = self.planner.arch.array.rows
        return [
            Order.ws(rows, product.nm.m, tiling.k.size) if plan.dataflow == "ws" else Order.os(tiling.k.size)
            for product, tiling in zip(plan.products, plan.tilings, strict=True)
        ]


def _rows(x: Float32) -> Float32:
    return x.reshape(-1, x.shape[-1])


def _only(orders: Orders) -> Order | None:
    if orders is None:
        return None
    (order,) = orders
    return order
