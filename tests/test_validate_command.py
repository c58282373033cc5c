"""`codesign validate`: what it prints, writes and ends with."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import run

from codesign.validate import NAMES, document, load, tools
from codesign.validate.row import Comparison, Row, ToolMissingError, Verdict, beside, equal, skipped
from codesign.validate.scalesim_tool import Layer, cycles
from hw_models.timing import Dataflow

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "VALIDATION.md"


def found(*rows: Row) -> Comparison:
    """A comparison that finds these rows."""

    def give(tools: Path) -> Iterator[Row]:
        yield from rows

    return Comparison("Title", "Text.\n", give, lambda rows: "<svg/>")


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> dict[str, Comparison]:
    """Stand-ins for all comparisons."""
    stand_ins = {name: found(equal("cycles", "other", 5, 5, "cycles")) for name in NAMES}
    monkeypatch.setattr("codesign.validate.load", stand_ins.__getitem__)
    monkeypatch.setattr("codesign.validate.document.load", stand_ins.__getitem__)
    return stand_ins


def test_a_gemm_on_the_bare_array() -> None:
    """7x5x3 on 4x4: two tiles of 4 load, 7 rows, 3 + 3 skew."""
    arguments = ("validate", "--gemm", "7x5x3", "--rows", 4, "--cols", 4, "--dataflow", "ws")
    assert json.loads(run(*arguments, "--fill", "every_tile", "--json").out) == {"cycles": 34}
    assert run(*arguments, "--fill", "hidden").out == "24 cycles\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gemm", "7x5"), "expected MxKxN"),
        (("--gemm", "7x5x3", "rtl"), "leave one of them out"),
        (("scalesin",), 'did you mean "scalesim"'),
        (("--out", f"{__file__}/VALIDATION.md"), "is not a directory"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    outcome = run("validate", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err and outcome.err.count("\n") == 1


def test_all_comparisons_in_one_table_and_in_the_document(
    everything: dict[str, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything["zigzag"] = found(skipped("ZigZag", "no network"))
    everything["published"] = found(beside("speedup", "paper", 1.75, 1.5, "x", "other | networks"))
    monkeypatch.chdir(tmp_path)
    outcome = run("validate")
    assert outcome.code == 0
    assert "skipped: no network" in outcome.out and "7 rows: 5 holds, 1 explained, 1 skipped" in outcome.out
    text = Path("VALIDATION.md").read_text()
    assert text.count("| cycles | other | 5 cycles | 5 cycles | 0 | holds |  |") == 5
    assert "| speedup | paper | 1.75x | 1.5x | -14.29% | explained | other \\| networks |" in text
    assert text.count(".svg)") == 6 and Path("VALIDATION-rtl.svg").exists()
    assert not Path("VALIDATION-zigzag.svg").exists()


def test_some_comparisons_write_only_where_they_are_told(
    everything: dict[str, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("validate", "rtl").code == 0
    assert not list(tmp_path.iterdir())
    assert run("validate", "rtl", "--out", "some.md").code == 0
    assert "## Title" in Path("some.md").read_text()


def test_what_must_hold_and_does_not_ends_with_status_1(everything: dict[str, Comparison]) -> None:
    everything["rtl"] = found(equal("cycles", "other", 5, 6, "cycles"))
    outcome = run("validate", "rtl", "scalesim", "--json")
    assert outcome.code == 1
    data = json.loads(outcome.out)
    assert data["holds"] is False and set(data["comparisons"]) == {"rtl", "scalesim"}
    (row,) = data["comparisons"]["rtl"]
    assert (row["verdict"], row["reference"], row["ours"]) == ("FAILS", 5, 6)
    assert row["difference"] == pytest.approx(0.2)


def test_a_simulator_that_cannot_be_installed_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools.sys, "executable", "/nowhere/python")
    for name in ("scalesim", "zigzag"):
        (row,) = load(name).rows(tmp_path / "tools")
        assert row.verdict == "skipped" and "cannot be made" in row.note


def test_a_tool_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="python ended with status 1: ValueError: no such layer"):
        tools.call(["python", "-c", "raise ValueError('no such layer')"], tmp_path)


def test_scalesims_report_is_read_with_one_cycle_added(tmp_path: Path) -> None:
    """A stand-in that writes the columns of SCALE-Sim's report."""
    report = "LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles,\\n0, 2108, 10, 0,\\n"
    fake = tmp_path / "scalesim" / "bin" / "python"
    fake.parent.mkdir(parents=True)
    fake.write_text(f'#!/bin/sh\nmkdir run\nprintf "{report}" > run/COMPUTE_REPORT.csv\n')
    fake.chmod(0o755)
    (tmp_path / "scalesim" / "ready").write_text("scalesim==3.0.0\nnumpy<2.4")
    assert cycles([Layer((1, 1, 1))], 4, 4, Dataflow.WS, tmp_path) == [11]
    with pytest.raises(ToolMissingError, match="reported 1 of 2 GEMMs"):
        cycles([Layer((1, 1, 1))] * 2, 4, 4, Dataflow.WS, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scalesim", "zigzag"])
def test_the_simulator_itself(name: str) -> None:
    """Installs it when the network allows, once."""
    rows = load(name).rows(ROOT / "build" / "tools")
    if rows[0].verdict is Verdict.SKIPPED:
        pytest.skip(rows[0].note)
    assert sum(row.verdict is Verdict.HOLDS for row in rows) >= 24
    assert [row for row in rows if row.verdict is Verdict.FAILS] == []


def sections(path: Path) -> list[str]:
    """What the document says about each comparison."""
    return [text.strip() for text in re.split(r"^## ", path.read_text(), flags=re.MULTILINE)[1:]]


@pytest.mark.parametrize(
    "name",
    [
        "resources",
        pytest.param("sensitivity", marks=pytest.mark.slow),
        pytest.param("published", marks=pytest.mark.slow),
        pytest.param("physics", marks=pytest.mark.slow),
    ],
)
def test_the_document_is_current(name: str, tmp_path: Path) -> None:
    fresh = tmp_path / DOCUMENT.name
    document.write(fresh, {name: load(name).rows(tmp_path)})
    assert sections(DOCUMENT)[NAMES.index(name)] == sections(fresh)[0]
    for figure in tmp_path.glob("*.svg"):
        assert figure.read_text() == (ROOT / figure.name).read_text()


def test_the_document_has_no_failure() -> None:
    text = DOCUMENT.read_text()
    assert all(f"## {load(name).title}" in text for name in NAMES)
    assert "| FAILS |" not in text.partition("## ")[2]
