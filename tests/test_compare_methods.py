"""Methods side by side: one table from many runs, runs that are there are reused, and what is refused."""

import csv
import json
from statistics import fmean, stdev

import pytest
from command_line import run, succeed
from strategies import SAT

from codesign import compare_methods as module
from codesign.compare_methods import DENSE, Variant, compare_methods, variants_of
from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.simulate import simulate
from codesign.train.config import TrainConfig
from workloads.run_trace import load_run_trace

MLP = "mlp:64x32x16"
NM28, NM24 = NM(2, 8), NM(2, 4)
BASE = TrainConfig(model=MLP, data="digits", steps=3, batch=128, threads=1, record_every=0)


def compare(out, methods=("bdwp",), ratios=(NM28,), seeds=(0, 1), **options):
    return compare_methods(SAT, BASE, variants_of(methods, ratios), seeds, out, **options)


def test_variants():
    assert variants_of(["bdwp", "srste"], [NM28, NM24]) == (
        Variant(DENSE, None),
        Variant("bdwp", NM28),
        Variant("bdwp", NM24),
        Variant("srste", NM28),
        Variant("srste", NM24),
    )
    assert variants_of(["dense"], [NM28]) == (Variant(DENSE, None),)
    with pytest.raises(SpecError, match="is named twice"):
        variants_of(["bdwp", "bdwp"], [NM28])


def test_rows_come_from_the_runs_and_the_simulator(tmp_path):
    dense, sparse = compare(tmp_path)
    runs = [load_run_trace(tmp_path / f"bdwp-2-8/seed-{seed}/trace") for seed in (0, 1)]
    accuracies = [trace.run.validation_accuracy for trace in runs]
    row = sparse.as_dict()
    assert [trace.run.seed for trace in runs] == row["seeds"] == [0, 1]
    assert row["accuracy"] == fmean(accuracies)
    assert row["accuracy_std"] == stdev(accuracies)
    assert (row["method"], row["nm"], dense.as_dict()["nm"]) == ("bdwp", "2:8", None)
    expected = simulate(SAT, runs[0].iteration, nm=NM28)
    assert row["iteration_cycles"] == expected.total_cycles
    assert row["run_s"] == pytest.approx(3 * expected.latency_s)
    assert dense.as_dict()["run_speedup"] == 1
    # 64x32 stem: dense. 32x16 layer: a quarter in FF and BP, all in WU; the stem has no BP.
    assert (row["ff_macs_per_sample"], row["bp_macs_per_sample"]) == (64 * 32 + 32 * 16 // 4, 32 * 16 // 4)
    assert row["wu_macs_per_sample"] == 64 * 32 + 32 * 16


def test_finished_runs_are_reused_and_interrupted_ones_go_on(tmp_path, monkeypatch):
    first = compare(tmp_path, seeds=(0,))
    (tmp_path / "bdwp-2-8/seed-0/trace/trace.json").unlink()
    (tmp_path / "dense/seed-0/model.safetensors").unlink()
    trained = []
    train = module.train
    monkeypatch.setattr(
        module, "train", lambda config, out, **how: trained.append((out, how)) or train(config, out, **how)
    )
    again = compare(tmp_path, seeds=(0,))
    assert again == first
    assert trained == [(tmp_path / "bdwp-2-8/seed-0", {"resume": True})]


def test_two_processes_give_the_same_table(tmp_path):
    assert compare(tmp_path / "a", jobs=2) == compare(tmp_path / "b")


def test_progress_is_told(tmp_path):
    told = []
    compare(tmp_path, seeds=(0,), on_run=lambda *counts: told.append(counts))
    assert told == [(1, 2), (2, 2)]


def test_another_configuration_is_not_mixed_in(tmp_path):
    compare(tmp_path, seeds=(0,))
    longer = BASE.model_copy(update={"steps": 4})
    with pytest.raises(SpecError, match="holds another run: steps was 3 and is 4; choose another folder"):
        compare_methods(SAT, longer, variants_of([], []), (0,), tmp_path)


# -- the command line ----------------------------------------------------------------------------------------------

OPTIONS = ("--model", MLP, "--data", "digits", "--steps", 3, "--batch", 128, "--threads", 1)


def test_the_table_is_printed_and_stored(tmp_path):
    chosen = ("compare-methods", *OPTIONS, "--seeds", 2, "--methods", "bdwp,srste", "--out", tmp_path)
    out = succeed(*chosen)
    assert f"{MLP} on digits, 3 steps, 2 seeds; batch 128 on sat" in out
    assert all(label in out for label in ("dense", "bdwp 2:8", "srste 2:8", " ± ", " pp"))
    stored = json.loads((tmp_path / "comparison.json").read_text())
    assert json.loads(succeed(*chosen, "--json")) == stored
    rows = list(csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines()))
    assert [(row["workload"], row["method"], row["nm"]) for row in rows] == [
        (MLP, "dense", ""),
        (MLP, "bdwp", "2:8"),
        (MLP, "srste", "2:8"),
    ]
    assert [float(row["accuracy"]) for row in rows] == [row["accuracy"] for row in stored["comparison"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--methods", "bdpw"), "unknown method 'bdpw', did you mean \"bdwp\""),
        (("--nm", "8:2"), "N:M ratio 8:2: expected 1 <= N <= M"),
        (("--arch", "nowhere"), "nowhere"),
        (("--model", "resnet10"), "resnet10"),
    ],
)
def test_bad_input_trains_nothing(tmp_path, options, expected):
    code, out, err = run("compare-methods", *OPTIONS, "--out", tmp_path, *options)
    assert (code, out) == (2, "")
    assert expected in err
    assert not list(tmp_path.iterdir())
