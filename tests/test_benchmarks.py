"""The benchmarks' helpers: what they measure, and that both tools get the same layers. No test asserts a speed."""

import configparser
import importlib
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from codesign.validate.row import ToolMissingError
from hw_models.arch import load_arch
from workloads.catalog import load
from workloads.zoo.resnet import resnet

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _import_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def measure():
    return importlib.import_module("measure")


@pytest.fixture
def scalesim_speed():
    return importlib.import_module("scalesim_speed")


@pytest.fixture
def resnet18_layers():
    return [node for node in resnet(1, depth=18).nodes if node.kernel]


def test_child_is_charged_for_its_own_cpu_time(measure):
    spin = "import time\nwhile time.process_time() < 0.2: pass"  # by the child's own clock
    assert measure.run_child([sys.executable, "-c", spin]).cpu_s >= 0.2


def test_child_is_charged_for_its_own_memory_and_not_for_its_parents(measure):
    ballast = b"x" * (256 * MIB)
    usage = measure.run_child([sys.executable, "-c", f"data = b'x' * {64 * MIB}"])
    assert 64 * MIB < usage.peak_bytes < 128 * MIB < len(ballast)


def test_failing_child_is_an_error(measure):
    with pytest.raises(click.ClickException, match=r"exit status 3 of: .*exit\(3\)"):
        measure.run_child([sys.executable, "-c", "exit(3)"])


def test_cases_take_turns_and_medians_count(measure):
    order = []

    def costs(name, *cpu_s):
        seconds = iter(cpu_s)
        return lambda: order.append(name) or measure.Usage(next(seconds), len(order) * MIB)

    cases = measure.take_turns({"slow": costs("slow", 8, 6, 90), "fast": costs("fast", 2, 1, 3)}, 3)
    assert order == ["slow", "fast"] * 3
    assert (cases["slow"].cpu_s, cases["fast"].cpu_s) == (8, 2)  # medians, not 90 and 3
    assert (cases["slow"].peak_bytes, cases["fast"].peak_bytes) == (5 * MIB, 6 * MIB)  # of the last turn
    ratio = measure.Ratio.between(cases["fast"], cases["slow"])
    assert (ratio.name, ratio.baseline, ratio.cpu, ratio.peak) == ("fast", "slow", 8 / 2, 5 / 6)


@pytest.mark.parametrize("as_json", [True, False])
def test_report(measure, capsys, as_json):
    slow = measure.Case("slow", (measure.Usage(1.0, 300_000_000), measure.Usage(3.0, 600_000_000)))
    fast = measure.Case("fast", (measure.Usage(0.5, 200_000_000),))
    measure.report("title", [slow, fast], [measure.Ratio.between(fast, slow)], ["a [note]"], as_json)
    text = capsys.readouterr().out
    if as_json:
        answer = json.loads(text)
        assert answer["ratios"] == [{"name": "fast", "baseline": "slow", "cpu": 4.0, "peak": 3.0}]
        assert answer["cases"][0] == {
            "name": "slow", "median_cpu_s": 2.0, "cpu_s": [1.0, 3.0], "peak_bytes": 600_000_000
        }  # fmt: skip
        assert answer["notes"] == ["a [note]"]
    else:
        for expected in ("title", "2.00", "1.00 to 3.00", "600", "4.0x", "3.0x", "a [note]"):
            assert expected in text


def test_topology_of_a_layer(scalesim_speed, resnet18_layers):
    header, *rows = scalesim_speed.topology(resnet18_layers).splitlines()
    assert header.startswith("Layer name, IFMAP Height")
    rows = {row.split(",")[0]: row for row in rows}
    # 112 outputs of a 7 x 7 filter with stride 2 reach over 111 * 2 + 7 = 229 pixels
    assert rows["conv1"] == "conv1, 229, 229, 7, 7, 3, 64, 2,"
    assert rows["layer2.0.downsample"] == "layer2.0.downsample, 55, 55, 1, 1, 64, 128, 2,"
    assert rows["fc"] == "fc, 1, 1, 1, 1, 512, 1000, 1,"


def test_topology_read_back_has_the_work_of_resnet18(scalesim_speed, resnet18_layers, tmp_path):
    path = tmp_path / "resnet18.csv"
    path.write_text(scalesim_speed.topology(resnet18_layers))
    trace = load(str(path), batch=1)
    assert len(trace.layers) == 21  # 17 convolutions on the main path, 3 shortcuts, 1 classifier
    assert trace.forward_macs_per_sample == 1_814_073_344  # torchvision's resnet18, 1.81 GMACs


def test_default_layers_exist(scalesim_speed, resnet18_layers):
    assert set(scalesim_speed.SOME_LAYERS) <= {node.name for node in resnet18_layers}


def test_scalesim_config_has_the_array_and_as_many_values_in_its_buffers(scalesim_speed):
    config = configparser.ConfigParser()
    config.read_string(scalesim_speed.scalesim_config(load_arch("dense")))
    preset = config["architecture_presets"]
    assert (preset["ArrayHeight"], preset["ArrayWidth"]) == ("32", "32")
    assert preset["IfmapSramSzkB"] == "2048"  # 4 MiB of FP16
    assert preset["FilterSramSzkB"] == "1024"  # 2 MiB of FP16
    assert preset["OfmapSramSzkB"] == "1024"  # 4 MiB of FP32


def test_work_done_comes_from_the_result_files(scalesim_speed, tmp_path):
    workload = {"forward_macs_per_sample": 1000, "training_macs_per_sample": 2500}
    result = {"workload": workload, "stages": {"ff": {"cycles": 4321}}}
    (tmp_path / "codesign").mkdir()
    (tmp_path / "codesign" / "result.json").write_text(json.dumps(result))
    with pytest.raises(click.ClickException, match="SCALE-Sim reported 0 layers, expected 2"):
        scalesim_speed.work_done(tmp_path, 2)
    (tmp_path / "scalesim" / "run").mkdir(parents=True)
    (tmp_path / "scalesim" / "run" / "COMPUTE_REPORT.csv").write_text(
        "LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles,\n0, 99, 1200, 0,\n1, 99, 34, 0,\n"
    )
    work, *cycles = scalesim_speed.work_done(tmp_path, 2)
    assert "2.5 times" in work
    assert "1,234 cycles by SCALE-Sim" in cycles[0]
    assert "4,321 cycles by codesign" in cycles[1]


def test_without_scalesim_the_benchmark_says_so(scalesim_speed, monkeypatch):
    def refuse(*_):
        raise ToolMissingError("no network")

    monkeypatch.setattr(scalesim_speed, "python_with", refuse)
    plain = CliRunner().invoke(scalesim_speed.main)
    assert (plain.exit_code, plain.stdout[:32]) == (0, "skipped: SCALE-Sim cannot be ins")
    machine_readable = CliRunner().invoke(scalesim_speed.main, ["--json"])
    assert "cannot be installed" in json.loads(machine_readable.stdout)["skipped"]


def test_every_new_point_can_be_simulated():
    simulate_speed = importlib.import_module("simulate_speed")
    sat = load_arch("sat")
    hashes = {sat.with_overrides(point).sha256 for point in simulate_speed.POINTS}
    assert len(hashes - {sat.sha256}) == len(simulate_speed.POINTS)
    for point in simulate_speed.POINTS:
        assert simulate_speed.simulate_point(point, simulate_speed.MODES["sparse only"]).cpu_s > 0


@pytest.mark.slow
def test_simulate_speed_runs():
    command = [sys.executable, BENCHMARKS / "simulate_speed.py", "--runs", "1", "--json"]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert [len(case["cpu_s"]) for case in answer["cases"]] == [1] * 4 + [5] * 3
    assert all(ratio["cpu"] > 0 and ratio["peak"] > 0 for ratio in answer["ratios"])
