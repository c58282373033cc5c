"""Pages in a real browser: nothing is fetched, nothing fails, charts have marks, and tables and filters work."""

import os
import shutil
from pathlib import Path

import pytest
from saved_results import HOSTILE, make_hostile, rungs, simulated, write
from sweeps import GEMM, spec_of
from sweeps import run as run_sweep

from codesign.report.difference import compare
from codesign.report.html.difference import difference_page
from codesign.report.html.images import write_images
from codesign.report.html.page import Page, render
from codesign.report.html.report import build_report
from codesign.report.saved import load_simulation
from codesign.spec_errors import printable
from codesign.sweep.store import Store

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")]

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
LOAD_MS = 120_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=CHROMIUM,
            args=FLAGS.split(),
            color_scheme="light",
        )
        context.set_default_timeout(LOAD_MS)
        yield context
        context.close()


class Visit:
    """A page that was opened, with all that it asked for and complained about."""

    def __init__(self, browser, path):
        self.requests, self.complaints = [], []
        self.page = browser.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())

    def values(self, selector, expression):
        return self.page.eval_on_selector_all(selector, f"found => found.map(each => {expression})")


def visit_of(browser, folder, page):
    path = folder / "page.html"
    path.write_text(render(page), encoding="utf-8")
    return Visit(browser, path)


@pytest.fixture(scope="module")
def simulation(browser, tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("simulation"), simulated(), ablation=rungs())
    make_hostile(folder)
    return visit_of(browser, folder, build_report(folder, "vcu1525"))


@pytest.fixture(scope="module")
def sweep(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    spec = spec_of(
        workloads=[{"name": GEMM}, {"name": "gemm:32x64x96"}],
        set={"array.rows": [8, 16], "buffers.weight.capacity_bytes": [128, 2097152]},
        nm=["2:4", "2:8", "1:8"],
    )
    with Store(folder / "sweep.sqlite") as store:
        run_sweep(spec, store)
    return visit_of(browser, folder, build_report(folder, "vcu1525"))


@pytest.fixture(scope="module")
def difference(browser, tmp_path_factory):
    place = tmp_path_factory.mktemp("difference")
    a = write(place / "a", simulated("dense", None))
    b = write(place / "b", simulated())
    make_hostile(b)
    return visit_of(browser, place, difference_page(compare(load_simulation(a), load_simulation(b))))


MARKS = ".plot .point path, .plot path.point, .plot .js-line, .plot .heatmaplayer image, .plot .scatterlayer .point"


@pytest.mark.parametrize("kind", ["simulation", "sweep", "difference"])
def test_a_page_loads_by_itself_and_draws_everything(kind, request):
    visit = request.getfixturevalue(kind)
    assert [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len([url for url in visit.requests if url.startswith("file:")]) == 1
    assert visit.complaints == []
    marks = visit.values(".plot", f"each.querySelectorAll('{MARKS.replace('.plot ', '')}').length")
    assert marks and all(marks), dict(zip(visit.values(".plot", "each.id"), marks, strict=True))


def test_hostile_names_are_shown_and_run_nothing(simulation, difference):
    for visit in (simulation, difference):
        assert visit.page.evaluate("window.pwned") is None
        assert visit.values("img", "each.src") == []
        cells = visit.values("table.interactive td:first-child", "each.textContent")
        assert {printable(name) for name in HOSTILE[:4]} <= set(cells)
    ticks = simulation.values("#chart-layers-by-stage .xtick text", "each.textContent")
    assert "%{x} $x^2$ {{ 7 * 7 }} {% raw %}"[:10] in "".join(ticks)


def test_hovering_shows_a_hostile_name_as_text(simulation):
    page = simulation.page
    texts = []
    for point in range(3):
        page.evaluate(
            "n => Plotly.Fx.hover('chart-layers-by-stage', [{curveNumber: 0, pointNumber: n}])", point
        )
        texts += simulation.values("#chart-layers-by-stage .hoverlayer text", "each.textContent")
    assert any(text.startswith(HOSTILE[0]) for text in texts)
    assert simulation.values(".hoverlayer a, .hoverlayer b", "each.textContent") == []


def test_a_table_sorts_both_ways_and_back_by_text(simulation):
    page = simulation.page

    def column(position):
        return simulation.values(
            f"#table tbody tr td:nth-child({position})", "each.dataset.value ?? each.textContent"
        )

    page.click("#table th:nth-child(3) button")
    falling = [int(value) for value in column(3)]
    assert falling == sorted(falling, reverse=True) and falling[0] > falling[-1]
    page.click("#table th:nth-child(3) button")
    assert [int(value) for value in column(3)] == falling[::-1]
    assert simulation.values("#table th[aria-sort]", "each.ariaSort") == ["ascending"]
    page.click("#table th:nth-child(2) button")
    assert column(2) == sorted(column(2))


def test_a_table_filters_by_words(simulation):
    page = simulation.page
    everything = page.locator("#table tbody tr").count()
    page.fill("#table input", "ff SCRIPT")
    shown = page.locator("#table tbody tr:visible").all_text_contents()
    assert len(shown) == 1 and HOSTILE[0] in shown[0] and "FF" in shown[0]
    assert page.text_content("#table output") == f"1 of {everything} rows"
    page.fill("#table input", "")
    assert page.locator("#table tbody tr:visible").count() == everything


def test_light_and_dark(simulation):
    page = simulation.page

    def colours():
        texts = simulation.values("#chart-roofline .xtick text", "getComputedStyle(each).fill")
        return page.evaluate("getComputedStyle(document.documentElement).backgroundColor"), texts[0]

    light = colours()
    page.emulate_media(color_scheme="dark")
    dark = colours()
    assert (light[0], dark[0]) == ("rgb(246, 247, 248)", "rgb(20, 24, 28)")
    assert (light[1], dark[1]) == ("rgb(29, 36, 43)", "rgb(228, 232, 235)")
    page.click("#theme")
    assert colours() == light
    page.emulate_media(color_scheme="light")
    page.click("#theme")
    assert colours() == dark
    page.click("#theme")


WIDTH_ONCE_CHARTS_HAVE_FOLLOWED = """async () => {
    const root = document.documentElement;
    for (let i = 0; i < 500 && root.scrollWidth > innerWidth; i++) await new Promise((go) => setTimeout(go, 20));
    return root.scrollWidth;
}"""


def test_a_narrow_window_has_no_horizontal_scroll_bar(simulation, sweep, difference):
    for visit in (simulation, sweep, difference):
        visit.page.set_viewport_size({"width": 390, "height": 800})
        assert visit.page.evaluate(WIDTH_ONCE_CHARTS_HAVE_FOLLOWED) == 390
        visit.page.set_viewport_size({"width": 1280, "height": 800})


def test_filters_reach_charts_and_table(sweep):
    page = sweep.page
    points = (
        "Object.values(document.getElementById('chart-front-1').data).flatMap(t => t.y)"
        ".filter(y => y !== null).length"
    )
    assert page.input_value("select[name='trait workload']") == f"{GEMM}, batch 1"  # the first at the start
    assert (page.text_content("#passing"), page.evaluate(points)) == ("6 of 12 points", 6)
    page.select_option("select[name='trait nm']", "2:8")
    assert (page.text_content("#passing"), page.evaluate(points)) == ("2 of 12 points", 2)
    assert page.locator("tr[data-point]:visible").count() == 2
    page.select_option("select[name='trait workload']", "")
    assert (page.text_content("#passing"), page.evaluate(points)) == ("4 of 12 points", 4)
    page.select_option("select[name='trait nm']", "")
    assert page.evaluate(points) == 12


def test_axes_are_the_readers_choice(sweep):
    page = sweep.page
    page.select_option("select[data-axis='x']", "lut")
    page.select_option("select[data-axis='y']", "energy_j")
    figure = page.evaluate(
        "(({data, layout}) => ({title: layout.xaxis.title.text, data: data.map(({x, y, customdata, showlegend}) => "
        "({x, y, customdata, showlegend}))}))(document.getElementById('chart-any-two'))"
    )
    columns = page.evaluate("points")
    assert figure["title"] == "LUT"
    for trace in figure["data"]:
        if trace["showlegend"] is False:
            assert trace["x"] == [columns["lut"][point] for point in trace["customdata"]]
            assert trace["y"] == [columns["energy_j"][point] for point in trace["customdata"]]


def test_hovering_tells_what_a_point_is(sweep):
    sweep.page.evaluate("Plotly.Fx.hover('chart-front-1', [{curveNumber: 0, pointNumber: 0}])")
    (text, *_) = sweep.values("#chart-front-1 .hoverlayer text", "each.textContent")
    assert GEMM in text and "bdwp 2:4 on sat" in text and "speedup over dense" in text


def test_no_chart_offers_to_upload_it(simulation, sweep):
    expected = {
        "Download plot as a PNG",
        "Zoom",
        "Pan",
        "Zoom in",
        "Zoom out",
        "Reset axes",
        "Download plot as SVG",
    }
    for visit in (simulation, sweep):
        assert set(visit.values(".modebar-btn", "each.dataset.title")) == expected


@pytest.mark.parametrize(("button", "ending", "start"), [(0, "png", b"\x89PNG"), (-1, "svg", b"<svg")])
def test_a_chart_has_buttons_that_save_it(simulation, button, ending, start):
    buttons = simulation.page.locator("#chart-roofline .modebar-btn[data-title*=ownload]").all()
    assert len(buttons) == 2
    with simulation.page.expect_download() as started:
        buttons[button].dispatch_event("click")
    assert started.value.suggested_filename == f"roofline.{ending}"
    assert Path(started.value.path()).read_bytes().startswith(start)


def test_images_are_drawn_by_the_same_browser(tmp_path, monkeypatch):
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", os.fspath(CHROMIUM))
    folder = write(tmp_path / "result", simulated())
    page = build_report(folder, "vcu1525")
    roofline = [section for section in page.sections if section.name == "roofline"]
    page = Page(page.title, page.subtitle, (), roofline)
    write_images(page, tmp_path / "svg", "svg")
    write_images(page, tmp_path / "png", "png")
    drawing = (tmp_path / "svg" / "roofline.svg").read_text()
    assert drawing.startswith("<svg") and "2:8 peak 1,638.4 GOPS" in drawing
    assert (tmp_path / "png" / "roofline.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
