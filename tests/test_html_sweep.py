"""The page of a sweep: every point once, fronts and best ratios as an independent computation finds them."""

import re

import pytest
from command_line import run, succeed
from markupsafe import escape
from saved_results import HOSTILE
from sweeps import GEMM, Inline, spec_of
from sweeps import run as run_sweep

from codesign.report.html import sweep as sweep_module
from codesign.report.html.measures import measure_of
from codesign.report.html.page import Table, render
from codesign.report.html.points import Points, in_order
from codesign.report.html.report import build_report
from codesign.report.html.sweep import load_sweep_page
from codesign.report.html.sweep_charts import heat_maps
from codesign.spec_errors import printable
from codesign.sweep.store import Store
from codesign.sweep.view import View
from codesign.sweep.work import Outcome

SPEC = spec_of(
    workloads=[{"name": GEMM}, {"name": "gemm:32x64x96"}],
    set={"array.rows": [8, 16], "buffers.weight.capacity_bytes": [128, 2097152]},
    methods=["dense", "bdwp", "srste"],
    nm=["2:4", "2:8", "1:8"],
    accuracy=[{"workload": GEMM, "method": "bdwp", "nm": "2:8", "accuracy": 0.5}],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep")
    with Store(path / "sweep.sqlite") as store:
        tally = run_sweep(SPEC, store)
    assert (tally.points, tally.failed) == (56, 28)  # a weight buffer of 128 bytes holds no tile
    return path


@pytest.fixture(scope="module")
def rows(folder):
    with Store(folder / "sweep.sqlite") as store:
        return list(View(store, SPEC).rows())


@pytest.fixture(scope="module")
def done(rows):
    return [row for row in rows if row["error"] is None]


@pytest.fixture(scope="module")
def page(folder):
    return build_report(folder, "vcu1525")


def chart(page, name):
    (found,) = (each for each in page.charts if each.name == name)
    return found.figure


def tables(page):
    return {
        item.title: item for section in page.sections for item in section.items if isinstance(item, Table)
    }


def drawn(figure):
    """Coordinates by point, from the traces that are not there for the legend."""
    return {
        point: (x, y)
        for trace in figure.data
        if trace.showlegend is False
        for point, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
    }


def test_every_point_is_drawn_once(page, done):
    axes = {"front-1": ("latency_s", 1e3, "energy_j", 1e6), "front-2": ("latency_s", 1e3, "lut", 1)}  # ms, µJ
    for name, (x, x_factor, y, y_factor) in axes.items():
        figure = chart(page, name)
        found = drawn(figure)
        assert (
            sorted(found)
            == list(range(len(done)))
            == sorted(
                point for trace in figure.data if trace.showlegend is False for point in trace.customdata
            )
        )
        for point, row in enumerate(done):
            assert found[point] == pytest.approx((x_factor * row[x], y_factor * row[y]), rel=1e-6)


def dominated(row, others):
    """By the definition."""
    keys = ("latency_s", "energy_j", "lut")
    return any(
        all(other[key] <= row[key] for key in keys) and any(other[key] < row[key] for key in keys)
        for other in others
        if other["workload"] == row["workload"]
    )


def test_large_marks_are_the_front(page, done):
    expected = ["dominated" if dominated(row, done) else "on the front" for row in done]
    assert list(page.explorer.columns["trait front"]) == expected
    sizes = {
        point: size
        for trace in chart(page, "front-1").data
        if trace.showlegend is False
        for point, size in zip(trace.customdata, trace.marker.size, strict=True)
    }
    assert [sizes[point] > 6 for point in range(len(done))] == [word == "on the front" for word in expected]


def test_heat_maps_show_the_best_of_each_ratio(page, done):
    for number, workload in enumerate((GEMM, "gemm:32x64x96"), start=1):
        for column, best, factor in (("speedup", max, 1), ("energy_j", min, 1e6)):
            (heat,) = chart(page, f"heat-{number}-{column}").data
            assert (list(heat.y), list(heat.x)) == (["N = 1", "N = 2"], ["M = 4", "M = 8"])
            shown = {f"{n}:{m}": heat.z[n - 1][m // 4 - 1] for n in (1, 2) for m in (4, 8)}
            assert shown.pop("1:4") is None
            for ratio, value in shown.items():
                values = [row[column] for row in done if (row["workload"], row["nm"]) == (workload, ratio)]
                assert value == pytest.approx(factor * best(values), rel=1e-6)


@pytest.mark.parametrize(
    ("joules", "title", "value"),
    [([2.5, None], "energy, J", 2.5), ([0.002, 0.9], "energy, mJ", 2), ([None], "energy, nJ", None)],
)
def test_energies_are_in_the_unit_of_the_largest(joules, title, value):
    rows = [{"energy_j": each} for each in joules]
    measure = measure_of("energy_j", rows)
    assert (measure.title, measure.of(rows[0])) == (title, value)


def test_no_heat_map_of_a_single_ratio(done):
    of_one_ratio = [row for row in done if row["nm"] in (None, "2:8")]
    assert heat_maps(Points(of_one_ratio, (), (), frozenset())) == []


def test_parallel_axes(page, done):
    figure = chart(page, "parallel")
    titles = list(figure.layout.xaxis.ticktext)
    assert titles == [
        "workload", "array.rows", "method", "N:M", "iteration time, ms", "energy, µJ", "LUT", "speedup over dense",
    ]  # fmt: skip
    lines = [trace for trace in figure.data if trace.showlegend is False]
    points = [point for trace in lines for point in trace.customdata]
    assert sorted(points) == sorted(
        list(range(len(done))) * (len(titles) + 1)
    )  # and the gap to the next line
    heights = [y for trace in lines for y in trace.y if y is not None]
    assert (min(heights), max(heights)) == (0, 1)


def test_filters_are_what_varies(page):
    options = {choice.key.removeprefix("trait "): list(choice.options) for choice in page.explorer.filters}
    assert options["nm"] == ["2:4", "1:8", "2:8", "none"]
    assert options["array.rows"] == ["8", "16"]
    assert (
        "arch" not in options and "buffers.weight.capacity_bytes" not in options
    )  # one value among computed points
    assert page.explorer.filters[0].initial == f"{GEMM}, batch 1"
    assert set(page.explorer.columns) >= {f"trait {key}" for key in options} | set(page.explorer.axes)


def test_accuracy_is_an_axis_where_any_is_known(page):
    assert page.explorer.axes["accuracy"] == "accuracy, %"
    known = [value for value in page.explorer.columns["accuracy"] if value is not None]
    assert known == [50.0, 50.0]  # both arrays


def test_failed_points_are_listed_with_their_errors(page, rows):
    failed = [row for row in rows if row["error"]]
    found = tables(page)["Points without a result"].rows
    assert [row[-1] for row in found] == [row["error"] for row in failed]
    assert "does not fit: buffers.weight" in found[0][-1]
    assert [tile.value for tile in page.tiles[:2]] == ["56", "28"]


def test_rows_of_the_table_are_the_points_in_order(page, done):
    table = tables(page)["Computed points"]
    column = [each.title for each in table.columns].index("speedup over dense")
    assert [row[column] for row in table.rows] == pytest.approx([row["speedup"] for row in done], rel=1e-6)
    html = render(page)
    assert re.findall(r'data-point="(\d+)"', html) == [str(number) for number in range(len(done))]


def test_a_large_sweep_keeps_its_front(folder, done, monkeypatch):
    front = sum(not dominated(row, done) for row in done)
    monkeypatch.setattr(sweep_module, "MAX_POINTS", front + 2)
    monkeypatch.setattr(sweep_module, "MAX_FAILURES", 3)
    page = load_sweep_page(folder / "sweep.sqlite")
    assert page.explorer.columns["trait front"].count("on the front") == front
    found = tables(page)
    assert found["Computed points"].note == f"{front + 2} of 28 computed points; points.csv has all."
    assert found["Points without a result"].note == "The first 3 of 28; points.csv has all."


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_errors_and_names_are_text(tmp_path, name):
    with Store(tmp_path / "sweep.sqlite") as store:
        run_sweep(spec_of(set={"array.rows": [8, 16]}, methods=["dense"]), store, Spoiling(name))
    succeed("report", tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert f">{escape(printable(name))}</td>" in html
    assert "<" not in name or name not in html


class Spoiling(Inline):
    """Fails the first point with an error that tries to break the page."""

    def __init__(self, name):
        super().__init__()
        self._name = name

    def wait(self):
        outcomes = super().wait()
        name, self._name = self._name, ""
        return [Outcome(each.sha256, None, name) for each in outcomes] if name else outcomes


def test_a_store_without_points_or_sweeps(tmp_path):
    with Store(tmp_path / "sweep.sqlite"):
        pass
    assert "holds no sweep; run `codesign sweep` first" in run("report", tmp_path).err
    with Store(tmp_path / "sweep.sqlite") as store:
        run_sweep(spec_of(set={"buffers.weight.capacity_bytes": [128]}), store)
    page = build_report(tmp_path, "vcu1525")
    assert (page.title, page.charts, page.explorer) == ("Sweep", [], None)
    assert [section.name for section in page.sections] == ["failed", "configuration"]
    succeed("report", tmp_path)


def test_of_several_sweeps_the_last_is_shown(tmp_path):
    with Store(tmp_path / "sweep.sqlite") as store:
        for rows in ([8], [8, 16]):
            run_sweep(spec_of(set={"array.rows": rows}), store)
    page = build_report(tmp_path, "vcu1525")
    assert page.tiles[0].value == "2"
    assert "The store holds 1 more" in page.subtitle


def test_what_is_no_store(tmp_path):
    (tmp_path / "sweep.sqlite").write_text("nothing")
    code, _, err = run("report", tmp_path)
    assert (code, err.count("\n")) == (2, 1) and "is no store of sweeps" in err


def test_values_come_in_their_order():
    texts = ["none", "16", "2:8", "8", "1:4", "bdwp", "1:8", "2.5"]
    assert sorted(texts, key=in_order) == ["2.5", "1:4", "1:8", "2:8", "8", "16", "bdwp", "none"]
