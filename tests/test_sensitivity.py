"""Speedup with assumed constants at half and at double: values, results, and where they are shown."""

import json
from dataclasses import asdict

import pytest
from command_line import run, succeed

from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.report.html.training import sensitivity_section
from codesign.sensitivity import ASSUMED, Swing, sensitivity
from codesign.simulate import simulate
from hw_models.arch import load_arch
from workloads.catalog import load
from workloads.sparsity import apply_method

SAT = load_arch("sat.yaml")
DENSE = load("mlp", batch=8)
SPARSE, _ = apply_method(DENSE, "bdwp", NM(2, 8))


@pytest.fixture(scope="module")
def swings():
    return sensitivity(SAT, SPARSE)


def test_values_are_half_and_double(swings):
    values = {swing.constant: (swing.low, swing.high) for swing in swings}
    assert values == {
        "dram.efficiency": (0.4, 1.0),  # no more than all of it
        "dram.latency_ns": (50, 200),
        "vector_unit.lanes": (16, 64),
        "vector_unit.latency_cycles": (8, 32),
    }
    assert tuple(values) == ASSUMED


def test_a_count_stays_whole_and_at_least_one():
    arch = SAT.with_overrides({"vector_unit.latency_cycles": 1})
    swing = sensitivity(arch, SPARSE)[-1]
    assert (swing.low, swing.high) == (1, 2)


def test_speedups_are_those_of_simulations_with_the_value_set(swings):
    for swing in swings:
        for value, speedup in ((swing.low, swing.low_speedup), (swing.high, swing.high_speedup)):
            arch = SAT.with_overrides({swing.constant: value})
            assert speedup == simulate(arch, DENSE, method="bdwp", nm=NM(2, 8)).speedup_vs_dense


def test_dense_training_has_no_speedup_to_move():
    with pytest.raises(SpecError, match="choose a sparse method"):
        sensitivity(SAT, apply_method(DENSE, "dense", None)[0])
    code, out, err = run("simulate", "--workload", "mlp", "--method", "dense", "--sensitivity")
    assert (code, out) == (2, "") and "choose a sparse method" in err


def test_the_command_shows_and_writes_them(tmp_path, swings):
    options = ("simulate", "--workload", "mlp", "--batch", 8, "--sensitivity", "--out", tmp_path)
    table = succeed(*options)
    assert all(swing.constant in table and f"{swing.low_speedup:.3f}x" in table for swing in swings)
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["sensitivity"] == [asdict(swing) for swing in swings]
    succeed("report", tmp_path)
    assert 'id="sensitivity"' in (tmp_path / "report.html").read_text()


def test_a_tornado_has_the_largest_swing_on_top():
    calm, wild = Swing("calm", 1, 4, 1.9, 2.1), Swing("wild", 1, 4, 2.0, 3.0)
    (chart,) = sensitivity_section([calm, wild], 2.0).items
    half, double = chart.figure.data
    assert list(half.y) == ["wild", "calm"]
    assert half.base == double.base == 2.0
    assert list(half.x) == pytest.approx([0, -0.1])
    assert list(double.x) == pytest.approx([1, 0.1])
