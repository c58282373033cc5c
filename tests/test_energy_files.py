"""Files of the energy model: technologies of a user's own, energy reference tables, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from strategies import SAT

from codesign.energy.ert import write_ert
from codesign.energy.estimate import energy_of
from codesign.energy.ranges import Range
from codesign.energy.sources import load_energy_table
from codesign.energy.technology import TABLES
from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.simulate import simulate
from codesign.strict_yaml import load, loads
from workloads.catalog import load as load_workload

# As Accelergy writes it, with a list of components and arguments that are null.
ERT = """\
ERT:
  version: '0.3'
  tables:
  - name: chip.PE[0..255].multiplier
    actions:
    - name: fp16_multiply
      arguments: null
      energy: 2.2
    - name: fp32_multiply
      energy: 3
  - name: static
    actions:
    - name: leak
      arguments: {}
      energy: 0.5
"""

TECHNOLOGY = """\
name: mine
description: Sixteen nanometres, with room for a clock tree.
base: asic16
arithmetic_factor: {value: 2, unit: "1", node: 16 nm, status: assumed, source: clock tree}
fabric_factor: {value: [1, 2, 3], unit: "1", node: 16 nm, status: assumed, source: clock tree}
static_power: {value: 0.25, unit: W, node: 16 nm, status: assumed, source: a guess}
"""


def error_of(tmp_path: Path, text: str) -> str:
    """The message about a file with `text`, without its folder."""
    file = tmp_path / "my.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_energy_table(SAT, file)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(file))
    return message.removeprefix(str(tmp_path) + "/")


# -- energy reference tables ---------------------------------------------------------------------------------------


def test_an_ert_survives_the_way_through_a_file(tmp_path: Path) -> None:
    table = load_energy_table(SAT, "fpga16")
    file = tmp_path / "sat.ert.yaml"
    file.write_text(write_ert(table, "sat"))
    read = load_energy_table(SAT, file)
    assert {key: price.picojoules for key, price in read.prices.items()} == {
        key: Range.exactly(price.picojoules.nominal) for key, price in table.prices.items()
    }
    assert {price.status for price in read.prices.values()} == {"imported"}
    assert write_ert(read, "sat") == file.read_text()
    result = simulate(SAT, load_workload("resnet9", batch=1), nm=NM(2, 8))
    energies = [energy_of(result, each).total_joules for each in (table, read)]
    assert energies[0].nominal == energies[1].low == energies[1].nominal == energies[1].high


def test_an_ert_is_what_accelergy_reads() -> None:
    data = loads(write_ert(load_energy_table(SAT, "asic16"), "design")).data
    assert list(data) == ["ERT"]
    assert data["ERT"]["version"] == 0.4
    first = data["ERT"]["tables"][0]
    assert first == {
        "name": "design.multiplier",
        "actions": [
            {"name": "fp16_multiply", "arguments": {}, "energy": 0.1908},
            {"name": "fp32_multiply", "arguments": {}, "energy": 0.642},
        ],
    }


def test_an_ert_of_accelergy_is_read(tmp_path: Path) -> None:
    file = tmp_path / "ERT.yaml"
    file.write_text(ERT)
    table = load_energy_table(SAT, file)
    assert table.name == str(file)
    assert {key: price.picojoules.nominal for key, price in table.prices.items()} == {
        "multiplier.fp16_multiply": 2.2,
        "multiplier.fp32_multiply": 3.0,
        "static.leak": 0.5,
    }


# What is replaced in the ERT, by what, and the message.
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'0.3'", "0.2", "my.yaml:2: ERT.version: got 0.2, expected one of: 0.3, 0.4"),
        ("  version: '0.3'\n", "", "my.yaml:1: ERT.version: key is missing; expected: Version of the format."),
        ("  tables:", "  tablez:", 'my.yaml:3: ERT.tablez: unknown key, did you mean "tables"; expected one of: '),
        ("multiplier\n", "multiplyer\n",
         "my.yaml:4: ERT.tables[0].name: unknown component 'multiplyer', did you mean \"multiplier\"; expected"),
        ("name: fp32_multiply", "name: fp64_multiply",
         "my.yaml:9: ERT.tables[0].actions[1].name: unknown action of multiplier 'fp64_multiply', did you mean"),
        ("name: fp32_multiply", "name: fp16_multiply",
         "my.yaml:9: ERT.tables[0].actions[1].name: multiplier.fp16_multiply has an energy already"),
        ("2.2", '"2.2"', 'my.yaml:8: ERT.tables[0].actions[0].energy: got "2.2" (string), expected a valid number'),
        ("2.2", "-1", "my.yaml:8: ERT.tables[0].actions[0].energy: got -1 (integer), expected greater than or equal"),
        ("2.2", ".nan", "my.yaml:8: ERT.tables[0].actions[0].energy: got NaN (number), expected a finite number"),
        ("null", "{data_delta: 1}", "my.yaml:7: ERT.tables[0].actions[0].arguments: got a mapping, expected at most"),
        ("      energy: 3\n", "      energy: 3\n      energy: 4\n",
         "my.yaml:11: ERT.tables[0].actions[1].energy: duplicate key, first set on line 10"),
        ("  - name: static\n    actions:\n    - name: leak\n      arguments: {}\n      energy: 0.5\n", "  - static\n",
         "my.yaml:11: ERT.tables[1]: got "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_ert_is_explained(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in ERT
    assert error_of(tmp_path, ERT.replace(old, new, 1)).startswith(message)


# -- technologies --------------------------------------------------------------------------------------------------


def test_a_technology_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(TECHNOLOGY)
    mine, base = load_energy_table(SAT, file).prices, load_energy_table(SAT, "asic16").prices
    assert mine["multiplier.fp16_multiply"].picojoules == Range.exactly(2 * 0.1908)
    nominal = base["sum_register.read_bit"].picojoules.nominal
    assert mine["sum_register.read_bit"].picojoules == Range(nominal, 2 * nominal, 3 * nominal)
    assert mine["sum_register.read_bit"].status == "assumed"
    assert mine["static.leak"].picojoules.nominal == pytest.approx(0.25 / 200e6 * 1e12)


def test_a_packaged_table_with_its_own_energies_is_a_template(tmp_path: Path) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_text((TABLES / "asic16.yaml").read_text().replace("name: asic16", "name: copy"))
    assert load_energy_table(SAT, copy).prices == load_energy_table(SAT, "asic16").prices


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: 2,", "value: [3, 2, 4],",
         "my.yaml:4: arithmetic_factor.value: got [3, 2, 4], expected 0 <= low <= nominal <= high"),
        ("value: 2,", "value: [1, 2],",
         "my.yaml:4: arithmetic_factor.value: got a list, expected a number or a list [low, nominal, high]"),
        ("value: 2,", "value: true,", "my.yaml:4: arithmetic_factor.value: got true (boolean), expected a number or"),
        ("value: 2,", "value: .nan,", "my.yaml:4: arithmetic_factor.value: got [nan, nan, nan], expected 0 <= low"),
        ("value: 2,", "", "my.yaml:4: arithmetic_factor.value: key is missing; expected: The value, or [low, nom"),
        ('unit: "1"', "unit: pJ", "my.yaml:4: arithmetic_factor.unit: got \"pJ\" (string), expected '1'"),
        ("unit: W", "unit: mW", "my.yaml:6: static_power.unit: got \"mW\" (string), expected 'W'"),
        ("status: assumed", "status: sure", "my.yaml:4: arithmetic_factor.status: got \"sure\" (string), expected "),
        ("source: clock tree", "source: ''", "my.yaml:4: arithmetic_factor.source: got \"\" (string), expected at"),
        ("base: asic16", "base: asic17", "my.yaml:3: base: got \"asic17\" (string), expected 'asic45', 'asic16' or "),
        ("base: asic16", "base: fpga16", "my.yaml:3: base: got \"fpga16\" (string), expected 'asic45', 'asic16' or "),
        ("base: asic16\n", "", "my.yaml:1: got neither of base and energies, expected one of them"),
        ("fabric_factor", "fabric_facto", 'my.yaml:5: fabric_facto: unknown key, did you mean "fabric_factor"'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_technology_is_explained(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in TECHNOLOGY
    assert error_of(tmp_path, TECHNOLOGY.replace(old, new, 1)).startswith(message)


def test_srams_must_grow_and_cost_something(tmp_path: Path) -> None:
    text = (TABLES / "asic16.yaml").read_text().replace("capacity_bytes: 36864", "capacity_bytes: 4608")
    message = error_of(tmp_path, text)
    assert "energies.sram: capacities are [4608, 4608, 262144, 2097152], expected each larger" in message
    message = error_of(tmp_path, (TABLES / "asic16.yaml").read_text().replace("value: 0.0515", "value: 0"))
    assert "energies.sram[1].read: got 0 pJ/bit, expected more than 0" in message


def test_unknown_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"^no energy technology 'asic61', did you mean \"asic16\"; expected a YAML "
    ):
        load_energy_table(SAT, "asic61")
    with pytest.raises(SpecError, match=r"no energy technology 'dram'"):
        load_energy_table(SAT, "dram")
    with pytest.raises(SpecError, match=r"none\.yaml: no such file"):
        load_energy_table(SAT, tmp_path / "none.yaml")
    assert load_energy_table(SAT, "asic16.yaml") == load_energy_table(SAT, "asic16")


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_packaged_figure_says_where_it_comes_from(path: Path) -> None:
    def figures(data: object) -> list[dict[str, object]]:
        if isinstance(data, dict):
            below = [figure for value in data.values() for figure in figures(value)]
            return [data, *below] if "value" in data else below
        return [figure for item in data for figure in figures(item)] if isinstance(data, list) else []

    found = figures(load(path).data)
    assert len(found) >= 3
    for figure in found:
        assert figure.keys() == {"value", "unit", "node", "status", "source"}
        # What comes from memory must not look better founded than it is.
        if "memory" in str(figure["source"]) and isinstance(figure["value"], (int, float)):
            assert figure["status"] == "memory", figure
