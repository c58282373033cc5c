"""A whole training run: phases weighted by their steps, ratios that the array lacks, and the command line."""

import json
import re

import pytest
from command_line import run, succeed
from strategies import SAT

from codesign.errors import TraceError
from codesign.nm.format import NM
from codesign.simulate import simulate
from codesign.simulate_run import simulate_run
from hw_models.arch import load_arch
from workloads.catalog import load
from workloads.ops import Role, Stage
from workloads.run_trace import FILE_NAME, Phase, Run, RunTrace
from workloads.sparsity import LayerSparsity, apply_method

MLP = load("mlp:64x256x256x16", batch=32)
_, DENSE = apply_method(MLP, "dense", None)
_, SPARSE = apply_method(MLP, "bdwp", NM(2, 8))
_, MILD = apply_method(MLP, "bdwp", NM(7, 8))


def run_of(*phases, **changes):
    """A run with phases of (steps, decisions)."""
    placed, first = [], 0
    for steps, decisions in phases:
        placed.append(Phase(first, steps, decisions))
        first += steps
    values = {
        "model": "mlp",
        "data": "digits",
        "method": "bdwp",
        "nm": NM(2, 8),
        "seed": 0,
        "dtype": "float32",
    }
    values |= {"planned_steps": first, "steps": first, "phases": tuple(placed), "validation_accuracy": 0.9375}
    return Run(**values | changes)


@pytest.fixture
def trace_file(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_text(RunTrace(MLP, run_of((10, DENSE), (30, SPARSE))).to_json())
    return path


def test_phases_count_by_their_steps():
    result = simulate_run(SAT, MLP, run_of((10, DENSE), (30, SPARSE), (5, DENSE)))
    sparse, dense = (simulate(SAT, MLP, method=method, nm=NM(2, 8)) for method in ("bdwp", "dense"))
    assert result.total_cycles == 15 * dense.total_cycles + 30 * sparse.total_cycles
    assert result.dense_cycles == 45 * dense.total_cycles
    assert result.speedup_vs_dense == result.dense_cycles / result.total_cycles > 1
    assert result.total_s == result.total_cycles / SAT.clock_hz
    assert result.main == sparse
    assert [each.nm for each in result.iterations] == ["dense", "2:8", "dense"]


def test_of_phases_of_one_length_the_last_is_shown():
    result = simulate_run(SAT, MLP, run_of((10, DENSE), (10, SPARSE), (5, DENSE)))
    assert result.main is result.iterations[1]


def test_each_layer_has_its_own_ratio():
    mixed = tuple(
        LayerSparsity(row.layer, row.stage, row.pruned, NM(2, 4)) if row.nm and row.layer == "fc2" else row
        for row in SPARSE
    )
    iteration = simulate_run(SAT, MLP, run_of((1, mixed))).main
    ratios = {(op.layer, op.stage): op.sparsity for op in iteration.ops if op.sparsity}
    assert ratios["fc2", "ff"] == ratios["fc2", "bp"] == "2:4"
    assert ratios["fc3", "ff"] == ratios["fc3", "bp"] == "2:8"
    assert ratios["fc1", "ff"] == ratios["fc3", "wu"] == "dense"
    assert iteration.nm == "2:4, 2:8"


def test_a_ratio_that_the_array_lacks_runs_dense():
    ramp = simulate_run(SAT, MLP, run_of((10, MILD), (10, SPARSE)))
    assert NM(7, 8) not in SAT.array.sparsity
    assert ramp.iterations[0].total_cycles == ramp.main.baseline.total_cycles > ramp.main.total_cycles
    on_dense = simulate_run(load_arch("dense"), MLP, run_of((10, MILD), (10, SPARSE)))
    assert on_dense.speedup_vs_dense == 1


def test_a_pruned_weight_gradient_makes_its_product_sparse():
    rows = (*SPARSE, LayerSparsity("fc2", Stage.WU, Role.GRADIENT, NM(2, 4)))
    with_mvue = simulate_run(SAT, MLP, run_of((1, rows))).main
    without = simulate_run(SAT, MLP, run_of((1, SPARSE))).main
    # fc2's weight gradient: 256 x 32 x 256 MACs, of which half are left.
    assert without.total.macs - with_mvue.total.macs == 256 * 32 * 256 // 2


def test_a_run_without_steps_is_refused():
    with pytest.raises(TraceError, match="has done no step yet; train it first"):
        _ = run_of().longest_phase


# -- the command line ----------------------------------------------------------------------------------------------


def test_the_run_stands_beside_its_main_iteration(trace_file):
    data = json.loads(succeed("simulate", "--trace", trace_file.parent, "--json"))
    sparse = simulate(SAT, MLP, nm=NM(2, 8))
    assert data["total_cycles"] == sparse.total_cycles
    assert data["workload"]["batch"] == 32
    ran = data["run"]
    assert ran["validation_accuracy"] == 0.9375
    assert ran["total_cycles"] == 10 * data["dense_cycles"] + 30 * data["total_cycles"]
    assert ran["speedup_vs_dense"] == 40 * data["dense_cycles"] / ran["total_cycles"]
    assert [phase["steps"] for phase in ran["phases"]] == [10, 30]


def test_the_table_of_a_run(trace_file, tmp_path):
    out = succeed("simulate", "--trace", trace_file, "--layers", "--ablation", "--out", tmp_path / "out")
    assert "Training run: mlp on digits" in out
    assert "10 to 39" in out
    assert "Reached: validation accuracy 93.75%" in out
    assert "run" in json.loads((tmp_path / "out/result.json").read_text())


def test_the_schedule_of_a_run_is_that_of_its_longest_phase(trace_file):
    assert "2:8" in succeed("schedule", "--trace", trace_file)


def test_a_trace_without_a_run_is_a_workload(trace_file):
    trace_file.write_text(RunTrace(MLP).to_json())
    data = json.loads(succeed("simulate", "--trace", trace_file, "--method", "sdwp", "--nm", "2:4", "--json"))
    assert data["total_cycles"] == simulate(SAT, MLP, method="sdwp", nm=NM(2, 4)).total_cycles
    assert "run" not in data


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--workload", "resnet18"], "--workload has no meaning with --trace"),
        (["--batch", "8"], "--batch has no meaning with --trace"),
        (["--seq-len", "8"], "--seq-len has no meaning with --trace"),
        (
            ["--method", "dense"],
            "--method has no meaning with --trace .* trained with bdwp; leave one of them out",
        ),
        (["--nm", "2:8"], "--nm has no meaning with --trace"),
    ],
)
def test_what_the_run_decided_cannot_be_chosen(trace_file, options, expected):
    code, out, err = run("simulate", "--trace", trace_file, *options)
    assert (code, out) == (2, "")
    assert re.search(expected, err)
    assert len(err.splitlines()) == 1


def test_no_trace_no_result(tmp_path):
    code, _, err = run("simulate", "--trace", tmp_path)
    assert code == 2
    assert "trace.json: no such file; expected a training trace" in err
