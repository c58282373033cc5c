"""The comparison with the RTL: its own arithmetic is the documented one, and it reports what differs."""

from pathlib import Path

import numpy as np
import pytest
from rtl_order import in_order

from codesign.validate import rtl
from codesign.validate.row import ToolMissingError, Verdict
from hls.rtl_bench import build as rtl_build
from hls.rtl_bench import faults as rtl_faults
from hls.rtl_bench import sim as rtl_sim
from hls.rtl_bench.sim import Build, Outcome
from hls.rtl_bench.stimuli import BUILDS, closed_form, quiet, random_gemms

BUILD = BUILDS[0]


def test_the_compiled_product_is_the_documented_order() -> None:
    pytest.importorskip("numba")
    product = rtl.compiled_product()
    for gemm in random_gemms(BUILD, 30):
        assert np.array_equal(quiet(product(gemm)), quiet(in_order(gemm))), gemm.plan


def test_a_wrong_cycle_and_a_wrong_value_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An RTL that is right but for one cycle of one GEMM and one value of another."""
    gemms = random_gemms(BUILD, rtl.GEMMS)
    outcomes = [Outcome(closed_form(gemm.plan), in_order(gemm)) for gemm in gemms]
    outcomes[3] = outcomes[3]._replace(cycles=outcomes[3].cycles + 1)
    outcomes[5].y[0, 0] = np.nan_to_num(outcomes[5].y[0, 0]) + 1
    monkeypatch.setattr(rtl_sim, "run", lambda program, build, jobs: outcomes)
    monkeypatch.setattr(Build, "program", lambda build, cache: cache)
    rows = list(rtl.array_rows(BUILD, tmp_path, in_order))
    assert [(row.ours, row.verdict) for row in rows] == [(rtl.GEMMS - 1, Verdict.FAILS)] * 3


def test_a_fault_that_is_missed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = rtl_faults.ARRAY["missing drain"]
    monkeypatch.setattr(rtl_faults, "array_catches", lambda fault, *rest: fault is not missed)
    monkeypatch.setattr(rtl_faults, "blocks_catch", lambda *rest: True)
    array, blocks = rtl.fault_rows(tmp_path, tmp_path, in_order)
    assert (array.verdict, array.ours, array.note) == (Verdict.FAILS, 10, "missed: missing drain")
    assert (blocks.verdict, blocks.ours) == (Verdict.HOLDS, 9)


def test_without_verilator_it_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtl_build, "available", lambda: False)
    with pytest.raises(ToolMissingError, match="verilator"):
        next(rtl.run(tmp_path))
