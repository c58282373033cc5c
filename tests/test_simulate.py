"""From a workload to a result: fields, baseline, paths and the ablation ladder."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from strategies import SAT

from codesign import __version__
from codesign.ablation import OPTIMIZATIONS, ladder
from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.result import Share
from codesign.simulate import simulate
from hw_models.arch import load_arch
from workloads.catalog import load
from workloads.sparsity import apply_method

RESNET = load("resnet9", batch=2)
NM28 = NM(2, 8)
SPARSE_RESNET, _ = apply_method(RESNET, "bdwp", NM28)


def test_fields_of_a_result() -> None:
    result = simulate(SAT, RESNET, nm=NM28)
    assert (result.version, result.arch_name, result.workload_name) == (__version__, "sat", "resnet9")
    assert (result.arch_sha256, result.workload_sha256) == (SAT.sha256, RESNET.sha256)
    assert (result.method, result.nm, result.batch) == ("bdwp", "2:8", 2)
    assert (result.params, result.clock_hz, result.peak_macs_per_cycle) == (RESNET.params, 200_000_000, 1024)
    assert 0 < result.bound_cycles <= result.total_cycles
    assert result.latency_s == result.total_cycles / 200e6
    assert [op.name for op in result.ops] == [op.name for op in RESNET.ops]
    assert max(op.end_cycle for op in result.ops) == result.total_cycles
    by_unit = {unit: [op for op in result.ops if op.unit == unit] for unit in ("stce", "vector", "update")}
    assert {op.dataflow for op in by_unit["stce"]} == {"ws", "os"}
    assert {op.sparsity for op in by_unit["stce"]} == {"dense", "2:8"}
    assert all(op.predicted_cycles > 0 for op in by_unit["stce"])
    for op in by_unit["vector"] + by_unit["update"]:
        assert (op.dataflow, op.sparsity, op.macs, op.predicted_cycles) == ("", "", 0, 0)


def test_the_machine_readable_result_by_its_definitions() -> None:
    result = simulate(SAT, RESNET, nm=NM28)
    data = result.as_dict()
    assert json.loads(json.dumps(data)) == data
    assert result.baseline is not None
    macs, cycles = data["macs"]["executed"], data["total_cycles"]
    assert data["dense_cycles"] == result.baseline.total_cycles
    assert data["speedup_vs_dense"] == data["dense_cycles"] / cycles
    assert data["throughput_samples_per_s"] == pytest.approx(2 * 200e6 / cycles)
    assert data["effective_gops"] == pytest.approx(2 * macs * 200e6 / cycles / 1e9)
    assert data["dense_equivalent_gops"] == pytest.approx(2 * data["macs"]["dense"] * 200e6 / cycles / 1e9)
    assert data["array_utilization"] == pytest.approx(macs / (1024 * cycles))
    assert sum(stage["cycles"] for stage in data["stages"].values()) == cycles
    assert sum(stage["cycles"] for row in data["layers"] for stage in row["stages"].values()) == cycles
    assert len(data["ops"]) == len(RESNET.ops)


def test_shares_add_up_cause_by_cause() -> None:
    one = Share(10, 1, 2, 3, 4, {"sort": 5, "port": 1})
    other = Share(20, 10, 20, 30, 40, {"port": 2, "update": 6})
    assert one + other == Share(30, 11, 22, 33, 44, {"sort": 5, "port": 3, "update": 6})
    assert one.stall_cycles == {"sort": 5, "port": 1}


def test_the_baseline_is_dense_training_on_the_same_hardware() -> None:
    sparse = simulate(SAT, RESNET, method="bdwp", nm=NM28)
    dense = simulate(SAT, RESNET, method="dense")
    assert sparse.baseline == dense.baseline
    assert sparse.speedup_vs_dense == dense.total_cycles / sparse.total_cycles
    assert sparse.speedup_vs_dense > 1
    assert sparse.baseline is not None and sparse.baseline.nm == "dense"
    alone = simulate(SAT, RESNET, method="bdwp", nm=NM28, baseline=False)
    assert (alone.baseline, alone.speedup_vs_dense) == (None, None)
    assert alone.with_baseline(sparse.baseline) == sparse


def test_dense_training_is_its_own_baseline() -> None:
    result = simulate(SAT, RESNET, method="dense")
    assert result.speedup_vs_dense == 1
    assert result.nm == "dense"
    assert simulate(load_arch("dense"), RESNET, method="dense").total_cycles == result.total_cycles


def test_both_paths_give_the_same_result() -> None:
    assert simulate(SAT, RESNET, nm=NM28, full=True) == simulate(SAT, RESNET, nm=NM28)


def test_progress_counts_the_steps_of_both_runs() -> None:
    calls: list[tuple[int, int]] = []
    simulate(SAT, RESNET, nm=NM28, on_step=lambda ended, steps: calls.append((ended, steps)))
    steps = len(RESNET.ops)
    assert calls == [(ended, steps) for ended in range(1, steps + 1)] * 2


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(SpecError, match=r"needs 3:8 sparsity, which architecture 'sat' does not have"):
        simulate(SAT, RESNET, nm=NM(3, 8))
    with pytest.raises(SpecError, match=r"architecture 'dense' does not have .* none \(dense only\)"):
        simulate(load_arch("dense"), RESNET, nm=NM28)
    with pytest.raises(SpecError, match=r"method 'bdwp' needs an N:M ratio"):
        simulate(SAT, RESNET)
    with pytest.raises(SpecError, match=r"unknown method 'bdpw', did you mean \"bdwp\""):
        simulate(SAT, RESNET, method="bdpw", nm=NM28)


def test_the_ablation_ladder() -> None:
    def cycles(*on: str) -> int:
        switches = {f"optimizations.{name}": name in on for name in OPTIMIZATIONS}
        return simulate(
            SAT.with_overrides(switches), RESNET, method="bdwp", nm=NM28, baseline=False
        ).total_cycles

    names = ("interleave", "pregenerate", "offline_schedule")
    # Also from an architecture in which they are off.
    off = SAT.with_overrides({f"optimizations.{name}": False for name in names})
    rungs = ladder(off, SPARSE_RESNET)
    assert rungs == ladder(SAT, SPARSE_RESNET)
    assert [rung.switched_on for rung in rungs] == [names[:count] for count in range(4)]
    assert [rung.label for rung in rungs] == [
        "all off",
        "+ interleave mapping",
        "+ pre-generated sparse weights",
        "+ offline scheduling",
    ]
    assert [rung.total_cycles for rung in rungs] == [cycles(*names[:count]) for count in range(4)]
    assert [rung.without_cycles for rung in rungs] == [
        None,
        cycles("pregenerate", "offline_schedule"),
        cycles("interleave", "offline_schedule"),
        cycles("interleave", "pregenerate"),
    ]
    # On this network each of them pays.
    assert all(lower.total_cycles > upper.total_cycles for lower, upper in pairwise(rungs))
    assert rungs[-1].total_cycles == simulate(SAT, RESNET, nm=NM28).total_cycles
