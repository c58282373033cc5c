"""Products: one contract for numpy, compiled loops and torch; bits by the written-out sum, errors by their bound."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.compute import bounds, gemm, half_kernels, reference
from codesign.compute.formats import Format
from codesign.compute.order import Order
from codesign.compute.threads import use_threads
from codesign.errors import FormatError, SpecError
from codesign.nm import reference as nm_reference
from codesign.nm.format import NM
from codesign.nm.reference import Compact, indices

torch.set_num_threads(1)

RATIOS = [NM.parse(text) for text in ("1:2", "2:4", "3:5", "2:8", "7:8", "4:4", "8:32", "1:1")]


def torch_gemm(a, b, order, onto=None):
    """Torch's additions and multiplications of whole matrices, in order."""
    a = torch.from_numpy(np.ascontiguousarray(a))
    kept, places, m = _columns(b)
    ends, k = set(order.walk(a.shape[1]).ends.tolist()), 0
    run = torch.zeros(len(a), kept.shape[2])
    total = run if onto is None else torch.from_numpy(onto)
    for group in range(len(kept)):
        for value, place in zip(kept[group], places[group], strict=True):
            run = run + a[:, k + place] * value
        k += m
        if k in ends:
            total, run = total + run, torch.zeros_like(run)
    return total.numpy()


def _columns(b):
    """Values and indices (groups, N, J), and M, of a dense or compact operand."""
    if not isinstance(b, Compact):
        dense = torch.from_numpy(np.ascontiguousarray(b))[:, None, :]
        return dense, torch.zeros(dense.shape, dtype=torch.long), 1
    tensors = (torch.from_numpy(np.array(part.transpose(1, 2, 0))) for part in (b.values, indices(b)))
    return *tensors, b.nm.m


def written_out(a, b, order):
    """The sums of `codesign.compute.order`, word for word, one float at a time."""
    kept, places, m = (part.numpy() if isinstance(part, torch.Tensor) else part for part in _columns(b))
    walk = order.walk(a.shape[1])
    y = np.empty((len(a), kept.shape[2]), np.float32)
    with np.errstate(all="ignore"):
        for i, j in np.ndindex(y.shape):
            total, start = np.float32(0), 0
            for end in walk.ends:
                s = np.float32(0)
                for group in range(start // m, end // m):
                    for value, place in zip(kept[group, :, j], places[group, :, j], strict=True):
                        s = s + np.float32(a[i, group * m + place] * value)
                total, start = total + s, end
            y[i, j] = total
    return y


ORDERED = pytest.mark.parametrize("real", [reference.gemm, gemm.gemm, torch_gemm])
ANY_ORDER = {
    "reference": partial(reference.gemm, order=Order.ws(2, 40)),
    "compiled": partial(gemm.gemm, order=Order.ws(2, 40)),
    "fast": gemm.gemm,
    "torch": lambda a, b: (torch.from_numpy(a) @ torch.from_numpy(_dense(b))).numpy(),
}


def _dense(b):
    return nm_reference.unpack(b) if isinstance(b, Compact) else b


def halves(generator, shape, fmt=Format.FP16, special=()):
    """Random numbers of `fmt` as float32, of many exponents; zeros, ties, and `special` ones among them."""
    wide = np.ldexp(generator.standard_normal(shape), generator.integers(-8, 8, shape))
    wide = np.where(generator.random(shape) < 0.2, generator.integers(-2, 3, shape), wide)
    if special:
        wide = np.where(generator.random(shape) < 0.02, generator.choice(special, shape), wide)
    return half_kernels.widen(half_kernels.narrow(wide.astype(np.float32), fmt), fmt)


@st.composite
def operands(draw, most=12):
    """A, dense or compact B, and an order that fits."""
    generator, nm = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.sampled_from(RATIOS))
    groups = draw(st.integers(1, max(1, most // nm.m)))
    i, j = draw(st.integers(1, most)), draw(st.integers(1, most))
    fmt = draw(st.sampled_from(Format))
    special = draw(st.sampled_from([(), (np.inf, -np.inf, np.nan, -0.0, 6e-8, 65504.0)]))
    a, b = (halves(generator, shape, fmt, special) for shape in ((i, groups * nm.m), (groups * nm.m, j)))
    rows, tile = draw(st.none() | st.integers(1, 4)), draw(st.none() | st.integers(1, 4))
    order = Order(rows and rows * nm.m, tile and tile * nm.m)
    return a, nm_reference.pack(b, nm, axis=0) if draw(st.booleans()) else b, order


def assert_same_bits(a, b):
    """Bit for bit, but that NaNs have no sign or payload."""
    np.testing.assert_array_equal(a, b)
    numbers = ~np.isnan(a)
    np.testing.assert_array_equal(a.view(np.uint32)[numbers], b.view(np.uint32)[numbers])


@ORDERED
class TestOrderedGemm:
    @given(operands())
    @settings(deadline=None, max_examples=60)
    def test_is_the_sum_as_it_is_written(self, real, case):
        assert_same_bits(np.ascontiguousarray(real(*case)), written_out(*case))

    def test_runs_by_hand(self, real):
        # 2^24 + 1 is a tie, rounded to even: a run of all loses the three ones, two runs of two keep a pair
        a, b = np.array([[4096, 1, 1, 1]], np.float32), np.array([[4096], [1], [1], [1]], np.float32)
        assert real(a, b, Order.os()).item() == 2**24
        assert real(a, b, Order.ws(rows=1, m=2)).item() == 2**24 + 2
        assert real(a, b, Order.ws(rows=3, m=1)).item() == 2**24
        assert real(a, b, Order.os(tile_k=2)).item() == 2**24 + 2

    def test_products_and_sums_round_separately(self, real):
        # (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24 rounds to what is taken away again; fused, 2^-24 would be left
        x = np.float32(1 + 2**-12)
        a, b = np.array([[-(1 + 2**-11), x]], np.float32), np.array([[1], [x]], np.float32)
        assert real(a, b, Order.os()).item() == 0

    def test_kept_zeros_meet_infinity_and_pruned_ones_do_not(self, real):
        a = np.array([[1, np.inf, 2, np.inf]], np.float32)
        b = nm_reference.pack(np.array([[1], [0], [3], [0]], np.float32), NM(1, 2), axis=0)
        assert real(a, b, Order.os()).item() == 7
        b = nm_reference.pack(np.array([[1], [0], [0], [0]], np.float32), NM(2, 4), axis=0)
        assert np.isnan(real(a, b, Order.os()).item())

    def test_buffer_tiles_may_come_one_by_one(self, real):
        generator = np.random.default_rng(2)
        a, b = halves(generator, (5, 48)), halves(generator, (48, 4))
        y = np.zeros((5, 4), np.float32)
        for k in range(0, 48, 20):
            tile = np.ascontiguousarray(a[:, k : k + 20]), b[k : k + 20]
            y = np.ascontiguousarray(real(*tile, Order.ws(2, 4), onto=y))
        assert_same_bits(y, written_out(a, b, Order.ws(2, 4, tile_k=20)))

    def test_sums_are_never_negative_zero(self, real):
        a, b = np.array([[-0.0, 1]], np.float32), np.array([[1], [-0.0]], np.float32)
        assert not np.signbit(real(a, b, Order.os()).item())


@pytest.mark.parametrize("name", ANY_ORDER)
@pytest.mark.parametrize("nm", [None, NM(2, 8), NM(3, 5)], ids=str)
class TestGemmAccuracy:
    def test_error_is_within_the_bound(self, name, nm):
        generator = np.random.default_rng(3)
        a, b = (generator.standard_normal(shape).astype(np.float32) for shape in ((70, 240), (240, 33)))
        b = nm_reference.pack(b, nm, axis=0) if nm else b
        exact = a.astype(np.float64) @ _dense(b)
        bound = bounds.sum_bound(np.abs(a) @ np.abs(_dense(b)), bounds.roundings(Order().walk(240), nm))
        error = np.abs(ANY_ORDER[name](a, b) - exact)
        assert (error <= bound).all()
        assert error.max() > 0

    def test_error_of_sixteen_bit_operands_and_results_is_within_the_bound(self, name, nm):
        generator = np.random.default_rng(4)
        a, b = (generator.standard_normal(shape).astype(np.float32) for shape in ((9, 40), (40, 8)))
        b = nm_reference.prune(b, nm, axis=0) if nm else b
        rounded = [half_kernels.widen(half_kernels.narrow(x, Format.FP16), Format.FP16) for x in (a, b)]
        y = ANY_ORDER[name](rounded[0], nm_reference.pack(rounded[1], nm, axis=0) if nm else rounded[1])
        error = bounds.operand_bound(a, b, Format.FP16) + bounds.sum_bound(
            np.abs(rounded[0]) @ np.abs(rounded[1]),
            bounds.roundings(Order().walk(40), nm, exact_products=True),
        )
        exact = a.astype(np.float64) @ b
        stored = half_kernels.widen(half_kernels.narrow(np.ascontiguousarray(y), Format.FP16), Format.FP16)
        assert (np.abs(stored - exact) <= bounds.stored_bound(exact, error, Format.FP16)).all()


@pytest.mark.parametrize(
    ("i", "k", "j"), [(1, 8, 1), (63, 200, 129), (112, 72, 3), (500, 64, 5), (401, 128, 520)]
)
@pytest.mark.parametrize("order", [Order.os(), Order.ws(4, 8), Order.ws(3, 8, tile_k=40), None], ids=str)
def test_blocks_threads_and_memory_orders(i, k, j, order):
    generator = np.random.default_rng(5)
    a, b = halves(generator, (i, k)), halves(generator, (k, j))
    compact = nm_reference.pack(b, NM(2, 8), axis=0)
    expected = reference.gemm(
        a, compact, order or gemm.FAST
    )  # products are exact, so that fusing changes nothing
    with use_threads(1):
        assert_same_bits(np.ascontiguousarray(gemm.gemm(a, compact, order)), expected)
    with use_threads(3):
        for same in (np.asfortranarray(a), np.repeat(a, 2, axis=1)[:, ::2]):
            assert_same_bits(np.ascontiguousarray(gemm.gemm(same, compact, order)), expected)
        if order:
            dense = nm_reference.unpack(compact)
            assert_same_bits(np.ascontiguousarray(gemm.gemm(a, dense, order)), expected)
            onto = halves(generator, (i, j))
            longer = reference.gemm(a, compact, order, onto)
            assert_same_bits(np.ascontiguousarray(gemm.gemm(a, compact, order, onto)), longer)


def test_backward_orientation():
    # dx = dy . w with w (Cout, Cin) pruned along Cout: the columns of B are the columns of w
    generator = np.random.default_rng(6)
    dy, w = halves(generator, (10, 16)), halves(generator, (16, 24))
    compact = nm_reference.pack(w, NM(2, 4), axis=0)
    np.testing.assert_array_equal(
        gemm.gemm(dy, compact, Order.os()), reference.gemm(dy, nm_reference.unpack(compact), Order.os())
    )
    # y = x . w^T with w pruned along Cin: the columns of B are the rows of w
    x, compact = halves(generator, (10, 24)), nm_reference.pack(w, NM(2, 4), axis=1)
    dense = np.ascontiguousarray(nm_reference.unpack(compact).T)
    np.testing.assert_array_equal(gemm.gemm(x, compact, Order.os()), reference.gemm(x, dense, Order.os()))


@pytest.mark.parametrize("real", [reference.gemm, gemm.gemm])
def test_refusals(real):
    a, b = np.zeros((4, 16), np.float32), np.zeros((16, 4), np.float32)
    compact = nm_reference.pack(b, NM(2, 8), axis=0)
    with pytest.raises(FormatError, match="type float16: expected float32; widen"):
        real(a.astype(np.float16), b, Order.os())
    with pytest.raises(FormatError, match="type float16: expected float32; widen"):
        real(a, nm_reference.pack(b.astype(np.float16), NM(2, 8), axis=0), Order.os())
    with pytest.raises(
        FormatError, match=r"operands \(4, 15\) and \(16, 4\), summed over axis 0: expected \(I, K\)"
    ):
        real(a[:, 1:], compact, Order.os())
    with pytest.raises(FormatError, match=r"onto an array of shape \(4, 3\): expected \(4, 4\)"):
        gemm.gemm(a, b, Order.os(), onto=b[:4, :3])
    with pytest.raises(SpecError, match="a run or a tile ends within a group: expected multiples of 8"):
        real(a, compact, Order.ws(rows=3, m=4))
    corrupt = Compact(compact.values, np.full_like(compact.index_stream, 255), (16, 4), 0, NM(2, 8))
    with pytest.raises(FormatError, match="expected ascending ones"):
        real(a, corrupt, Order.os())
