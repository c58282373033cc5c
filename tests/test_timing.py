"""Closed-form array timing: published totals, hand counts, conservation laws. `test_oracle.py` steps the machine."""

from dataclasses import replace
from math import ceil, prod

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codesign.errors import SpecError
from hw_models.timing import ArrayCycles, ArrayParams, Dataflow, FillPolicy, gemm_cycles, tile_sequence

WS, OS = Dataflow.WS, Dataflow.OS
PLAIN = ArrayParams(
    rows=4,
    cols=3,
    interleave_depth=1,
    multiplier_latency_cycles=0,
    accumulator_latency_cycles=1,
    activation_port_values=1024,
    double_weights=True,
    double_accumulators=True,
    fill_policy=FillPolicy.EVERY_TILE,
)
HIDDEN = replace(PLAIN, fill_policy=FillPolicy.HIDDEN)

arrays = st.builds(
    ArrayParams,
    rows=st.integers(1, 6),
    cols=st.integers(1, 6),
    interleave_depth=st.integers(1, 8),
    multiplier_latency_cycles=st.integers(0, 4),
    accumulator_latency_cycles=st.integers(1, 9),
    activation_port_values=st.integers(1, 12),
    double_weights=st.booleans(),
    double_accumulators=st.booleans(),
    fill_policy=st.sampled_from(FillPolicy),
)
dataflows = st.sampled_from(Dataflow)
shapes = st.tuples(st.integers(1, 80), st.integers(1, 80), st.integers(1, 25))
ratios = st.integers(1, 8).flatmap(lambda m: st.tuples(st.integers(1, m), st.just(m)))
many = settings(deadline=None, max_examples=400)


@given(rows=st.integers(1, 64), cols=st.integers(1, 64), shape=shapes)
def test_plain_array_matches_the_published_totals_per_fold(
    rows: int, cols: int, shape: tuple[int, int, int]
) -> None:
    # SCALE-Sim 3.0.0: a fold takes 2R + C + T - 2 cycles, T the length of the streamed axis
    i, k, j = shape
    array = replace(PLAIN, rows=rows, cols=cols)
    ws_folds, os_folds = ceil(k / rows) * ceil(j / cols), ceil(i / rows) * ceil(j / cols)
    assert gemm_cycles(array, WS, i, k, j, 1, 1).total == ws_folds * (2 * rows + cols + i - 2)
    assert gemm_cycles(array, OS, i, k, j, 1, 1).total == os_folds * (2 * rows + cols + k - 2)


def test_weight_stationary_tile_by_hand() -> None:
    # 4x3, F = 4, La = 3, Lm = 2, 2:4; i = 10 is windows of 4, 4, 2 rows; P = 4; one tile
    # load 4*2 = 8 | slots 8 + 8 + (4 + 2) = 22, of which 20 MACs, 2 waits in the last window's first round
    # bottom row 3 * (4 + 3) = 21 later, last column 2, Lm + La - 1 = 4: 27
    array = replace(PLAIN, interleave_depth=4, multiplier_latency_cycles=2, accumulator_latency_cycles=3)
    assert gemm_cycles(array, WS, 10, 16, 3, 2, 4) == ArrayCycles(57, 20, 2, 0, 8, 27)


def test_output_stationary_tile_by_hand() -> None:
    # the same array; i = 10 on 4 rows is f = 3 outputs each; k = 16 is 4 windows of 2 rounds; P = max(3, 3)
    # port of 2: a window's 3*4 values take 6 cycles, its rounds 6; the first window waits 5 | MACs 8 * 3 = 24
    # skew 3 + 2, Lm + La - 1 = 4, drain 4 * 3 = 12: 21
    array = replace(PLAIN, interleave_depth=4, multiplier_latency_cycles=2, accumulator_latency_cycles=3)
    array = replace(array, activation_port_values=2)
    assert gemm_cycles(array, OS, 10, 16, 3, 2, 4) == ArrayCycles(50, 24, 0, 5, 0, 21)


def test_dependent_macs_wait_for_the_accumulator_when_interleaving_is_off() -> None:
    slow = replace(PLAIN, accumulator_latency_cycles=5)
    # OS: 6 rounds of one MAC, 5 cycles apart; WS: 10 windows of 3 MACs, each waits twice for the one before
    assert gemm_cycles(slow, OS, 4, 6, 3, 1, 1).accumulator_stall == 5 * 4
    assert gemm_cycles(slow, WS, 10, 12, 3, 3, 3).accumulator_stall == 10 * 2 * 4
    # WS with one MAC a group: every MAC adds to another sum
    assert gemm_cycles(slow, WS, 10, 4, 3, 1, 1).accumulator_stall == 0
    for dataflow in Dataflow:
        assert (
            gemm_cycles(replace(slow, interleave_depth=5), dataflow, 20, 12, 3, 3, 3).accumulator_stall == 0
        )


def test_sparse_groups_need_a_wider_port() -> None:
    # 100 windows of one vector of 8: dense takes 8 cycles each, 2:8 takes 2, a port of 2 brings it in 4
    narrow = replace(PLAIN, activation_port_values=2)
    assert gemm_cycles(narrow, WS, 100, 32, 3, 8, 8).port_stall == 0
    assert gemm_cycles(narrow, WS, 100, 32, 3, 2, 8).port_stall == 99 * (4 - 2)
    assert gemm_cycles(replace(narrow, activation_port_values=4), WS, 100, 32, 3, 2, 8).port_stall == 0


def test_tiles_overlap_as_far_as_registers_allow() -> None:
    # WS, 1:1, 4x3: stream 10, skew 3, load 4: doubled weights load in time (3 + 4 < 10), single ones wait
    tiles = list(tile_sequence(HIDDEN, WS, 10, 12, 3, 1, 1))
    assert tiles == [4 + 10, 10, 10 + 3 + 2]
    assert list(tile_sequence(replace(HIDDEN, double_weights=False), WS, 10, 12, 3, 1, 1)) == [21, 17, 15]
    # a short stream of 2 cannot hide 3 + 4
    assert list(tile_sequence(HIDDEN, WS, 2, 12, 3, 1, 1)) == [4 + 7, 7, 2 + 5]
    # OS: stream 10, drain 4; doubled accumulators hide it, single ones do not
    assert list(tile_sequence(HIDDEN, OS, 12, 10, 3, 1, 1)) == [10, 10, 10 + 5 + 4]
    assert list(tile_sequence(replace(HIDDEN, double_accumulators=False), OS, 12, 10, 3, 1, 1)) == [
        14,
        14,
        19,
    ]
    # the drain of 4 holds back the last of only 2 windows: 1 + 4 + 1
    assert list(tile_sequence(HIDDEN, OS, 12, 2, 3, 1, 1)) == [5, 5, 2 + 5 + 4]


def test_ragged_output_stationary_tiles_hand_over_in_both_directions() -> None:
    # 4x3, F = 2: i = 12 is tiles of f = 2 and 1; single accumulators: a tile's own drain follows its stream
    array = replace(HIDDEN, interleave_depth=2, double_accumulators=False)
    full, edge = 10 * 2 + 8, 10 + 4
    assert list(tile_sequence(array, OS, 12, 10, 6, 1, 1)) == [full, edge, full, edge + 5]


@many
@given(arrays, dataflows, shapes, ratios)
def test_parts_add_up(
    array: ArrayParams, dataflow: Dataflow, shape: tuple[int, int, int], ratio: tuple[int, int]
) -> None:
    i, k, j = shape
    n, m = ratio
    cycles = gemm_cycles(array, dataflow, *shape, *ratio)
    assert cycles.total == sum(cycles[1:])
    assert min(cycles) >= 0
    tiles = list(tile_sequence(array, dataflow, *shape, *ratio))
    assert sum(tiles) == cycles.total
    depth = array.rows * (m if dataflow is WS else array.interleave_depth)
    assert len(tiles) == ceil((k if dataflow is WS else i) / depth) * ceil(j / array.cols)
    # no PE does more than one MAC a cycle
    assert i * ceil(k / m) * n * j <= array.rows * array.cols * cycles.mac


@many
@given(arrays, dataflows, shapes, ratios)
def test_nothing_better_costs_cycles(
    array: ArrayParams, dataflow: Dataflow, shape: tuple[int, int, int], ratio: tuple[int, int]
) -> None:
    cycles = gemm_cycles(array, dataflow, *shape, *ratio).total

    def cycles_with(**changes: int) -> int:
        return gemm_cycles(replace(array, **changes), dataflow, *shape, *ratio).total

    port, adder = array.activation_port_values, array.accumulator_latency_cycles
    assert cycles_with(activation_port_values=port + 1) <= cycles
    assert cycles_with(activation_port_values=1024) <= cycles
    assert cycles_with(accumulator_latency_cycles=adder + 1) >= cycles
    assert cycles_with(multiplier_latency_cycles=array.multiplier_latency_cycles + 1) == cycles + (
        1
        if array.fill_policy is FillPolicy.HIDDEN
        else len(list(tile_sequence(array, dataflow, *shape, *ratio)))
    )
    assert cycles_with(double_weights=True) <= cycles
    assert cycles_with(double_accumulators=True) <= cycles
    hidden, serial = (
        replace(array, fill_policy=policy) for policy in (FillPolicy.HIDDEN, FillPolicy.EVERY_TILE)
    )
    assert (
        gemm_cycles(hidden, dataflow, *shape, *ratio).total
        <= gemm_cycles(serial, dataflow, *shape, *ratio).total
    )


@many
@given(arrays, dataflows, shapes, ratios, st.integers(0, 2))
@example(  # a short edge tile, which hides little of the drain before it, with a port that is too narrow
    ArrayParams(5, 1, 5, 4, 1, 1, False, True, FillPolicy.HIDDEN), OS, (30, 26, 9), (1, 3), 0
)
def test_more_work_never_takes_fewer_cycles(
    array: ArrayParams, dataflow: Dataflow, shape: tuple[int, int, int], ratio: tuple[int, int], axis: int
) -> None:
    cycles = gemm_cycles(array, dataflow, *shape, *ratio).total
    larger = tuple(size + (position == axis) for position, size in enumerate(shape))
    assert gemm_cycles(array, dataflow, *larger, *ratio).total >= cycles
    n, m = ratio
    assert gemm_cycles(array, dataflow, *shape, min(n + 1, m), m).total >= cycles


def test_deeper_interleaving_can_cost_cycles() -> None:
    # past La = 1 there is no wait to fill, and each of 3 rows starts 2 - 1 = 1 (n = 2, P = 2) cycles later
    deeper = replace(PLAIN, interleave_depth=2)
    assert gemm_cycles(deeper, WS, 10, 8, 3, 2, 2).total == gemm_cycles(PLAIN, WS, 10, 8, 3, 2, 2).total + 3


def test_training_sized_gemm_is_near_the_mac_bound() -> None:
    # 196 tiles x 2 strips of 72 groups x 2 MACs x 4 lanes; then skew 62, pipeline 6, drain 128
    array = ArrayParams(32, 32, 4, 3, 4, 32, True, True, FillPolicy.HIDDEN)
    assert gemm_cycles(array, OS, 25_088, 576, 64, 2, 8) == ArrayCycles(225_988, 225_792, 0, 0, 0, 196)


def test_sizes_far_beyond_any_loop() -> None:
    array = replace(HIDDEN, interleave_depth=3)
    for dataflow in Dataflow:
        cycles = gemm_cycles(array, dataflow, 10**12 + 1, 10**9 + 1, 10**6 + 1, 2, 4)
        assert cycles.total > prod((10**12, 10**9, 10**6)) // 2 // 12


@pytest.mark.parametrize(
    ("i", "k", "j", "n", "m"),
    [(0, 1, 1, 1, 1), (1, 0, 1, 1, 1), (1, 1, 0, 1, 1), (1, 1, 1, 0, 4), (1, 1, 1, 5, 4)],
)
def test_impossible_gemms_are_refused(i: int, k: int, j: int, n: int, m: int) -> None:
    with pytest.raises(SpecError, match=rf"GEMM {i} x {k} x {j} at {n}:{m}: expected sizes of at least 1"):
        gemm_cycles(PLAIN, WS, i, k, j, n, m)
    with pytest.raises(SpecError, match="expected sizes of at least 1"):
        list(tile_sequence(PLAIN, WS, i, k, j, n, m))


@pytest.mark.parametrize(
    ("field", "value", "minimum"),
    [
        ("rows", 0, 1),
        ("interleave_depth", 0, 1),
        ("accumulator_latency_cycles", 0, 1),
        ("multiplier_latency_cycles", -1, 0),
    ],
)
def test_impossible_arrays_are_refused(field: str, value: int, minimum: int) -> None:
    with pytest.raises(SpecError, match=f"array {field}: got {value}, expected an integer >= {minimum}"):
        replace(PLAIN, **{field: value})
