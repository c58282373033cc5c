"""The register-stepped array: its results against numpy, its cycles against the closed form."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from codesign.errors import FormatError, SpecError
from codesign.nm import reference
from codesign.nm.format import NM
from hw_models import oracle
from hw_models.timing import ArrayParams, Dataflow, FillPolicy, gemm_cycles, tile_sequence

SMALL = ArrayParams(
    rows=2,
    cols=2,
    interleave_depth=2,
    multiplier_latency_cycles=1,
    accumulator_latency_cycles=2,
    activation_port_values=4,
    double_weights=False,
    double_accumulators=False,
    fill_policy=FillPolicy.EVERY_TILE,
)


def integers(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Integer-valued floats: every sum is exact in any order."""
    return np.random.default_rng(random.getrandbits(32)).integers(-9, 10, shape).astype(np.float64)


def prune(b: np.ndarray, n: int, m: int) -> np.ndarray:
    nm = NM(n, m)
    return reference.prune(reference.pad(b, nm, axis=0), nm, axis=0)[: len(b)]


def check_random_case(random: Random, side: int, size: int) -> None:
    """One random array and GEMM, with up to about three array tiles along each axis, ragged more often than not."""
    depth, m = random.randint(1, 6), random.randint(1, 8)
    n = random.choice((m, random.randint(1, m)))
    array = ArrayParams(
        rows=random.randint(1, side),
        cols=random.randint(1, side),
        interleave_depth=depth,
        multiplier_latency_cycles=random.randint(0, 4),
        accumulator_latency_cycles=random.randint(1, 6),
        activation_port_values=random.choice((1, 2, 4, 8, 64, random.randint(1, depth * m))),
        double_weights=random.random() < 0.5,
        double_accumulators=random.random() < 0.5,
        fill_policy=random.choice(list(FillPolicy)),
    )
    dataflow = random.choice(list(Dataflow))
    i = random.randint(1, min(size, 3 * array.rows * depth))
    k = random.randint(1, min(size, 3 * array.rows * m))
    j = random.randint(1, min(size, 3 * array.cols))
    a, b = integers(random, (i, k)), prune(integers(random, (k, j)), n, m)

    result = oracle.run(array, dataflow, a, b, n, m)

    case = f"{array} {dataflow} {i} x {k} x {j} at {n}:{m}"
    cycles = gemm_cycles(array, dataflow, i, k, j, n, m)
    assert result.cycles == cycles.total, case
    assert np.array_equal(result.y, a @ b), case
    assert result.macs == i * -(-k // m) * n * j, case
    assert result.macs <= array.rows * array.cols * cycles.mac, case
    assert sum(tile_sequence(array, dataflow, i, k, j, n, m)) == result.cycles, case


@pytest.mark.parametrize("seed", range(21))
def test_cycles_and_results_of_random_cases(seed: int) -> None:
    random = Random(seed)
    for _ in range(100):
        check_random_case(random, side=5, size=24)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1010))
def test_cycles_and_results_of_larger_random_cases(seed: int) -> None:
    random = Random(seed)
    for _ in range(100):
        check_random_case(random, side=9, size=90)


@pytest.mark.parametrize("policy", FillPolicy)
@pytest.mark.parametrize("dataflow", Dataflow)
def test_weights_are_consumed_compressed(dataflow: Dataflow, policy: FillPolicy) -> None:
    # any index may name any value of its group, in any order and more than once: no dense B says the same
    random = Random(7)
    n, m, groups, i, j = 3, 5, 4, 7, 5
    a, values = integers(random, (i, groups * m)), integers(random, (j, groups, n))
    indices = np.random.default_rng(7).integers(0, m, values.shape)
    expected = np.zeros((i, j))
    for column, group, kept in np.ndindex(values.shape):
        expected[:, column] += values[column, group, kept] * a[:, group * m + indices[column, group, kept]]

    result = oracle.run_compact(replace(SMALL, fill_policy=policy), dataflow, a, values, indices, m)

    assert np.array_equal(result.y, expected)
    assert result.macs == i * j * groups * n


@pytest.mark.parametrize("dataflow", Dataflow)
def test_cycles_follow_the_ratio_and_not_the_data(dataflow: Dataflow) -> None:
    a, b = np.ones((6, 16)), np.zeros((16, 4))
    b[::8] = 1.0  # fits 1:8, and so 4:8 and 8:8
    runs = [oracle.run(SMALL, dataflow, a, b, n, 8) for n in (1, 4, 8)]
    assert all(np.array_equal(run.y, a @ b) for run in runs)
    assert [run.macs for run in runs] == [6 * 4 * 2 * n for n in (1, 4, 8)]
    assert runs[0].cycles < runs[1].cycles < runs[2].cycles
    assert oracle.run(SMALL, dataflow, a, 0 * b, 4, 8).cycles == runs[1].cycles


def test_one_mac_by_hand() -> None:
    one, two = np.full((1, 1), 3.0), np.full((1, 1), 2.0)
    array = ArrayParams(1, 1, 1, 2, 3, 1, True, True, FillPolicy.EVERY_TILE)
    # WS: load 1, slot 1 and 1 more for each further stage: 2 of the multiplier, 3 - 1 of the adder
    ws = oracle.run(array, Dataflow.WS, one, two, 1, 1)
    assert (ws.cycles, ws.y.item(), ws.macs) == (1 + 1 + 2 + 2, 6.0, 1)
    # OS: no load, but the sum leaves in a cycle of its own
    os = oracle.run(array, Dataflow.OS, one, two, 1, 1)
    assert (os.cycles, os.y.item(), os.macs) == (1 + 2 + 2 + 1, 6.0, 1)


def test_operand_that_is_not_sparse_enough_is_refused() -> None:
    b = np.zeros((8, 3))
    b[4:7, 1] = 1.0
    with pytest.raises(
        FormatError, match=r"operand B \(8, 3\): a group has more than 2 non-zeros of 4; prune it"
    ):
        oracle.run(SMALL, Dataflow.WS, np.ones((2, 8)), b, 2, 4)
    assert np.array_equal(oracle.run(SMALL, Dataflow.WS, np.ones((2, 8)), b, 3, 4).y, np.ones((2, 8)) @ b)


def test_operands_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        SpecError, match=r"GEMM operands \(2, 9\), \(3, 2, 2\), \(3, 2, 2\): expected \(I, K\)"
    ):
        oracle.run(SMALL, Dataflow.OS, np.ones((2, 9)), np.zeros((8, 3)), 2, 4)
    with pytest.raises(SpecError, match="none of them 0"):
        oracle.run(SMALL, Dataflow.OS, np.ones((0, 8)), np.zeros((8, 3)), 2, 4)
