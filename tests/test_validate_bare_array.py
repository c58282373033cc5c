"""Cycles of the bare array: by hand, as SCALE-Sim counts them, and against the register-stepped oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.errors import SpecError
from codesign.validate.bare_array import Gemm, bare_array, bare_cycles, parse_gemm
from hw_models import oracle
from hw_models.timing import Dataflow, FillPolicy

WS, OS = Dataflow
EVERY_TILE, HIDDEN = FillPolicy

# Total Cycles of SCALE-Sim 3.0.0 (PyPI, numpy 2.3.5, Python 3.11) plus one, GEMM mode, InterfaceBandwidth CALC,
# configuration as in codesign/validate/scalesim_tool.py: (M, K, N), rows, cols, weight stationary, output stationary
SCALESIM = [
    ((1, 1, 1), 4, 4, 11, 7),
    ((7, 5, 3), 4, 4, 34, 22),
    ((16, 16, 16), 4, 4, 416, 352),
    ((64, 96, 40), 4, 4, 17_760, 16_320),
    ((33, 70, 129), 4, 4, 25_542, 22_572),
    ((1, 1, 1), 8, 16, 31, 23),
    ((7, 5, 3), 8, 16, 37, 27),
    ((16, 16, 16), 8, 16, 92, 76),
    ((64, 96, 40), 8, 16, 3_384, 2_832),
    ((33, 70, 129), 8, 16, 5_103, 4_140),
    ((1, 1, 1), 32, 32, 95, 63),
    ((7, 5, 3), 32, 32, 101, 67),
    ((16, 16, 16), 32, 32, 110, 78),
    ((64, 96, 40), 32, 32, 948, 632),
    ((33, 70, 129), 32, 32, 1_905, 1_320),
]


@pytest.mark.parametrize(("gemm", "rows", "cols", "ws", "os"), SCALESIM)
def test_every_tile_is_scalesim(gemm: Gemm, rows: int, cols: int, ws: int, os: int) -> None:
    assert bare_cycles(gemm, rows, cols, WS, EVERY_TILE) == ws
    assert bare_cycles(gemm, rows, cols, OS, EVERY_TILE) == os


@pytest.mark.parametrize(
    ("dataflow", "fill", "cycles"),
    [
        # 7x5x3 on 4 rows, 4 columns. WS: two tiles of K, each 4 load, 7 rows, 3 + 3 skew.
        (WS, EVERY_TILE, 2 * (4 + 7 + 3 + 3)),
        (WS, HIDDEN, 4 + 7 + 7 + 3 + 3),  # the second load (4) and skew (3) are covered by 7 rows
        # OS: two tiles of M, each 5 MACs, 3 + 3 skew.
        (OS, EVERY_TILE, 2 * (5 + 3 + 3)),
        (OS, HIDDEN, 5 + 5 + 3 + 3),
    ],
)
def test_by_hand(dataflow: Dataflow, fill: FillPolicy, cycles: int) -> None:
    assert bare_cycles((7, 5, 3), 4, 4, dataflow, fill) == cycles


def test_a_short_stream_hides_only_part_of_load_and_skew() -> None:
    """2x8x1 on 4x4, two tiles: of 4 load and 3 skew 2 rows hide 2, so 5 stay: 4 + 2 + 5 + 2 + 3 + 3."""
    assert bare_cycles((2, 8, 1), 4, 4, WS, HIDDEN) == 19


@settings(max_examples=25, deadline=None)
@given(
    gemm=st.tuples(*[st.integers(1, 9)] * 3),
    rows=st.integers(1, 4),
    cols=st.integers(1, 4),
    dataflow=st.sampled_from(Dataflow),
    fill=st.sampled_from(FillPolicy),
)
def test_the_oracle_stepped_in_registers(
    gemm: Gemm, rows: int, cols: int, dataflow: Dataflow, fill: FillPolicy
) -> None:
    """Its OS sums shift out, R cycles for every tile that is waited for; K above R hides all but the last."""
    m, k, n = gemm
    if dataflow is OS and fill is HIDDEN:
        k += rows
    stepped = oracle.run(
        bare_array(rows, cols, fill), dataflow, np.ones((m, k)), np.ones((k, n)), 1, 1
    ).cycles
    tiles = -(-m // rows) * -(-n // cols)
    drains = 0 if dataflow is WS else tiles if fill is EVERY_TILE else 1
    assert bare_cycles((m, k, n), rows, cols, dataflow, fill) == stepped - drains * rows


@given(
    gemm=st.tuples(*[st.integers(1, 200)] * 3),
    rows=st.integers(1, 40),
    cols=st.integers(1, 40),
    dataflow=st.sampled_from(Dataflow),
)
def test_hiding_the_fill_never_costs(gemm: Gemm, rows: int, cols: int, dataflow: Dataflow) -> None:
    every_tile, hidden = (bare_cycles(gemm, rows, cols, dataflow, fill) for fill in FillPolicy)
    assert hidden <= every_tile
    m, k, n = gemm
    assert hidden >= m * k * n / (rows * cols)


def test_gemm_sizes() -> None:
    assert parse_gemm("64x128x32") == (64, 128, 32)
    for wrong in ("64x128", "0x1x1", "axbxc", "1x1x1x1", "1x1x100000000"):
        with pytest.raises(SpecError, match="expected MxKxN"):
            parse_gemm(wrong)
