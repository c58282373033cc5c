"""`codesign energies`."""

import json
from pathlib import Path

from command_line import run, succeed

from codesign.energy.sources import load_energy_table
from hw_models.arch import load_arch

SAT = load_arch("sat")


def test_the_table_shows_every_action_once() -> None:
    out = succeed("energies", "--arch", "sat.yaml", "--energy", "asic16")
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if "│" in line]
    shown, component = {}, ""
    for name, action, *cells in rows:
        component = name or component
        shown[f"{component}.{action}"] = cells
    prices = load_energy_table(SAT, "asic16").prices
    assert list(shown) == list(prices)
    # 1.1 pJ at 45 nm (Horowitz, ISSCC 2014) x 0.1735
    assert shown["multiplier.fp16_multiply"][1] == "0.191"
    assert [cells[-1] for cells in shown.values()] == [price.status for price in prices.values()]


def test_json_is_one_object() -> None:
    data = json.loads(succeed("energies", "--json"))
    table = load_energy_table(SAT, "fpga16")
    assert (data["arch"], data["source"]) == ("sat", "fpga16")
    assert data["prices"].keys() == table.prices.keys()
    adder, price = data["prices"]["accumulator.fp32_add"], table.prices["accumulator.fp32_add"]
    assert adder["status"] == price.status
    assert list(adder["energy_pj"].values()) == [
        price.picojoules.low,
        price.picojoules.nominal,
        price.picojoules.high,
    ]


def test_an_ert_goes_back_in(tmp_path: Path) -> None:
    file = tmp_path / "ERT.yaml"
    file.write_text(succeed("energies", "--energy", "asic7", "--ert"))
    assert succeed("energies", "--energy", file, "--ert") == file.read_text()
    options = "--workload", "mlp", "--json"
    totals = [
        json.loads(succeed("simulate", *options, "--energy", energy))["energy"]["total_j"]["nominal"]
        for energy in ("asic7", file)
    ]
    assert totals[0] == totals[1] > 0


def test_an_ert_or_json_but_not_both() -> None:
    code, out, err = run("energies", "--ert", "--json")
    assert (code, out) == (2, "")
    assert err.startswith("codesign: error: --ert and --json") and err.count("\n") == 1
