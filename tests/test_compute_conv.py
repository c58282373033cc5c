"""Convolution in all three passes: one contract for numpy, compiled loops and torch; bits by im2col in numpy."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from codesign.compute import bounds, conv, half_kernels, reference
from codesign.compute.formats import Format
from codesign.compute.geometry import Geometry
from codesign.compute.order import Order
from codesign.errors import FormatError, SpecError
from codesign.nm import reference as nm_reference
from codesign.nm.format import NM
from codesign.nm.reference import Compact
from workloads.gemms import forward_gemm, input_gradient_gemms, weight_gradient_gemm
from workloads.graph import Graph

torch.set_num_threads(1)


def halves(generator, shape):
    """Random FP16 numbers as float32, zeros among them."""
    wide = np.where(generator.random(shape) < 0.1, 0, generator.standard_normal(shape)).astype(np.float32)
    return half_kernels.widen(half_kernels.narrow(wide, Format.FP16), Format.FP16)


def case_of(geometry, kernel, image, samples, cin, cout, seed=0):
    """Operands of the three passes; `nm` divides the channels of a group."""
    generator = np.random.default_rng(seed)
    x = halves(generator, (samples, cin, *image))
    w = halves(generator, (cout, cin // geometry.groups, *kernel))
    dy = halves(generator, (samples, cout, *geometry.out_size(image, kernel)))
    return SimpleNamespace(x=x, w=w, dy=dy, geometry=geometry, kernel=kernel, image=image)


CASES = {
    "same padding": case_of(Geometry(padding=(1, 1)), (3, 3), (5, 6), 2, 4, 8),
    "stride that leaves a rest": case_of(Geometry((2, 2), (1, 1)), (3, 3), (7, 6), 1, 8, 4),
    "1 x 1 with a stride": case_of(Geometry((2, 2)), (1, 1), (5, 5), 2, 4, 4),
    "stride beyond the kernel": case_of(Geometry((3, 3)), (2, 2), (8, 7), 1, 4, 4),
    "patches": case_of(Geometry((4, 4)), (4, 4), (8, 8), 1, 4, 8),
    "everything uneven": case_of(Geometry((2, 3), (2, 0), (2, 1), 2), (3, 2), (9, 8), 2, 8, 16),
    "depthwise": case_of(Geometry(padding=(0, 1), dilation=(1, 2), groups=4), (3, 3), (6, 9), 1, 4, 4),
    "a large border": case_of(Geometry(padding=(3, 4)), (2, 3), (2, 2), 1, 4, 4),
}


@st.composite
def cases(draw):
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, dilation, stride = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    geometry = Geometry(stride, padding, dilation, draw(st.sampled_from((1, 1, 2))))
    extra = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    image = tuple(max(1, (kernel[d] - 1) * dilation[d] + 1 - 2 * padding[d]) + extra[d] for d in (0, 1))
    cin, cout = (4 * geometry.groups * draw(st.integers(1, 2)) for _ in range(2))
    return case_of(geometry, kernel, image, draw(st.integers(1, 2)), cin, cout, draw(st.integers(0, 999)))


ORDERS = {
    "os": lambda taps: Order.os(),
    "ws": lambda taps: Order.ws(2, 4),
    "ws in tiles": lambda taps: Order.ws(1, 4, tile_k=4 * taps),
}


def ordered(real, order):
    """The three passes of a realisation; `order(taps)` makes an order, or None."""

    def passes(case, w_forward, w_backward):
        kernel, geometry = case.kernel, case.geometry
        orders = [order(len(phase.taps)) for phase in geometry.phases(kernel)]
        return (
            real.forward(case.x, w_forward, geometry, order(kernel[0] * kernel[1])),
            real.input_gradient(case.dy, w_backward, geometry, case.image, orders),
            real.weight_gradient(case.x, case.dy, kernel, geometry, order(1)),
        )

    return passes


def fast(case, w_forward, w_backward):
    return (
        conv.forward(case.x, w_forward, case.geometry),
        conv.input_gradient(case.dy, w_backward, case.geometry, case.image),
        conv.weight_gradient(case.x, case.dy, case.kernel, case.geometry),
    )


def in_torch(case, w_forward, w_backward, dtype=torch.float32):
    """Torch's own convolutions, summed in whatever order it likes."""
    results = []
    for w in (w_forward, w_backward):
        x, w, dy = (torch.from_numpy(part).to(dtype).requires_grad_() for part in (case.x, dense(w), case.dy))
        g = case.geometry
        y = torch.nn.functional.conv2d(x, w, None, g.stride, g.padding, g.dilation, g.groups)
        y.backward(dy.detach())
        results.append((y.detach().numpy(), x.grad.numpy(), w.grad.numpy()))
    return results[0][0], results[1][1], results[1][2]


def dense(w):
    return nm_reference.unpack(w) if isinstance(w, Compact) else w


def weights(case, sparse):
    """For the forward and the backward pass."""
    return [nm_reference.pack(case.w, NM(2, 4), axis) for axis in (1, 0)] if sparse else [case.w, case.w]


REALISATIONS = {
    "reference": ordered(reference, ORDERS["ws in tiles"]),
    "compiled": ordered(conv, ORDERS["ws in tiles"]),
    "fast": fast,
    "torch": in_torch,
}
SPARSE_CASES = [(name, False) for name in CASES] + [
    (name, True)
    for name, case in CASES.items()
    if case.w.shape[1] % 4 == case.w.shape[0] // case.geometry.groups % 4 == 0
]


@pytest.mark.parametrize("real", REALISATIONS)
class TestConvolution:
    @pytest.mark.parametrize(("name", "sparse"), SPARSE_CASES)
    def test_errors_of_all_passes_are_within_the_bounds(self, real, name, sparse):
        case = CASES[name]
        pair = weights(case, sparse)
        exact = in_torch(case, *pair, torch.float64)
        absolute = SimpleNamespace(**vars(case) | {part: np.abs(getattr(case, part)) for part in ("x", "dy")})
        magnitudes = in_torch(absolute, *(np.abs(dense(w)) for w in pair), torch.float64)
        taps, pixels = case.kernel[0] * case.kernel[1], case.dy[:, 0].size
        lengths = taps * case.w.shape[1], taps * case.w.shape[0], pixels
        for result, value, magnitude, k in zip(
            REALISATIONS[real](case, *pair), exact, magnitudes, lengths, strict=True
        ):
            bound = bounds.sum_bound(magnitude, bounds.roundings(Order().walk(k), exact_products=True))
            assert (np.abs(result - value) <= bound).all()


def assert_same_bits(case, order, sparse):
    pair = weights(case, sparse)
    for compiled, expected in zip(
        ordered(conv, order)(case, *pair), ordered(reference, order)(case, *pair), strict=True
    ):
        np.testing.assert_array_equal(
            compiled.view(np.uint32), np.ascontiguousarray(expected).view(np.uint32)
        )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("name", "sparse"), SPARSE_CASES)
def test_compiled_passes_are_im2col_and_an_ordered_product(name, sparse, order):
    assert_same_bits(CASES[name], ORDERS[order], sparse)


@given(case=cases(), order=st.sampled_from(sorted(ORDERS)), sparse=st.booleans())
@settings(deadline=None, max_examples=40)
def test_compiled_passes_agree_for_any_geometry(case, order, sparse):
    assert_same_bits(case, ORDERS[order], sparse)


@given(cases())
@settings(deadline=None, max_examples=40)
def test_products_are_those_of_the_workload(case):
    # same reductions, and as many multiplications in the input gradient as in the forward pass
    geometry = case.geometry
    assume(geometry.stride[0] == geometry.stride[1])
    graph = Graph(len(case.x))
    image = graph.input(case.x.shape[1], *case.image)
    node = graph.conv(
        image, case.w.shape[0], case.kernel, "conv", stride=geometry.stride[0], padding=geometry.padding,
        dilation=geometry.dilation, groups=geometry.groups,
    )  # fmt: skip
    assert node.shape == case.dy.shape
    assert [gemm.taps for gemm in input_gradient_gemms(node)] == [
        len(phase.taps) for phase in geometry.phases(case.kernel)
    ]
    assert forward_gemm(node).k == case.w[0].size
    assert weight_gradient_gemm(node).k == case.dy[:, 0].size


def test_stride_phases_by_hand():
    # 3 taps 2 apart, stride 3: shifts 0, 2, 4 lie 0, 0 and 1 strides back, at offsets 0, 2, 1
    phases = Geometry(stride=(3, 1), dilation=(2, 1)).phases((3, 1))
    assert [(phase.offset[0], phase.taps, phase.reach[0][0]) for phase in phases] == [
        (0, (0,), 0), (2, (1,), 0), (1, (2,), 1)
    ]  # fmt: skip
    # the published case: a 3 x 3 kernel with stride 2 has phases of 4, 2, 2 and 1 taps
    assert [len(phase.taps) for phase in Geometry((2, 2)).phases((3, 3))] == [4, 2, 2, 1]


@pytest.mark.parametrize("real", [reference, conv])
def test_refusals(real):
    case = CASES["same padding"]
    order, orders = Order.os(), [Order.os()]
    with pytest.raises(SpecError, match=r"kernel \(9, 9\) does not fit into image \(5, 6\)"):
        real.forward(case.x, np.zeros((8, 4, 9, 9), np.float32), case.geometry, order)
    with pytest.raises(SpecError, match=r"input \(2, 3, 5, 6\) with weight \(8, 4, 3, 3\): expected"):
        real.forward(case.x[:, 1:], case.w, case.geometry, order)
    with pytest.raises(SpecError, match=r"output gradient of shape \(2, 8, 4, 6\): expected \(2, 8, 5, 6\)"):
        real.input_gradient(case.dy[:, :, 1:], case.w, case.geometry, case.image, orders)
    with pytest.raises(FormatError, match=r"along axis 0: expected \(Cout, Cin, taps, taps\) along axis 1"):
        real.forward(case.x, nm_reference.pack(case.w, NM(2, 4), 0), case.geometry, order)
    with pytest.raises(FormatError, match="type float64: expected float32"):
        real.forward(case.x, case.w.astype(np.float64), case.geometry, order)
    with pytest.raises(SpecError, match="channels 0 to 2: expected multiples of 4"):
        halved = Geometry(padding=(1, 1), groups=2)
        real.input_gradient(
            case.dy[:, :4], nm_reference.pack(case.w[:4, :2], NM(2, 4), 0), halved, case.image, orders
        )
    with pytest.raises(SpecError, match="expected a padding of at least 0, and at least 1"):
        Geometry(stride=(0, 1))
