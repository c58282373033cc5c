"""Workers that die and sweeps that are killed: afterwards every point is there once, as if nothing had happened.

The slow tier kills 20 times at random moments: a sweep and a worker of its pool 8 times each, a Dask worker 4 times.
"""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from multiprocessing import active_children

import dask
import psutil
import pytest
from distributed import LocalCluster
from sweeps import FATAL_ROWS, compute_or_die, die, rows_of, run, spec_of

from codesign.errors import CodesignError, SpecError
from codesign.strict_yaml import dump
from codesign.sweep import local_pool
from codesign.sweep.dask_cluster import DaskCluster
from codesign.sweep.local_pool import LocalPool
from codesign.sweep.store import Store

SPEC = spec_of(
    workloads=[{"name": "mlp:64x256x16", "batch": [64]}],
    set={"array.rows": [8, 16, FATAL_ROWS, 32], "sore.lanes": [8, 16]},
    nm=["2:4", "2:8", "1:8"],
)
POINTS, BASELINES = 24, 8

LONG = spec_of(
    workloads=[{"name": "mlp:64x256x16", "batch": [64]}], set={"dma.setup_cycles": list(range(2000))}
)
"""More points than are computed while a test looks elsewhere."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Results of the sweep, computed in this process."""
    with Store(tmp_path_factory.mktemp("undisturbed") / "sweep.sqlite") as store:
        run(SPEC, store)
        return rows_of(store, SPEC)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "sweep.sqlite") as store:
        yield store


class Killer:
    """Fed with progress: at random points of a sweep it kills one of the processes `find()`, so many times in all."""

    def __init__(self, find, times):
        self._find = find
        self._chance = random.Random(times)
        self._moments = sorted(self._chance.sample(range(1, POINTS + BASELINES), times))

    @property
    def left(self):
        return len(self._moments)

    def __call__(self, ended, known):
        if self._moments and ended >= self._moments[0] and (found := self._find()):
            time.sleep(self._chance.uniform(0, 0.05))
            self._chance.choice(found).kill()
            self._moments.pop(0)


def alive(pids):
    """The processes among these that are there and have not ended."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def pool_workers():
    return alive(child.pid for child in active_children())


def dask_workers(cluster):
    return alive(nanny.pid for nanny in cluster.workers.values() if nanny.pid)


def check_gone(processes):
    """They end soon."""
    psutil.wait_procs(processes, timeout=20)
    assert alive(process.pid for process in processes) == []


# -- local processes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_killed_workers_are_replaced(monkeypatch, store, undisturbed, times):
    monkeypatch.setattr(local_pool, "MAX_TRIES", 100)  # chance may strike a point again and again
    killer = Killer(pool_workers, times)
    with LocalPool(2) as pool:
        tally = run(SPEC, store, pool, on_point=killer)
        workers = pool_workers()
    assert len(workers) == 2
    check_gone(workers)
    assert (killer.left, tally.points, tally.computed, tally.failed) == (0, POINTS, POINTS, 0)
    assert rows_of(store, SPEC) == undisturbed


def test_a_point_that_kills_its_workers_fails_and_no_other(monkeypatch, store, undisturbed):
    monkeypatch.setattr(local_pool, "compute", compute_or_die)
    spec = SPEC.model_copy(update={"set": {"array.rows": (8, FATAL_ROWS, 32)}, "nm": SPEC.nm[:1]})
    monkeypatch.setattr(local_pool, "MAX_TRIES", 2)
    with LocalPool(1) as pool:
        tally = run(spec, store, pool)
    assert (tally.points, tally.computed, tally.failed) == (3, 3, 1)
    errors = [error for _, error in rows_of(store, spec).values()]
    assert errors == [None, "its worker process was killed at every try; out of memory?", None]


@pytest.mark.slow
def test_workers_that_only_die_end_the_sweep(monkeypatch, store):
    monkeypatch.setattr(local_pool, "compute", die)
    monkeypatch.setattr(local_pool, "MAX_DEATHS_IN_A_ROW", 3)
    with (
        LocalPool(1) as pool,
        pytest.raises(CodesignError, match="processes die as soon as they work, 4 in a row"),
    ):
        run(SPEC, store, pool)
    assert store.counts(SPEC.sha256).failed <= 1


@pytest.mark.slow
def test_idle_workers_that_die_are_replaced(store):
    small = SPEC.model_copy(update={"set": {}})
    with LocalPool(1) as pool:
        run(small, store, pool)
        (worker,) = pool_workers()
        worker.kill()
        worker.wait(10)
        tally = run(small.model_copy(update={"technology": "asic45"}), store, pool)
    assert (tally.computed, tally.failed) == (3, 0)


# -- the whole sweep ---------------------------------------------------------------------------------------------


def start(folder, workers, spec=SPEC):
    """`codesign sweep` in a process of its own."""
    description = folder / "sweep.yaml"
    if not description.exists():
        description.write_text(dump(spec.model_dump(mode="json", exclude_unset=True)))
    command = [
        sys.executable,
        "-m",
        "codesign",
        "sweep",
        description,
        "--store",
        folder / "sweep.sqlite",
        "--workers",
        workers,
    ]
    return psutil.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results_in(path):
    """When each result was computed, by hash; empty if there is no store yet."""
    if not path.exists():
        return {}
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        return dict(connection.execute("SELECT hash, created FROM points WHERE result IS NOT NULL"))


def kill_when(process, path, results, delay_s):
    """Kill a sweep a moment after so many results are there. Its workers go with it, and its store is intact."""
    while len(results_in(path)) < results and process.poll() is None:
        time.sleep(0.05)
    time.sleep(delay_s)
    workers = process.children(recursive=True) if process.is_running() else []
    process.kill()
    process.communicate()
    check_gone(workers)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(("times", "workers"), [(1, 1), pytest.param(8, 2, marks=pytest.mark.slow)])
def test_a_killed_sweep_goes_on(tmp_path, undisturbed, times, workers):
    chance = random.Random(times)
    path = tmp_path / "sweep.sqlite"
    before = {}
    for kill in range(times):
        kill_when(
            start(tmp_path, workers),
            path,
            round((kill + 0.5) * (POINTS + BASELINES) / times),
            chance.uniform(0, 0.2),
        )
        now = results_in(path)
        assert before.items() <= now.items()  # nothing is lost, and nothing computed again
        before = now
    process = start(tmp_path, workers)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    with Store(path) as store:
        assert rows_of(store, SPEC) == undisturbed
        reused = len([record for record in store.records(SPEC.sha256) if record.sha256 in before])
    assert f"{POINTS} points: {POINTS - reused} computed, {reused} reused, 0 failed" in out
    assert before.items() <= results_in(path).items()


def interrupt(process):
    """Ctrl-C, and again if nothing happens: Python drops one that arrives while it cleans up an object."""
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=30)
    raise AssertionError("the sweep goes on after Ctrl-C")


@pytest.mark.slow
def test_an_interrupted_sweep_says_how_to_go_on(tmp_path):
    process = start(tmp_path, workers=1, spec=LONG)
    while not results_in(tmp_path / "sweep.sqlite"):
        time.sleep(0.01)
    workers = process.children(recursive=True)
    out, err = interrupt(process)
    assert (process.returncode, out) == (130, "")
    assert err.split(". ", 1)[1].startswith(
        f"{tmp_path / 'sweep.sqlite'} holds what was computed; the same line goes on"
    )
    check_gone(workers)


# -- a Dask cluster ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    failures = {"distributed.scheduler.allowed-failures": 100}  # chance may strike a task again and again
    with dask.config.set(failures), LocalCluster(**options, silence_logs=50) as cluster:
        yield cluster


@pytest.mark.parametrize("times", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_killed_dask_workers_lose_nothing(cluster, store, undisturbed, times):
    killer = Killer(lambda: dask_workers(cluster), times)
    with DaskCluster(cluster.scheduler_address) as executor:
        tally = run(SPEC, store, executor, on_point=killer)
    assert (killer.left, tally.points, tally.computed, tally.failed) == (0, POINTS, POINTS, 0)
    assert rows_of(store, SPEC) == undisturbed


@pytest.mark.slow
def test_a_scheduler_that_goes_away(store):
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50)
    with cluster, DaskCluster(cluster.scheduler_address) as executor:

        def close(ended, known):
            if ended == 1:
                cluster.close()

        with pytest.raises(CodesignError, match="the cluster gave up"):
            run(SPEC, store, executor, on_point=close)
    assert store.counts(SPEC.sha256).failed == 0


def test_a_scheduler_that_is_not_there(monkeypatch):
    monkeypatch.setattr("codesign.sweep.dask_cluster.CONNECT_TIMEOUT_S", 0.2)
    with pytest.raises(SpecError, match=r"--scheduler tcp://127\.0\.0\.1:9: no Dask scheduler answers"):
        DaskCluster("tcp://127.0.0.1:9")
    with pytest.raises(SpecError, match="--scheduler nonsense:::: no Dask scheduler answers"):
        DaskCluster("nonsense:::")
