"""The order of summation: against the register-stepped array, and by hand."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.compute import bounds, reference
from codesign.compute.order import Order
from codesign.errors import SpecError
from codesign.nm import reference as nm_reference
from codesign.nm.format import NM
from hw_models import oracle
from hw_models.timing import ArrayParams, Dataflow, FillPolicy


def array_of(random):
    return ArrayParams(
        rows=random.randint(1, 4),
        cols=random.randint(1, 3),
        interleave_depth=random.randint(1, 4),
        multiplier_latency_cycles=random.randint(0, 2),
        accumulator_latency_cycles=random.randint(1, 4),
        activation_port_values=8,
        double_weights=random.random() < 0.5,
        double_accumulators=random.random() < 0.5,
        fill_policy=random.choice(list(FillPolicy)),
    )


def rough(random, shape):
    """float32 of many exponents: each sum of their products in float64 is rounded, and so tells the order."""
    generator = np.random.default_rng(random.getrandbits(32))
    return np.ldexp(generator.standard_normal(shape), generator.integers(-9, 9, shape)).astype(np.float32)


def in_float64(a, b, order):
    return reference.gemm(a, b, order, onto=np.zeros((len(a), b.shape[1])))


@pytest.mark.parametrize("seed", range(60))
def test_the_array_adds_in_this_order(seed):
    # the stepped array computes in float64, where a product of two float32 is exact
    random = Random(seed)
    array, dataflow = array_of(random), random.choice(list(Dataflow))
    m = random.randint(1, 5)
    nm = NM(random.randint(1, m), m)
    i, groups, j = random.randint(1, 9), random.randint(1, 11), random.randint(1, 5)
    a, b = rough(random, (i, groups * m)), rough(random, (groups * m, j))
    compact = nm_reference.pack(b, nm, axis=0)
    stepped = oracle.run(array, dataflow, a, nm_reference.unpack(compact), nm.n, nm.m).y
    order = Order.ws(array.rows, m) if dataflow is Dataflow.WS else Order.os()
    np.testing.assert_array_equal(in_float64(a, compact, order), stepped)


def test_other_orders_give_other_results():
    # so the test above can fail
    a, b = rough(Random(1), (8, 64)), rough(Random(2), (64, 8))
    orders = [Order.os(), Order.ws(2, 4), Order.ws(4, 4), Order.os(tile_k=40)]
    results = [in_float64(a, b, order) for order in orders]
    for later, result in enumerate(results):
        for earlier in results[:later]:
            assert (result != earlier).mean() > 0.5


@pytest.mark.parametrize("seed", range(10))
def test_output_stationary_tiles_are_products_of_their_own(seed):
    random = Random(seed)
    a, b = rough(random, (3, 50)), rough(random, (50, 4))
    total = np.zeros((3, 4))
    for k in range(0, 50, 12):
        total = total + oracle.run(array_of(random), Dataflow.OS, a[:, k : k + 12], b[k : k + 12], 1, 1).y
    np.testing.assert_array_equal(in_float64(a, b, Order.os(tile_k=12)), total)


def test_walk_by_hand():
    # 2 rows of groups of 2 are runs of 4; tiles of 6 end theirs early
    assert Order.ws(2, 2, tile_k=6).walk(15).ends.tolist() == [4, 6, 10, 12, 15]
    assert Order.os(tile_k=6).walk(15).ends.tolist() == [6, 12, 15]
    assert Order.os().walk(15).ends.tolist() == [15]
    # 3 taps of 4 channels in tiles of 2 channels: k = tap * 4 + channel
    walk = Order.ws(1, 4, tile_k=6).walk(12, taps=3)
    assert walk.visit.tolist() == [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]
    assert walk.ends.tolist() == [4, 6, 10, 12]
    # 3 channels: the last tile has one
    assert Order.os(tile_k=4).walk(6, taps=2).visit.tolist() == [0, 1, 3, 4, 2, 5]


@given(st.integers(1, 40), st.integers(1, 4), st.none() | st.integers(1, 50), st.none() | st.integers(1, 12))
@settings(deadline=None)
def test_walks_visit_everything_once_in_runs_that_fit(channels, taps, run_k, tile_channels):
    k, tile_k = channels * taps, tile_channels and tile_channels * taps
    walk = Order(run_k, tile_k).walk(k, taps)
    assert sorted(walk.visit) == list(range(k))
    lengths = np.diff(walk.ends, prepend=0)
    assert lengths.min() > 0
    assert walk.ends[-1] == k
    assert lengths.max() <= min(run_k or k, tile_k or k)
    tile_ends = set(range(min(tile_k or k, k), k, tile_k or k))
    assert tile_ends <= set(walk.ends.tolist())
    if taps == 1:
        np.testing.assert_array_equal(walk.visit, np.arange(k))


def test_roundings_by_hand():
    # runs of 4 of k = 10 take 3 additions each, and 2 more add 3 runs; 1:2 keeps half of the terms
    walk = Order(run_k=4).walk(10)
    assert bounds.roundings(walk, exact_products=True) == 3 + 2
    assert bounds.roundings(walk) == 1 + 3 + 2
    assert bounds.roundings(walk, NM(1, 2), exact_products=True) == 1 + 2
    assert bounds.roundings(Order().walk(10), exact_products=True) == 9
    assert bounds.gamma(1) == pytest.approx(2.0**-24)
    with pytest.raises(SpecError, match="expected less than 16777216"):
        bounds.gamma(1 << 24)


def test_refusals():
    with pytest.raises(SpecError, match="run_k is 0, expected at least 1"):
        Order.ws(0, 8)
    with pytest.raises(
        SpecError, match="reduction of 18, buffer tiles of 8: expected positive multiples of the 9"
    ):
        Order.os(tile_k=8).walk(18, taps=9)
    with pytest.raises(SpecError, match="reduction of 0"):
        Order.os().walk(0)
