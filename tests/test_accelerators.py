"""Simulated throughput beside published FPGA accelerators."""

import json
import re
from pathlib import Path

import pytest
from command_line import succeed

from codesign.accelerators import Throughput, comparison, published_accelerators
from codesign.energy.sources import load_energy_table
from codesign.nm.format import NM
from codesign.report.accelerators_table import print_accelerators
from codesign.simulate import simulate
from hw_models.arch import load_arch
from workloads.catalog import load

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def reached():
    arch = load_arch("sat.yaml")
    result = simulate(arch, load("resnet18", batch=1), method="bdwp", nm=NM(2, 8))
    return result, Throughput.of(result, load_energy_table(arch, "fpga16"))


def test_operations_are_counted_as_publications_do(reached):
    result, throughput = reached
    seconds = result.total_cycles / 200e6
    assert throughput.effective_gops == pytest.approx(2 * result.total.macs / seconds / 1e9)
    assert throughput.dense_equivalent_gops == pytest.approx(2 * result.total.dense_macs / seconds / 1e9)
    # never beyond the peak of the array: 32 x 32 MACs a cycle
    assert throughput.effective_gops < 2 * 32 * 32 * 200e6 / 1e9


def test_efficiency_is_throughput_over_power(reached):
    _, throughput = reached
    watts = throughput.effective_gops / throughput.effective_gops_per_w.nominal
    assert watts == pytest.approx(
        throughput.dense_equivalent_gops / throughput.dense_equivalent_gops_per_w.nominal
    )
    assert 5 < watts < 100  # a card


def test_published_figures_agree_with_each_other():
    known = {each.name: each for each in published_accelerators()}
    assert 46.99 / known["EF-Train"].gops_per_w == pytest.approx(
        7.72, abs=0.01
    )  # watts, the publication's page
    assert known["DarkFPGA"].gops / known["DarkFPGA"].gops_per_w == pytest.approx(13.5, abs=0.1)
    assert known["F-CNN"].gops / known["F-CNN"].gops_per_w == pytest.approx(27.3, abs=0.1)
    assert known["Liu et al."].gops / known["Liu et al."].gops_per_w == pytest.approx(14.24, abs=0.01)


def test_table_shows_ratios_and_where_figures_come_from(reached, capsys):
    _, throughput = reached
    print_accelerators([throughput], "sat")
    out = capsys.readouterr().out
    ratio = throughput.dense_equivalent_gops / 46.99
    (row,) = [line for line in out.splitlines() if "EF-Train" in line]
    assert f"{ratio:.2f}x to {ratio:.2f}x" in row and "46.99 (published)" in row
    assert "1,417 (memory)" in out and "2.97x to 25.22x" in out and "1.36x to 3.58x" in out


def test_machine_readable(reached):
    _, throughput = reached
    data = json.loads(json.dumps(comparison([throughput])))
    assert data["simulated"][0]["workload"] == "resnet18"
    assert set(data["simulated"][0]["effective_gops_per_w"]) == {"low", "nominal", "high"}
    assert {each["gops_status"] for each in data["published"]} == {"published", "memory"}


@pytest.mark.slow
def test_readme_table_is_what_the_command_prints():
    data = json.loads(succeed("headline", "--accelerators", "--json"))
    for row in data["accelerators"]["simulated"]:
        gops, per_watt = row["dense_equivalent_gops"], row["dense_equivalent_gops_per_w"]
        figures = (
            rf"{gops:,.0f} \| {per_watt['nominal']:.1f} \({per_watt['low']:.1f} to {per_watt['high']:.1f}\)"
        )
        assert re.search(rf"\| {row['workload']} \| {row['nm']} \| .*{figures}", README), row
