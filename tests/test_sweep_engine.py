"""A sweep from points to results and front: nothing twice, nothing lost, and numbers that are those of `simulate`."""

import csv
import json
import math

import pyarrow.parquet
import pytest
from strategies import SAT
from sweeps import GEMM, Inline, rows_of, run, spec_of

from codesign.energy.estimate import energy_of
from codesign.energy.sources import load_energy_table
from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.resources import estimate, fit, load_device
from codesign.simulate import simulate
from codesign.simulate_run import simulate_run
from codesign.sweep.agenda import Agenda
from codesign.sweep.columns import RESULTS
from codesign.sweep.engine import Sweep
from codesign.sweep.evaluate import evaluate
from codesign.sweep.export import write_csv
from codesign.sweep.parquet import write_parquet
from codesign.sweep.point import Point
from codesign.sweep.space import Space
from codesign.sweep.store import Store
from codesign.sweep.view import View
from codesign.sweep.work import compute
from workloads.catalog import load
from workloads.run_trace import Phase, Run, RunTrace
from workloads.sparsity import apply_method

UPDATE_BUFFER = "buffers.update.capacity_bytes"
TOO_SMALL, ENOUGH = 64, 1 << 20
RESNET9 = {"name": "resnet9", "batch": [2]}


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "sweep.sqlite") as store:
        yield store


def one(**keys):
    (point,) = Space(spec_of(**keys)).grid()
    return point


# -- the result of a point ---------------------------------------------------------------------------------------


def test_a_result_is_what_simulation_energy_and_resources_say():
    arch = SAT.with_overrides({"array.rows": 16})
    result = evaluate(one(workloads=[RESNET9], set={"array.rows": [16]}, nm=["2:4"], device="u250"))
    expected = simulate(arch, load("resnet9", batch=2), method="bdwp", nm=NM(2, 4))
    total = expected.total
    assert (result["total_cycles"], result["dense_cycles"]) == (
        expected.total_cycles,
        expected.baseline.total_cycles,
    )
    assert result["speedup"] == expected.speedup_vs_dense
    assert result["latency_s"] == expected.total_cycles / 200e6
    assert result["samples_per_s"] == 2 / result["latency_s"]
    assert sum(result[f"{stage}_cycles"] for stage in ("ff", "bp", "wu", "other")) == expected.total_cycles
    assert {
        key[6:-7]: value for key, value in result.items() if key.startswith("stall_")
    } == total.stall_cycles
    assert (result["macs"], result["dense_macs"]) == (total.macs, total.dense_macs)
    assert result["dram_bytes"] == total.read_bytes + total.write_bytes

    energy = energy_of(expected, load_energy_table(arch, "fpga16"))
    assert (
        result["energy_low_j"] < result["energy_j"] == energy.total_joules.nominal < result["energy_high_j"]
    )
    assert result["average_w"] == pytest.approx(result["energy_j"] / result["latency_s"])
    assert result["gops_per_w"] == pytest.approx(2 * total.macs / result["energy_j"] / 1e9)

    fitting = fit(estimate(arch), load_device("u250"))
    assert result["lut_low"] < result["lut"] == estimate(arch).total.lut.high
    assert result["device_share"] == max(share.high for share in fitting.utilization.values())
    assert result["fits"] == str(fitting.fits)
    assert result["run_steps"] is result["accuracy"] is None


def test_a_result_has_all_columns_with_their_types():
    result = evaluate(one())
    assert list(result) == list(RESULTS)
    assert all(value is None or type(value) is RESULTS[name] for name, value in result.items())
    json.dumps(result, allow_nan=False)


def test_a_device_without_ultraram():
    assert evaluate(one(archs=["sat-zynq"], device="zcu102"))["uram288"] == 0


def test_a_result_does_not_depend_on_what_was_computed_before():
    points = list(Space(spec_of(set={"array.rows": [8, 16]}, nm=["2:4", "2:8"])).grid())
    cycles = {point.sha256: evaluate(point.baseline)["total_cycles"] for point in points}
    alone = [evaluate(point) for point in points]
    assert [evaluate(point, cycles[point.sha256]) for point in reversed(points)] == alone[::-1]


def test_a_point_of_another_version_is_refused():
    point = one()
    other = Point(**{name: getattr(point, name) for name in Point.model_fields} | {"version": "9.9"})
    with pytest.raises(SpecError, match=r"a point of codesign 9\.9"):
        evaluate(other)


def run_trace(tmp_path, **changes):
    """The trace of a run that was dense for 10 steps and at 2:8 for 30."""
    iteration = load("mlp:64x256x16", batch=32)
    dense, sparse = (apply_method(iteration, method, NM(2, 8))[1] for method in ("dense", "bdwp"))
    values = {
        "model": "mlp",
        "data": "digits",
        "method": "bdwp",
        "nm": NM(2, 8),
        "seed": 0,
        "dtype": "float32",
    }
    values |= {
        "planned_steps": 40,
        "steps": 40,
        "phases": (Phase(0, 10, dense), Phase(10, 30, sparse)),
        "validation_accuracy": 0.875,
    }
    run = Run(**values | changes)
    (tmp_path / "trace.json").write_text(RunTrace(iteration, run).to_json())
    return iteration, run


def test_a_training_run_is_weighted_by_its_phases(tmp_path):
    iteration, recorded = run_trace(tmp_path)
    result = evaluate(one(traces=[str(tmp_path)]))
    expected = simulate_run(SAT, iteration, recorded)
    table = load_energy_table(SAT, "fpga16")
    dense_j, sparse_j = (energy_of(each, table).total_joules.nominal for each in expected.iterations)
    assert result["total_cycles"] == expected.iterations[1].total_cycles
    assert result["dense_cycles"] == expected.iterations[0].total_cycles
    assert (result["run_steps"], result["accuracy"]) == (40, 0.875)
    assert result["run_s"] == (10 * result["dense_cycles"] + 30 * result["total_cycles"]) / 200e6
    assert result["run_speedup"] == 40 * result["dense_cycles"] / (result["run_s"] * 200e6)
    assert result["run_energy_j"] == pytest.approx(10 * dense_j + 30 * sparse_j)


# -- the engine --------------------------------------------------------------------------------------------------


def test_every_point_is_computed_once_and_never_again(store):
    spec = spec_of(set={"array.rows": [8, 16]}, nm=["2:4", "2:8", "1:8"])
    first, second = Inline(), Inline()
    tally = run(spec, store, first)
    assert (tally.points, tally.computed, tally.reused, tally.failed) == (6, 6, 0, 0)
    assert len({task.sha256 for task in first.given}) == len(first.given) == 8  # and two baselines
    assert first.most == 2
    tally = run(spec, store, second)
    assert (tally.points, tally.computed, tally.reused, tally.failed) == (6, 0, 6, 0)
    assert second.given == []


def test_results_are_those_of_evaluate(store):
    spec = spec_of(set={"array.rows": [8, 16]}, methods=["dense", "bdwp"])
    run(spec, store)
    points = {point.sha256: point for point in Space(spec).grid()}
    assert {sha256: result for sha256, (result, _) in rows_of(store, spec).items()} == {
        sha256: evaluate(point) for sha256, point in points.items()
    }


def test_baselines_come_first_and_are_shared(store):
    executor = Inline(slots=4)
    run(spec_of(nm=["2:4", "2:8"]), store, executor)
    methods = [json.loads(task.inputs)["method"] for task in executor.given]
    assert methods == ["dense", "bdwp", "bdwp"]
    dense_cycles = evaluate(one(methods=["dense"]))["total_cycles"]
    assert [task.dense_cycles for task in executor.given] == [None, dense_cycles, dense_cycles]


def test_a_wider_sweep_computes_only_what_is_new(store):
    run(spec_of(set={"array.rows": [8, 16]}), store)
    executor = Inline()
    tally = run(spec_of(set={"array.rows": [8, 16, 32]}), store, executor)
    assert (tally.points, tally.computed, tally.reused, len(executor.given)) == (3, 1, 2, 2)


def test_a_point_that_fails_does_not_stop_the_others(store):
    spec = spec_of(set={UPDATE_BUFFER: [TOO_SMALL, ENOUGH]})
    tally = run(spec, store)
    assert (tally.points, tally.computed, tally.failed) == (2, 2, 1)
    (_, error), (result, _) = rows_of(store, spec).values()
    assert (
        error.startswith("ScheduleError: operation 'gemm.update': buffers.update holds 32 B a tile")
        and result["speedup"] > 1
    )
    again = Inline()
    tally = run(spec, store, again)
    assert (tally.computed, tally.reused, tally.failed, again.given) == (0, 1, 1, [])
    tally = run(spec, store, again, retry_failed=True)
    assert (tally.computed, tally.reused, tally.failed, len(again.given)) == (1, 1, 1, 2)


def test_bugs_are_recorded_too(monkeypatch, store):
    monkeypatch.setattr("codesign.sweep.evaluate.evaluate", lambda point, dense: 1 / 0)
    run(spec_of(), store)
    assert [error for _, error in rows_of(store, spec_of()).values()] == [
        "ZeroDivisionError: division by zero"
    ]


class PlugPulledError(Exception):
    """What ends a sweep in a test."""


@pytest.mark.parametrize("computed", range(1, 9))
def test_a_sweep_goes_on_wherever_it_was_cut_off(store, computed):
    spec = spec_of(set={"array.rows": [8, 16]}, nm=["2:4", "2:8", "1:8"])

    def cut_off(ended, known):
        assert known == 8
        if ended == computed:
            raise PlugPulledError

    with pytest.raises(PlugPulledError):
        run(spec, store, on_point=cut_off)
    executor = Inline()
    tally = run(spec, store, executor)
    assert len(executor.given) == 8 - computed
    assert tally.computed + tally.reused == tally.points == 6


def test_bad_sweeps_fail_before_anything_is_computed():
    for keys, message in (
        ({"set": {"array.rows": [-1]}}, "greater than 0"),
        ({"objectives": ["speed"]}, "unknown objective"),
        ({"search": {"trials": 3}}, "there is nothing to search"),
        (
            {"search": {"trials": 3}, "workloads": [{"name": GEMM}, {"name": "resnet9"}]},
            "a search is about one workload",
        ),
    ):
        with pytest.raises(SpecError, match=message):
            Sweep(spec_of(**keys))


# -- rows, front, files ------------------------------------------------------------------------------------------


def test_rows_say_what_was_varied(store):
    spec = spec_of(
        set={"array.rows": [8], "array.dataflows": [["ws", "os"]]},
        methods=["dense", "bdwp"],
        workloads=[RESNET9],
    )
    run(spec, store)
    view = View(store, spec)
    dense, sparse = view.rows()
    assert list(dense) == list(sparse) == list(view.columns)
    named = ("arch", "array.rows", "array.dataflows", "workload", "batch", "seq_len", "method", "nm", "error")
    assert [sparse[name] for name in named] == [
        "sat",
        8,
        ["ws", "os"],
        "resnet9",
        2,
        None,
        "bdwp",
        "2:8",
        None,
    ]
    assert (dense["nm"], dense["speedup"]) == (None, 1.0)


def test_the_front_of_each_workload(store):
    spec = spec_of(
        set={"array.rows": [8, 16, 32]},
        workloads=[{"name": GEMM}, {"name": "gemm:128x64x64"}],
        objectives=["time", "dsp"],
    )
    run(spec, store)
    view = View(store, spec)
    front = view.front()
    assert [objective.column for objective in front.objectives] == ["latency_s", "dsp"]
    rows = list(view.rows())
    expected = [
        row for row in rows
        if not any(
            other["workload"] == row["workload"]
            and other["latency_s"] <= row["latency_s"] and other["dsp"] <= row["dsp"]
            and (other["latency_s"], other["dsp"]) != (row["latency_s"], row["dsp"])
            for other in rows
        )
    ]  # fmt: skip
    assert sorted(row["hash"] for row in front.rows) == sorted(row["hash"] for row in expected)
    assert {row["workload"] for row in front.rows} == {GEMM, "gemm:128x64x64"}


def test_only_what_fits_is_on_the_front_if_it_must(store):
    keys = {
        "set": {"array.rows": [8, 128]},
        "objectives": ["time"],
        "workloads": [{"name": "resnet9", "batch": [4]}],
    }
    fronts = {}
    for must_fit in (False, True):
        spec = spec_of(**keys, must_fit=must_fit)
        run(spec, store)
        fronts[must_fit] = [(row["array.rows"], row["fits"]) for row in View(store, spec).front().rows]
    assert fronts == {False: [(128, "no")], True: [(8, "yes")]}


def test_failed_points_are_not_on_the_front(store):
    spec = spec_of(set={UPDATE_BUFFER: [TOO_SMALL]})
    run(spec, store)
    assert View(store, spec).front().rows == []
    assert "ScheduleError" in View(store, spec).first_error()


ACCURACIES = [
    {"workload": GEMM, "method": "dense", "accuracy": 0.9},
    {"workload": GEMM, "method": "bdwp", "nm": "2:8", "accuracy": 0.7},
    {"workload": GEMM, "method": "bdwp", "nm": "2:8", "accuracy": 0.9},
    {"workload": "other", "method": "bdwp", "nm": "2:4", "accuracy": 0.1},
]


def test_accuracies_join_by_workload_method_and_ratio(store):
    spec = spec_of(methods=["dense", "bdwp"], nm=["2:8", "2:4"], accuracy=ACCURACIES)
    run(spec, store)
    view = View(store, spec)
    assert [row["accuracy"] for row in view.rows()] == [0.9, pytest.approx(0.8), None]
    assert "accuracy" not in [objective.name for objective in view.front().objectives]


def test_accuracy_is_an_objective_once_it_is_known_of_all(store):
    spec = spec_of(methods=["dense", "bdwp"], accuracy=ACCURACIES)
    run(spec, store)
    front = View(store, spec).front()
    assert [objective.name for objective in front.objectives] == ["time", "energy", "lut", "accuracy"]
    assert [row["method"] for row in front.rows] == ["bdwp", "dense"]  # the slower one is more accurate


def test_a_point_without_a_chosen_objective_is_left_out(store):
    spec = spec_of(nm=["2:8", "2:4"], accuracy=ACCURACIES, objectives=["time", "accuracy"])
    run(spec, store)
    assert [row["nm"] for row in View(store, spec).front().rows] == ["2:8"]


def test_the_accuracy_of_a_run_is_its_own(store, tmp_path):
    run_trace(tmp_path)
    joined = [{"workload": "mlp:64x256x16", "method": "bdwp", "nm": "2:8", "accuracy": 0.1}]
    spec = spec_of(traces=[str(tmp_path)], accuracy=joined)
    run(spec, store)
    assert [row["accuracy"] for row in View(store, spec).rows()] == [0.875]


def test_csv_and_parquet_hold_the_rows(store, tmp_path):
    spec = spec_of(
        set={
            "array.rows": [8, 16],
            "array.dataflows": [["ws", "os"]],
            "array.double_weights": [True],
            UPDATE_BUFFER: [TOO_SMALL, ENOUGH],
        }
    )
    run(spec, store)
    view = View(store, spec)
    rows = list(view.rows())
    write_csv(tmp_path / "new/points.csv", view.columns, view.rows())
    with (tmp_path / "new/points.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["hash"] for row in written] == [row["hash"] for row in rows]
    texts = ("array.dataflows", "array.double_weights")
    for text, row in zip(written, rows, strict=True):
        assert [text[name] for name in texts] == ['["ws", "os"]', "true"]
        for name, value in row.items():
            if name not in texts:
                assert text[name] == ("" if value is None else str(value))

    write_parquet(tmp_path / "points.parquet", view.columns, view.rows())
    table = pyarrow.parquet.read_table(tmp_path / "points.parquet")
    for read, row in zip(table.to_pylist(), rows, strict=True):
        assert read | {"array.dataflows": json.loads(read["array.dataflows"])} == row
    assert str(table.schema.field("total_cycles").type) == "int64"
    assert str(table.schema.field("array.double_weights").type) == "bool"


def test_an_empty_table_has_its_columns(tmp_path):
    write_parquet(tmp_path / "empty.parquet", {"a": int, "b": str}, [])
    assert pyarrow.parquet.read_table(tmp_path / "empty.parquet").to_pydict() == {"a": [], "b": []}


def test_a_worker_computes_what_comes_as_json(store):
    spec = spec_of()
    agenda = Agenda(store, spec)
    agenda.add(Space(spec).grid())
    (task,) = agenda.pending(baselines=False)
    outcome = compute(task)
    assert (outcome.sha256, outcome.error) == (task.sha256, None)
    assert math.isclose(json.loads(outcome.result)["speedup"], evaluate(one())["speedup"])
