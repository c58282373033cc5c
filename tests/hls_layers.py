"""Random convolutions whose passes become programs, for tests of programs and of the kernels that run them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from hls_builds import small
from hypothesis import assume
from hypothesis import strategies as st

from codesign.compute import conv
from codesign.compute.formats import Format
from codesign.compute.geometry import Geometry
from codesign.compute.half_kernels import narrow, widen
from codesign.compute.order import Order
from codesign.compute.pack_kernels import pack
from codesign.nm.format import NM
from codesign.schedule.planner import Plan
from codesign.schedule.tiling import Pieces, Tiling
from hls.golden import Golden
from hls.lower import Compact, WeightLayer
from hls.program.builder import ProgramBuilder
from hls.program.encoding import packets
from hls.program.machine import Machine
from hw_models.timing import Dataflow
from workloads.ops import Stage

ROOMY = small(4, "2:4", "2:8")
TIGHT = small(
    4,
    "2:4",
    "2:8",
    buffers__activation__capacity_bytes=4096,
    buffers__activation__banks=4,
    buffers__weight__capacity_bytes=4096,
    buffers__weight__banks=4,
    buffers__output__capacity_bytes=2048,
    buffers__output__banks=4,
)
DENSE = NM(8, 8)


def halves(generator, *shape):
    """Random FP16 numbers of different magnitudes, so that the order of sums shows, zeros among them."""
    wide = generator.standard_normal(shape) * 2.0 ** generator.integers(-4, 5, shape)
    wide[generator.random(shape) < 0.1] = 0
    return narrow(wide.astype(np.float32), Format.FP16)


def pixels(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def filters(w):
    return np.ascontiguousarray(w.reshape(*w.shape[:2], -1).transpose(0, 2, 1))


class Case:
    """A convolution, its operands, and a builder whose memory holds them."""

    def __init__(self, config, geometry, kernel, image, samples, cin, cout, seed=0, wide=False):
        self.wide = wide  # sums are stored as they are, so that every bit of them counts
        generator = np.random.default_rng(seed)
        self.layer = WeightLayer("conv", samples, cin, cout, image, kernel, geometry)
        self.x = halves(generator, samples, cin, *image)
        self.w = halves(generator, cout, cin, *kernel)
        self.dy = halves(generator, samples, cout, *self.layer.out)
        self.bias = generator.standard_normal(cout).astype(np.float32)
        self.builder = ProgramBuilder(config)
        self.golden = Golden(self.builder)

    def weight(self, nm, axis):
        """In memory, and for `codesign.compute.conv`."""
        wide = widen(self.w, Format.FP16)
        if nm.dense:
            return self.golden.give("w", filters(self.w)), wide
        packed, wide_packed = pack(self.w, nm, axis, Format.FP16), pack(wide, nm, axis)
        return Compact(
            self.golden.give("v", packed.values), self.golden.give("i", packed.index_stream), nm
        ), wide_packed

    def stored(self, sums):
        return sums if self.wide else narrow(sums, Format.FP16)

    def emit(self, product, name):
        store = replace(product.store, wide=int(self.wide))
        self.builder.product(replace(product, store=store), name)

    def forward(self, plan, orders):
        w, operand = self.weight(plan.products[0].nm, 1)
        y = conv.forward(widen(self.x, Format.FP16), operand, self.layer.geometry, orders[0])
        expected = pixels(self.stored(y + self.bias.reshape(-1, 1, 1)))
        x, bias = self.golden.give("x", pixels(self.x)), self.golden.give("bias", self.bias)
        y_at = self.golden.expect("out", expected)
        self.emit(self.layer.forward(plan, x, w, y_at, bias), "conv FF")

    def input_gradient(self, plan, orders):
        w, operand = self.weight(plan.products[0].nm, 0)
        image = self.layer.image
        dx = conv.input_gradient(widen(self.dy, Format.FP16), operand, self.layer.geometry, image, orders)
        expected = pixels(self.stored(dx))
        dy = self.golden.give("dy", pixels(self.dy))
        dx_at = self.golden.expect("out", expected)
        for each in self.layer.input_gradient(plan, dy, w, dx_at):
            self.emit(each, "conv BP")
        for zeros in self.layer.untouched(dx_at):
            self.builder.packet(replace(zeros, wide=int(self.wide)))

    def weight_gradient(self, plan, orders):
        wide = widen(self.x, Format.FP16), widen(self.dy, Format.FP16)
        dw = conv.weight_gradient(*wide, self.layer.kernel, self.layer.geometry, orders[0])
        expected = filters(self.stored(dw))
        x, dy = self.golden.give("x", pixels(self.x)), self.golden.give("dy", pixels(self.dy))
        dw_at = self.golden.expect("out", expected)
        self.emit(self.layer.weight_gradient(plan, x, dy, dw_at), "conv WU")

    def memory_after(self, program, backwards=False):
        """Memory after the machine ran a program; instructions of a packet in their order or the other way round."""
        machine = Machine(self.builder.config, self.golden.image())
        for packet in packets(program.instructions):
            for instruction in reversed(packet) if backwards else packet:
                machine.execute(instruction)
        return machine.memory

    def holds(self, backwards=False):
        """Whether the machine computes what is expected."""
        after = self.memory_after(self.builder.build(), backwards)
        return not any(self.golden.mismatches(after).values())


def plan_of(layer, stage, nm, flow, draw_size, order="ij", rows=4):
    """A plan with tile sizes of `draw_size(length, unit)`, and its orders on an array of `rows`."""
    tilings, orders = [], []
    taps = [len(phase.taps) for phase in layer.geometry.phases(layer.kernel)]
    outputs = layer.samples * layer.out[0] * layer.out[1]
    shapes = {
        Stage.FF: [(outputs, layer.cin, layer.cout, layer.taps)],
        Stage.BP: [(layer.samples * layer.image[0] * layer.image[1], layer.cout, layer.cin, t) for t in taps],
        Stage.WU: [(layer.cin, outputs, layer.cout, 1)],
    }[stage]
    unit = 1 if nm.dense else nm.m
    for i, k, j, folded in shapes:
        per_unit = layer.taps if stage is Stage.WU else 1
        size = folded * draw_size(k, unit)
        i_cut = Pieces.cut(i * per_unit, per_unit * draw_size(i, 1))
        tilings.append(Tiling(i_cut, Pieces.cut(k * folded, size), Pieces.cut(j, draw_size(j, 1)), order))
        orders.append(Order.ws(rows, nm.m, size) if flow is Dataflow.WS else Order.os(size))
    products = tuple(SimpleNamespace(nm=nm, sparse=not nm.dense) for _ in shapes)
    return Plan(flow, products, tuple(tilings), ()), orders


def whole(length, _unit):
    return length


PASSES = {Stage.FF: Case.forward, Stage.BP: Case.input_gradient, Stage.WU: Case.weight_gradient}


@st.composite
def layers(draw):
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, dilation, stride = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    extra = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    image = tuple(max(1, (kernel[d] - 1) * dilation[d] + 1 - 2 * padding[d]) + extra[d] for d in (0, 1))
    channels = draw(st.tuples(st.sampled_from((16, 24, 8, 3, 1)), st.sampled_from((24, 16, 8, 5, 1))))
    return Geometry(stride, padding, dilation), kernel, image, draw(st.integers(1, 2)), *channels


@st.composite
def cases(draw, configs):
    """A pass of a random layer in random tiles, lowered."""
    shape, stage, flow = (
        draw(layers()),
        draw(st.sampled_from(list(PASSES))),
        draw(st.sampled_from(list(Dataflow))),
    )
    geometry, kernel, _, _, cin, cout = shape
    assume(stage is not Stage.BP or geometry.phases(kernel))
    length = {Stage.FF: cin, Stage.BP: cout, Stage.WU: 1}[stage]
    ratios = [nm for nm in (DENSE, NM(2, 4), NM(2, 8)) if nm.dense or length % nm.m == 0]

    def size(length, unit):
        return min(length, unit * -(-length // (unit * draw(st.sampled_from((1, 1, 2, 3, 9))))))

    case = Case(
        draw(st.sampled_from(configs)), *shape, seed=draw(st.integers(0, 99)), wide=draw(st.booleans())
    )
    order = draw(st.sampled_from(("ij", "ji")))
    PASSES[stage](case, *plan_of(case.layer, stage, draw(st.sampled_from(ratios)), flow, size, order))
    return case
