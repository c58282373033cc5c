"""The page of a simulation: charts and tables say what the result says, checked against sums and hand arithmetic."""

import json
import sys
from dataclasses import replace

import pytest
from command_line import run, succeed
from markupsafe import escape
from plotly.offline import get_plotlyjs
from saved_results import HOSTILE, SAT, edit, run_section, rungs, simulated, write

from codesign import strict_yaml
from codesign.report.html.cycles import layer_cause_chart, layer_stage_chart, stage_chart, timeline_chart
from codesign.report.html.dataflow import choices, dataflow_chart
from codesign.report.html.page import Chart, Table
from codesign.report.html.report import build_report
from codesign.report.html.roofline import memory_roof, peak_gops, points, roofline_chart
from codesign.report.parts import CAUSES, cycles_by_cause
from codesign.resources import estimate, fit, load_device
from codesign.result import STALL_CAUSES, OpResult, Share

RESULT = simulated()
MARKUP = ("</script><i>", "<img src=x onerror=alert(1)>", "\"q\" 'q' &amp; $x^2$", "层 {{ 7 * 7 }} <b>b</b>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("result"), RESULT, ablation=rungs(), run=run_section())


@pytest.fixture(scope="module")
def page(folder):
    return build_report(folder, "vcu1525")


def table(page, title):
    (found,) = (
        item
        for section in page.sections
        for item in section.items
        if isinstance(item, Table) and item.title == title
    )
    return found


def chart(page, name):
    (found,) = (item for item in page.charts if item.name == name)
    return found.figure


def tile(page, title):
    (found,) = (each for each in page.tiles if each.title == title)
    return found


# -- where the cycles go -------------------------------------------------------------------------------------------


def test_causes_of_a_share_add_up():
    share = Share(100, stall_cycles={"padding": 10, "vector": 25})
    assert cycles_by_cause(share) == dict.fromkeys(CAUSES, 0) | {"useful": 65, "padding": 10, "vector": 25}


@pytest.mark.parametrize("draw", [stage_chart, layer_stage_chart, layer_cause_chart])
def test_bars_add_up_to_the_iteration(draw):
    bars = draw(RESULT).figure.data
    values = [value for bar in bars for value in (bar.x if bar.orientation == "h" else bar.y)]
    assert sum(values) == pytest.approx(1e3 * RESULT.latency_s)


def test_each_bar_is_its_layers_share():
    bars = layer_stage_chart(RESULT).figure.data
    layers = list(RESULT.layers)
    for bar in bars:
        for layer, ms in zip(layers, bar.y, strict=True):
            cycles = RESULT.layers[layer].get(bar.name.lower(), Share()).cycles
            assert ms == pytest.approx(cycles / 200e3)  # 200 MHz


def test_what_multiplies_nothing_has_no_rate(page):
    found = table(page, "Layers and stages")
    titles = [each.title for each in found.columns]
    idle = [row for row in found.rows if row[0] == "loss"]
    assert [row[titles.index(title)] for row in idle for title in ("array util.", "eff. GOPS")] == [
        None,
        None,
    ]


def test_stage_table_has_the_totals(page):
    *_, total = table(page, "Stages").rows
    assert total[:4] == ["total", RESULT.total_cycles, 1.0, 1e3 * RESULT.latency_s]


def test_layer_table_has_every_layer_and_stage(page):
    rows = table(page, "Layers and stages").rows
    assert [row[:2] for row in rows] == [
        [layer, stage.upper()] for layer, shares in RESULT.layers.items() for stage in shares
    ]
    assert sum(row[2] for row in rows) == RESULT.total_cycles


def test_layer_table_has_the_energy(page, folder):
    found = table(page, "Layers and stages")
    column = [each.title for each in found.columns].index("energy mJ")
    energy = json.loads((folder / "result.json").read_text())["energy"]
    assert sum(row[column] or 0 for row in found.rows) == pytest.approx(1e3 * energy["total_j"]["nominal"])


def test_the_timeline_has_a_bar_for_each_operation():
    bars = timeline_chart(RESULT).figure.data[0]
    ops = sorted(RESULT.ops, key=lambda op: op.start_cycle)
    assert list(bars.base) == pytest.approx([op.start_cycle / 200e3 for op in ops])
    assert list(bars.x) == pytest.approx([(op.end_cycle - op.start_cycle) / 200e3 for op in ops])
    assert set(bars.y) == {"STCE (array)", "Vector unit", "WUVE + SORE"}


# -- roofline and schedule -----------------------------------------------------------------------------------------


def test_ceilings_of_sat():
    # 32 x 32 multiply-accumulates at 200 MHz; four channels of 2,400 MT/s x 8 bytes, 80 % of it.
    dense, half, quarter = peak_gops(SAT, "2:4, 2:8")
    assert dense == ("dense peak", pytest.approx(2 * 1024 * 0.2))
    assert half == ("2:4 peak", pytest.approx(2 * 2 * 1024 * 0.2))
    assert quarter == ("2:8 peak", pytest.approx(4 * 2 * 1024 * 0.2))
    assert memory_roof(SAT) == ("DRAM", pytest.approx(4 * 2400e6 * 8 * 0.8 / 1e9))
    # One engine of 512 bits at 200 MHz moves 12.8 GB/s each way.
    assert memory_roof(SAT.with_overrides({"dma.engines": 1})) == ("DMA", pytest.approx(25.6))


def op(layer, stage, macs, cycles, moved_bytes, **more):
    fields = {"kind": "gemm", "unit": "stce", "sparsity": "2:8", "dataflow": "ws", "predicted_cycles": 0}
    fields |= {"read_bytes": moved_bytes // 4, "write_bytes": moved_bytes - moved_bytes // 4}
    return OpResult(
        name=f"{layer}.{stage}", layer=layer, stage=stage, start_cycle=50, end_cycle=50 + cycles, busy_cycles=0,
        macs=macs, **fields | more,
    )  # fmt: skip


def test_a_point_counts_the_products_of_a_layer_and_stage():
    update = op("a", "wu", 0, 7, 10**9, kind="update", unit="update", dataflow="", sparsity="")
    result = replace(
        RESULT,
        ops=(op("a", "ff", 2500, 400, 1000), op("a", "ff", 2500, 100, 600), update),
        layers={"a": {"ff": Share(900, dense_macs=20_000), "wu": Share(1)}},
    )
    (point,) = points(result)
    assert point[:5] == ("a", "ff", 5000, 20_000, 500)
    assert point.ops_per_byte == 2 * 20_000 / 1600
    assert point.gops == pytest.approx(2 * 20_000 / (500 / 200e6) / 1e9)


def test_no_point_is_above_its_ceiling():
    dense, sparse = (peak.gops for peak in peak_gops(SAT, "2:8"))
    found = points(RESULT)
    assert len(found) == 8  # three layers in FF and WU, two in BP: the first layer needs no input gradient
    for point in found:
        assert 0 < point.gops <= (sparse if point.macs < point.dense_macs else dense)
    marks = [trace for trace in roofline_chart(RESULT, SAT).figure.data if trace.mode == "markers"]
    assert {trace.name: len(trace.x) for trace in marks} == {"FF": 3, "BP": 2, "WU": 3}
    assert all(symbol.endswith("-open") for symbol in marks[2].marker.symbol)  # weight gradients stay dense
    assert marks[0].marker.symbol[0] == "circle"  # which the legend shows: filled if any is


def test_dataflow_of_layers():
    ops = (
        op("a", "ff", 1, 1, 1),
        op("a", "bp", 1, 1, 1, dataflow="os", sparsity="dense"),
        op("b", "ff", 1, 1, 1),
        op("b", "ff", 1, 1, 1, dataflow="os"),
        op("c", "ff", 0, 1, 1, dataflow="", sparsity=""),
    )
    result = replace(RESULT, ops=ops)
    assert choices(result) == {
        ("a", "ff"): ("WS", "2:8"),
        ("a", "bp"): ("OS", "dense"),
        ("b", "ff"): ("several",) * 2,
    }
    heat = dataflow_chart(result).figure.data[0]
    assert list(heat.x) == ["a", "b"]
    assert [list(row) for row in heat.z] == [[1, 4], [2, None], [None, None]]  # positions in KINDS


# -- energy, resources, runs ---------------------------------------------------------------------------------------


def test_energy_bars_reach_from_low_to_high(page, folder):
    figure = chart(page, "energy-components")
    unit = {"mJ": 1e-3, "µJ": 1e-6}[figure.layout.xaxis.title.text.removeprefix("energy of an iteration, ")]
    (bars,) = figure.data
    components = json.loads((folder / "result.json").read_text())["energy"]["components"]
    assert set(bars.y) == set(components)
    for name, x, up, down in zip(bars.y, bars.x, bars.error_x.array, bars.error_x.arrayminus, strict=True):
        joules = components[name]["energy_j"]
        found = [value * unit for value in (x - down, x, x + up)]
        assert found == pytest.approx([joules["low"], joules["nominal"], joules["high"]])


def test_resource_bars_add_up_to_the_high_estimate(page):
    device = load_device("vcu1525")
    fitting = fit(estimate(SAT), device)
    bars = [trace for trace in chart(page, "resources").data if trace.type == "bar"]
    for position, resource in enumerate(fitting.utilization):
        share = sum(bar.x[position] for bar in bars)
        assert share == pytest.approx(100 * fitting.utilization[resource].high)
    low, limit = (trace for trace in chart(page, "resources").data if trace.type == "scatter")
    assert list(low.x) == pytest.approx([100 * share.low for share in fitting.utilization.values()])
    assert list(limit.x) == pytest.approx([100 * share for share in fitting.limits.values()])


def test_phases_of_a_run(page):
    bars = chart(page, "phases").data[0]
    assert (list(bars.x), list(bars.width)) == ([5, 25], [10, 30])  # centres and widths, in steps
    assert list(bars.y) == pytest.approx([0.01, 0.005])  # 2,000 and 1,000 cycles of 200 MHz, in ms
    assert tile(page, "Accuracy").value == "93.75%"


def test_the_ladder(page):
    rows = table(page, "Optimizations").rows
    assert rows[0][0] == "all off"
    assert rows[-1][1] == RESULT.total_cycles
    assert rows[-1][2] == pytest.approx(rows[0][1] / RESULT.total_cycles)


def test_headline_tiles(page):
    assert tile(page, "Iteration").note == f"{RESULT.total_cycles:,} cycles"
    assert tile(page, "Speedup over dense").value == f"{RESULT.speedup_vs_dense:.3f}x"
    assert tile(page, "Fits vcu1525").value == str(fit(estimate(SAT), load_device("vcu1525")).fits)


def test_charts_have_names_of_their_own(page):
    assert len(page.charts) == len({each.name for each in page.charts}) == 11
    assert all(isinstance(each, Chart) and each.height for each in page.charts)


# -- the command ---------------------------------------------------------------------------------------------------


def test_a_report_of_any_result(tmp_path):
    folder = write(tmp_path, simulated("dense", None))
    data = json.loads((folder / "result.json").read_text())
    del data["energy"]
    (folder / "result.json").write_text(json.dumps(data))
    assert succeed("report", folder) == f"Written to {folder / 'report.html'}\n"
    html = (folder / "report.html").read_text()
    assert "Speedup over dense" not in html and 'id="energy"' not in html
    assert len(html) - len(get_plotlyjs()) < 500_000


def test_names_from_files_are_text(tmp_path):
    arch = tmp_path / "arch.yaml"
    described = {**SAT.model_dump(mode="json"), "description": "".join(HOSTILE)}
    arch.write_text(strict_yaml.dump(described), encoding="utf-8")
    workload = tmp_path / 'a "b" <i> 层.csv'
    workload.write_text(
        "Layer,M,N,K,\n" + "".join(f"{name},16,16,16,\n" for name in MARKUP), encoding="utf-8"
    )
    succeed("simulate", "--arch", arch, "--workload", workload, "--out", tmp_path / "out")
    succeed("report", tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for name in MARKUP:
        assert f"<td>{escape(name)}</td>" in html and name not in html
    assert "a &#34;b&#34; &lt;i&gt; 层 on sat</h1>" in html
    assert "window.pwned = 1&lt;/script&gt;" in html and "window.pwned = 1</script>" not in html


def test_what_cannot_be_reported_is_said_in_one_line(tmp_path, folder):
    assert run("report", tmp_path).code == 2
    assert "holds no result.json and no sweep.sqlite" in run("report", tmp_path).err
    assert "no device 'vcu'" in run("report", folder, "--device", "vcu").err
    assert "is not a directory" in run("report", folder, "--out", folder / "result.json" / "x.html").err
    assert not list(folder.glob("*.html"))
    alone = edit(write(tmp_path / "alone", RESULT))
    (alone / "resolved.yaml").unlink()
    assert "holds no resolved.yaml beside its result.json; simulate again" in run("report", alone).err


def test_without_its_packages_the_report_says_what_to_install(folder, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("codesign.report.html")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    assert "HTML needs the package plotly; pip install 'codesign[report]'" in run("report", folder).err


def test_causes_are_those_of_the_model():
    assert list(CAUSES)[1:] == list(STALL_CAUSES)
