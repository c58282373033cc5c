"""`codesign resources`."""

import json
from pathlib import Path

import pytest
from command_line import run, succeed

from codesign.resources import estimate
from codesign.resources.estimate import DEFAULT_OPERATORS
from hw_models.arch import load_arch


def test_the_table_shows_components_total_device_and_verdict() -> None:
    out = succeed("resources", "--arch", "sat.yaml")
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.startswith("│")}
    resources = estimate(load_arch("sat"))
    assert rows.keys() == resources.components.keys() | {"total", "available", "used", "practical limit"}
    assert "1,024" in rows["uspe.adder"]
    assert "204,800 to 235,520" in rows["uspe.adder"]
    assert "FP32 adder, 8 cycles deep" in rows["uspe.adder"]
    assert "memory" in rows["uspe.adder"]
    low, high = (f"{end:,.0f}" for end in (resources.total.lut.low, resources.total.lut.high))
    assert f"{low} to {high}" in rows["total"]
    assert "868,852" in rows["available"]
    assert "Fits: yes; runs out first: LUT" in out
    assert "Within practical limits: perhaps; binds first: FF" in out


def test_json_is_one_object() -> None:
    data = json.loads(succeed("resources", "--json"))
    assert (data["arch"], data["operators"]) == ("sat", DEFAULT_OPERATORS)
    assert data["device"]["name"] == "vcu1525"
    assert data["device"]["available"]["lut"] == 868_852
    assert data["components"]["buffer.output"]["total"]["uram288"] == [128, 128]
    assert data["components"]["buffer.output"]["count"] == 32
    for end in (0, 1):
        assert (
            sum(part["total"]["lut"][end] for part in data["components"].values())
            == data["total"]["lut"][end]
        )
    assert data["fit"]["fits"] == "yes"
    assert data["fit"]["utilization"]["uram288"] == [0.4, 0.4]


def test_a_device_without_uram_gets_block_ram() -> None:
    data = json.loads(succeed("resources", "--arch", "sat-zynq", "--device", "zcu102", "--json"))
    assert data["total"]["uram288"] == [0, 0]
    assert data["components"]["buffer.output"]["total"]["bram36"] == [256, 256]
    assert "of 1 SLRs" in succeed("resources", "--arch", "sat-zynq", "--device", "zcu102")


def test_operators_are_a_choice() -> None:
    data = json.loads(succeed("resources", "--operators", "fabric", "--json"))
    assert data["total"]["dsp"] == [1024 + 2 * 3 * 32 * 2] * 2  # a multiplier a PE, three of 2 DSPs a lane


def test_more_than_there_is(tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text("array.cols: 64\n")
    out = succeed("resources", "--arch", "sat-u280", "--overlay", tmp_path / "wide.yaml", "--device", "u280")
    assert "Fits: no" in out
    assert "takes more SLRs than there are" in out


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            ("--device", "u251"),
            "no device 'u251', did you mean \"u250\"; expected one of: xcvu9p, vcu1525, u250,",
        ),
        (
            ("--operators", "dps"),
            "no operators 'dps', did you mean \"dsp\"; expected one of: fabric, dsp, vitis",
        ),
        (("--arch", "sta"), "no architecture 'sta', did you mean \"sat\""),
    ],
)
def test_bad_input(option: tuple[str, str], message: str) -> None:
    code, out, err = run("resources", *option)
    assert (code, out) == (2, "")
    assert err.startswith(f"codesign: error: {message}")
    assert err.count("\n") == 1
