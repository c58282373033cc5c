"""The store: what is entered once stays once, whoever else writes, and whatever file it is."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from codesign.errors import ExportError, SpecError
from codesign.sweep.agenda import Agenda
from codesign.sweep.space import Space
from codesign.sweep.spec import SweepSpec
from codesign.sweep.store import APPLICATION_ID, VERSION, Store
from codesign.sweep.work import Outcome
from workloads.catalog import load
from workloads.run_trace import RunTrace


def spec_of(rows=(8, 16), methods=("bdwp",)):
    keys = {
        "set": {"array.rows": list(rows)},
        "workloads": [{"name": "gemm:64x64x64"}],
        "methods": list(methods),
    }
    return SweepSpec.model_validate(keys, strict=False)


SPEC = spec_of()
POINTS = list(Space(SPEC).grid())


def done(sha256, cycles=7):
    return Outcome(sha256, json.dumps({"total_cycles": cycles}))


def enter(store, spec=SPEC, **how):
    """The agenda of a sweep, all its points entered."""
    agenda = Agenda(store, spec, **how)
    agenda.add(Space(spec).grid())
    return agenda


def pending(agenda):
    return [[task.sha256 for task in agenda.pending(baselines=baselines)] for baselines in (True, False)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "sweep.sqlite"


@pytest.fixture
def store(path):
    with Store(path) as store:
        yield store


# -- points ------------------------------------------------------------------------------------------------------


def test_a_point_is_pending_until_it_is_recorded(store):
    agenda = enter(store)
    baselines = [point.baseline.sha256 for point in POINTS]
    assert pending(agenda) == [baselines, [point.sha256 for point in POINTS]]
    assert agenda.counts() == store.counts(SPEC.sha256) == (2, 0, 0, 4)
    store.record([done(baselines[0], 99), done(POINTS[1].sha256), Outcome(baselines[1], None, "no")])
    assert pending(agenda) == [[], [POINTS[0].sha256]]
    (task,) = agenda.pending(baselines=False)
    assert (task.dense_cycles, json.loads(task.inputs)) == (99, POINTS[0].model_dump(mode="json"))
    assert agenda.counts() == store.counts(SPEC.sha256) == (2, 1, 0, 1)


def test_a_baseline_that_was_asked_for_is_shown(store):
    both = spec_of(methods=("bdwp", "dense"))
    enter(store, both)
    assert [record.inputs["method"] for record in store.records(both.sha256)] == ["dense", "bdwp"] * 2
    enter(store)
    assert [record.inputs["method"] for record in store.records(SPEC.sha256)] == ["bdwp"] * 2


def test_rows_are_those_of_the_file(store, path):
    enter(store)
    store.record([done(POINTS[0].sha256), Outcome(POINTS[1].sha256, None, "too small")])
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT hash, result, error, version, created IS NOT NULL FROM points WHERE baseline IS NOT NULL"
        ).fetchall()
    first, second = (point.sha256 for point in POINTS)
    version = POINTS[0].version
    assert sorted(rows) == sorted(
        [(first, '{"total_cycles": 7}', None, version, 1), (second, None, "too small", version, 1)]
    )
    assert store.find(first).result == {"total_cycles": 7}
    assert store.find("0" * 64) is None


def test_the_first_result_stays(store):
    enter(store)
    sha256 = POINTS[0].sha256
    store.record([done(sha256, 1)])
    store.record([done(sha256, 2), Outcome(sha256, None, "late")])
    assert store.find(sha256).result == {"total_cycles": 1}
    enter(store)
    assert store.find(sha256).result == {"total_cycles": 1}


def test_a_workload_that_has_moved_is_found_where_it_is_now(store, tmp_path):
    spec = spec_of()
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "trace.json").write_text(RunTrace(load("gemm:64x64x64")).to_json())
        moved = spec.model_copy(update={"workloads": (), "traces": (str(tmp_path / folder),)})
        tasks = enter(store, moved).pending(baselines=False)
        sources = [json.loads(task.inputs)["workload"]["source"] for task in tasks]
        assert sources == [str(tmp_path / folder)] * 2
        assert store.counts(moved.sha256).total == 2


def test_failed_points_are_pending_again_only_on_demand(store):
    enter(store)
    store.record([Outcome(POINTS[0].sha256, None, "no"), done(POINTS[1].sha256)])
    assert pending(enter(store))[1] == []
    agenda = enter(store, retry_failed=True)
    assert pending(agenda)[1] == [POINTS[0].sha256]
    store.record([Outcome(POINTS[0].sha256, None, "again")])
    agenda.add(POINTS)  # a search may come to a point twice
    assert pending(agenda)[1] == []


def test_sweeps_share_points_and_keep_their_own_lists(store):
    wide = spec_of(rows=(16, 32))
    enter(store)
    enter(store, wide)
    store.record([done(POINTS[1].sha256)])
    assert [store.counts(spec.sha256).done for spec in (SPEC, wide)] == [1, 1]
    assert list(store.sweeps()) == [SPEC.sha256, wide.sha256]
    assert store.sweeps()[wide.sha256] == wide


def test_a_sweep_of_points_is_read_back(store):
    listed = SweepSpec.model_validate_json('{"points": [{"workload": "gemm:64x64x64"}]}')
    Agenda(store, listed)
    assert store.sweeps() == {listed.sha256: listed}


def test_a_description_that_cannot_be_read(store):
    enter(store)
    with store.transaction() as connection:
        connection.execute("UPDATE sweeps SET description = '{\"archs\": 1}'")
    with pytest.raises(SpecError, match="describes a sweep that this version cannot read; sweep again"):
        store.sweeps()


def test_entering_again_lists_what_the_description_means_now(store):
    enter(store)
    Agenda(store, SPEC).add(POINTS[1:])
    assert [record.sha256 for record in store.records(SPEC.sha256)] == [POINTS[1].sha256]


def test_a_sweep_that_is_started_again_leaves_the_first_one_its_points(store, path):
    agenda = enter(store)
    with Store(path) as other:
        second = Agenda(other, SPEC)
        assert store.counts(SPEC.sha256).total == 2  # until the second has its points
        second.add(POINTS[1:])
        assert store.counts(SPEC.sha256).total == 1
        assert pending(agenda)[1] == [point.sha256 for point in POINTS]
        assert pending(second)[1] == [POINTS[1].sha256]


def test_more_points_than_a_page(store, monkeypatch):
    for module in ("store", "agenda"):
        monkeypatch.setattr(f"codesign.sweep.{module}.PAGE", 8)
    spec = spec_of(rows=range(1, 21))
    agenda = enter(store, spec)
    assert store.counts(spec.sha256).total == 20
    rows = [record.inputs["arch"]["array"]["rows"] for record in store.records(spec.sha256)]
    assert rows == list(range(1, 21))
    for task in agenda.pending(baselines=False):  # recorded while they are read
        store.record([done(task.sha256)])
    assert store.counts(spec.sha256).done == 20


# -- several processes -------------------------------------------------------------------------------------------


def test_many_writers_at_once(path):
    spec = spec_of(rows=range(1, 17))
    points = list(Space(spec).grid())

    def work(worker):
        with Store(path) as store:
            enter(store, spec)
            for point in points[worker % 4 :: 4]:
                store.record([done(point.sha256, worker % 4)])
            return store.counts(spec.sha256).total

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(8))) == {16}
    with Store(path) as store:
        assert [record.result["total_cycles"] for record in store.records(spec.sha256)] == [0, 1, 2, 3] * 4
    assert integrity(path) == "ok"


def integrity(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


def test_a_writer_that_holds_it_too_long(store, path):
    store._connection.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ExportError, match="another process has held it"):
            enter(store)
        other.execute("ROLLBACK")
    enter(store)


# -- trouble -----------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_store_intact(store, path):
    enter(store)
    store.record([done(POINTS[0].sha256)])
    used = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {used + 2}")
    with pytest.raises(ExportError, match="the disk is full; what was computed is safe: free some space"):
        enter(store, spec_of(rows=range(1, 100)))
    with Store(path) as again:
        assert again.counts(SPEC.sha256).done == 1
        enter(again, spec_of(rows=range(1, 100)))
    assert integrity(path) == "ok"


def test_a_read_only_store(store):
    enter(store)
    store._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(ExportError, match="it is read-only; choose another place"):
        store.record([done(POINTS[0].sha256)])
    assert store.counts(SPEC.sha256).done == 0


def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100)
    with pytest.raises(SpecError, match=r"notes\.txt: is no store of sweeps"):
        Store(path)
    assert path.read_text() == "not a database\n" * 100
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0"])
def test_an_empty_or_broken_file_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SpecError, match="is no store of sweeps"):
        Store(tmp_path / "x")


def test_another_database_is_refused(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE points (hash TEXT)")
    with pytest.raises(SpecError, match="is no store of sweeps"):
        Store(path)


def test_a_store_of_a_newer_version_is_refused(store, path):
    store._connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    store.close()
    expected = f"was written by a newer codesign .format {VERSION + 1}, this one reads {VERSION}"
    with pytest.raises(SpecError, match=expected):
        Store(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="is not a directory"):
        Store(tmp_path / "file" / "sweep.sqlite")
    with pytest.raises(ExportError, match="cannot use the store"):
        Store(tmp_path)


def test_nothing_but_the_store_is_left(path):
    with Store(path) as store:
        enter(store)
    assert [each.name for each in path.parent.iterdir()] == ["sweep.sqlite"]
