"""Search: what Optuna asks for is computed and told, the same seed leads to the same points, and it resumes."""

import optuna
import pytest
from sweeps import GEMM, Inline, rows_of, run, spec_of

from codesign.errors import SpecError
from codesign.sweep import search as module
from codesign.sweep.store import Store
from codesign.sweep.view import View

SPACE = {
    "set": {
        "array.rows": [4, 8, 16, 32],
        "array.cols": [4, 8, 16, 32],
        "array.fill_policy": ["hidden", "every_tile"],
    },
    "nm": ["2:4", "2:8"],
    "objectives": ["time", "dsp"],
}


def spec(trials=16, population=8, **keys):
    return spec_of(
        **SPACE | {"search": {"trials": trials, "population": population} | keys.pop("search", {})} | keys
    )


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "sweep.sqlite") as store:
        yield store


@pytest.fixture
def studies(monkeypatch):
    """Every study that is created."""
    created = []
    create = optuna.create_study

    def spy(**how):
        created.append(create(**how))
        return created[-1]

    monkeypatch.setattr(module.optuna, "create_study", spy)
    return created


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_results_are_told_as_they_are(store, studies, sampler):
    sweep = spec(trials=12, population=6, search={"sampler": sampler})
    tally = run(sweep, store)
    (study,) = studies
    assert len(study.trials) == 12
    assert tally.points == len(rows_of(store, sweep)) <= 12
    rows = {
        (row["array.rows"], row["array.cols"], row["array.fill_policy"], row["nm"]): [
            row["latency_s"],
            row["dsp"],
        ]
        for row in View(store, sweep).rows()
    }
    axes = SPACE["set"] | {"training": SPACE["nm"]}
    for trial in study.trials:
        assert trial.values == rows[tuple(values[trial.params[name]] for name, values in axes.items())]
        assert trial.params["arch"] == 0
    assert set(study.directions) == {optuna.study.StudyDirection.MINIMIZE}
    assert all(isinstance(study.trials[0].distributions[name], kind) for name, kind in (
        ("array.rows", optuna.distributions.IntDistribution),
        ("array.fill_policy", optuna.distributions.CategoricalDistribution),
    ))  # fmt: skip


def test_what_is_to_be_largest_is_told_with_its_sign_turned(store, studies):
    run(spec(trials=2, objectives=["speedup", "time"]), store)
    for trial in studies[0].trials:
        assert trial.values[0] < 0 < trial.values[1]


def test_a_seed_leads_to_the_same_points_however_many_workers(tmp_path):
    found = []
    for slots, seed in ((1, 0), (5, 0), (1, 1)):
        with Store(tmp_path / f"{slots}-{seed}") as store:
            sweep = spec(search={"seed": seed})
            run(sweep, store, Inline(slots))
            found.append(list(rows_of(store, sweep).items()))
    assert found[0] == found[1] != found[2]


def test_more_trials_go_on_where_fewer_have_ended(store):
    short, long = spec(trials=8), spec(trials=24)
    run(short, store)
    tally = run(long, store)
    assert list(rows_of(store, long))[: tally.reused] == list(rows_of(store, short))
    assert tally.computed > 0


class PlugPulledError(Exception):
    """What ends a sweep in a test."""


@pytest.mark.parametrize("computed", [1, 7, 13])
def test_a_search_goes_on_wherever_it_was_cut_off(tmp_path, computed):
    with Store(tmp_path / "undisturbed") as store:
        run(spec(), store)
        expected = list(rows_of(store, spec()).items())

    def cut_off(ended, known):
        if ended == computed:
            raise PlugPulledError

    with Store(tmp_path / "disturbed") as store:
        with pytest.raises(PlugPulledError):
            run(spec(), store, on_point=cut_off)
        first = len([row for row in rows_of(store, spec()).values() if row[0]])
        tally = run(spec(), store)
        assert list(rows_of(store, spec()).items()) == expected
        assert tally.reused == first


def test_what_does_not_fit_is_told_as_a_constraint(store, studies):
    sweep = spec(trials=8, set={"array.rows": [8, 128], "array.cols": [32, 64]}, must_fit=True)
    run(sweep, store)
    shares = {
        (row["array.rows"], row["array.cols"], row["nm"]): row["device_share"]
        for row in View(store, sweep).rows()
    }
    assert min(shares.values()) < 1 < max(shares.values())
    for trial in studies[0].trials:
        rows, cols, nm = (trial.params[name] for name in ("array.rows", "array.cols", "training"))
        assert trial.constraints == {
            "device_share": shares[(8, 128)[rows], (32, 64)[cols], ("2:4", "2:8")[nm]] - 1
        }


def test_what_fails_or_cannot_be_is_told_as_failed(store, studies):
    tally = run(
        spec(trials=16, set={"buffers.update.capacity_bytes": [64, 1 << 20]}, archs=["sat", "dense"]), store
    )
    states = {trial.state for trial in studies[0].trials}
    assert states == {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL}
    assert tally.failed > 0 and sum(tally.dropped.values()) > 0
    assert "array.sparsity of architecture 'dense'" in " ".join(tally.dropped)


def test_a_search_finds_the_front_of_a_small_space(store):
    whole = spec_of(**SPACE)
    sweep = spec(trials=48)
    run(whole, store)
    run(sweep, store)
    best = {row["hash"] for row in View(store, whole).front().rows}
    assert best & {row["hash"] for row in View(store, sweep).front().rows}


def test_an_objective_that_is_not_known_ends_it(store):
    with pytest.raises(
        SpecError, match="objective 'accuracy' is not known of gemm:64x64x64 bdwp; give --accuracy"
    ):
        run(spec(objectives=["time", "accuracy"]), store)
    known = [{"workload": GEMM, "method": "bdwp", "nm": nm, "accuracy": 0.5} for nm in SPACE["nm"]]
    run(spec(objectives=["time", "accuracy"], accuracy=known), store)
