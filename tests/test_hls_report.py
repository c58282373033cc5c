"""`codesign hls-report`, the overlay that it writes, and `--overlay`. Reports: `data/csynth`, in AMD's structure."""

import json
from pathlib import Path

import pytest
from command_line import run, succeed

from codesign.errors import SpecError
from codesign.resources import estimate
from codesign.resources.synthesis import compare
from codesign.strict_yaml import load
from hls.csynth import Loop, Span, overlay, overlay_text, read_csynth
from hw_models.arch import load_arch

DATA = Path(__file__).parent / "data" / "csynth"
STCE, WUVE, LOADER = (DATA / f"{top}_csynth.xml" for top in ("stce", "wuve", "loader"))
ARCH = load_arch("sat")


def changed(tmp_path: Path, old: str, new: str, path: Path = STCE) -> Path:
    """A report with a text replaced."""
    text = path.read_text()
    assert old in text
    other = tmp_path / "changed_csynth.xml"
    other.write_text(text.replace(old, new))
    return other


def test_every_field_is_read() -> None:
    report = read_csynth(WUVE)
    assert (report.top, report.part) == ("wuve", "xcvu9p-fsgd2104-2L-e")
    assert (report.target_ns, report.uncertainty_ns, report.estimated_ns) == (5.0, 1.35, 2.65)
    assert (report.latency, report.interval) == (Span(40, 1063), Span(41, 1064))
    assert report.loops == (Loop("lanes", 1, 39),)
    assert report.resources == {"lut": 60000, "ff": 120000, "dsp": 512, "bram36": 4, "uram288": 0}
    assert report.available == {"lut": 1182240, "ff": 2364480, "dsp": 6840, "bram36": 2160, "uram288": 960}
    assert report.operators == {"fmul": 4, "fadd": 8}
    assert report.clock_hz == 250_000_000  # 1 / (2.65 + 1.35 ns)


def test_what_is_not_known_at_synthesis_is_none_and_the_slowest_operator_counts() -> None:
    report = read_csynth(STCE)
    assert (report.latency, report.interval) == (None, None)
    assert report.loops == (Loop("load_weights", 1, 3), Loop("compute", 1, 19))
    assert report.operators == {"hmul": 4, "fadd": 9, "add": 0}  # the storage is no operator


def test_older_releases_say_dsp48e_and_know_no_uram() -> None:
    report = read_csynth(LOADER)
    assert report.resources == {"lut": 400, "ff": 500, "dsp": 0, "bram36": 1.5, "uram288": 0}
    assert report.available["dsp"] == 6840
    assert report.loops == ()


def test_the_overlay_has_the_slowest_clock_and_what_the_blocks_show() -> None:
    found = overlay(ARCH, [read_csynth(STCE), read_csynth(WUVE)])
    assert found == {
        "clock_hz": 200_000_000,  # 3.65 + 1.35 ns, slower than WUVE's 4 ns
        "array.multiplier_latency_cycles": 4,
        "array.accumulator_latency_cycles": 9,
        "wuve.latency_cycles": 39,
    }
    # 7.25 + 2.7 = 9.95 ns; no block of the architecture, so nothing else follows
    assert overlay(ARCH, [read_csynth(LOADER)]) == {"clock_hz": 100_502_512}


def test_only_what_is_certain_enters_the_overlay(tmp_path: Path) -> None:
    two_loops = changed(
        tmp_path, "<SummaryOfLoopLatency>", "<SummaryOfLoopLatency><b><PipelineII>1</PipelineII></b>", WUVE
    )
    assert set(overlay(ARCH, [read_csynth(two_loops)])) == {"clock_hz"}
    other_top = changed(tmp_path, "<TopModelName>stce<", "<TopModelName>stce_1<")
    assert set(overlay(ARCH, [read_csynth(other_top)])) == {"clock_hz"}
    other_width = changed(tmp_path, 'OPTYPE="hmul"', 'OPTYPE="fmul"')
    assert "array.multiplier_latency_cycles" not in overlay(ARCH, [read_csynth(other_width)])


def test_a_clock_out_of_bounds_is_refused(tmp_path: Path) -> None:
    path = changed(tmp_path, ">3.65<", ">2000<")
    with pytest.raises(SpecError, match="clock_hz: got 499662"):
        overlay(ARCH, [read_csynth(path)])


def test_the_comparison_takes_the_block_by_the_name_of_the_top(tmp_path: Path) -> None:
    rows = {(row.module, row.quantity): row for row in compare(ARCH, [read_csynth(STCE), read_csynth(WUVE)])}
    parts = estimate(ARCH, operators="vitis").components
    luts = rows["stce", "lut"].expected
    assert luts is not None
    array = [part.total.lut for name, part in parts.items() if name.startswith(("uspe", "stce"))]
    assert luts.low == sum(lut.low for lut in array)
    assert luts.high == sum(lut.high for lut in array)
    assert rows["wuve", "dsp"].expected == parts["wuve"].total.dsp
    assert rows["wuve", "depth of lanes"].verdict == "above"  # 39 cycles, the architecture says 36
    assert rows["wuve", "II of lanes"].verdict == "as expected"
    assert rows["stce", "latency of hmul"].verdict == "above"  # 4 cycles, 3
    assert rows["stce", "clock MHz"].verdict == "as expected"
    assert rows["wuve", "latency low"].verdict == ""
    whole = compare(ARCH, [read_csynth(changed(tmp_path, "<TopModelName>stce<", "<TopModelName>sat<"))])
    assert {row.quantity: row.expected for row in whole}["lut"] == estimate(ARCH, operators="vitis").total.lut
    other = compare(ARCH, [read_csynth(LOADER)])
    assert [row.expected for row in other if row.quantity != "clock MHz"] == [None] * 9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<profile>", "<profile", "changed_csynth.xml: is damaged (not well-formed"),
        ("</profile>", "", "is damaged (no element found"),
        ("profile>", "report>", "got root element <report>, expected <profile>"),
        (
            "<profile>",
            '<!DOCTYPE p [<!ENTITY e SYSTEM "file:///etc/passwd">]><profile>',
            "document type declaration",
        ),
        (
            "<TopModelName>stce</TopModelName>",
            "",
            "UserAssignments/TopModelName is missing; expected a whole report",
        ),
        ("<EstimatedClockPeriod>3.65</EstimatedClockPeriod>", "", "EstimatedClockPeriod is missing"),
        (">3.65<", ">fast<", "EstimatedClockPeriod: got fast, expected a number of at least 0"),
        (">3.65<", ">nan<", "EstimatedClockPeriod: got nan, expected a number"),
        (">3.65<", ">0<", "EstimatedClockPeriod: got 0, expected a clock period in nanoseconds"),
        (">3.65<", ">-1<", "EstimatedClockPeriod: got -1, expected a number"),
        (
            "<Best-caseLatency>undef",
            "<Best-caseLatency>1.5",
            "Best-caseLatency: got 1.5, expected a whole number of cyc",
        ),
        ("<PipelineII>1<", "<PipelineII>~<", "load_weights/PipelineII: got ~, expected a number"),
        ("<LUT>700000</LUT>", "", "AreaEstimates/Resources/LUT is missing"),
        ("<LUT>700000<", "<LUT>many<", "AreaEstimates/Resources/LUT: got many"),
        ("<SummaryOfOverallLatency>", "<Summary/><SummaryOfOverallLatency>\0", "is damaged"),
    ],
)
def test_bad_reports_give_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = changed(tmp_path, old, new)
    code, out, err = run("hls-report", path)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_files_that_are_no_reports_give_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "binary.xml"
    binary.write_bytes(b"\xff\xfe<\0p\0")
    for path, message in (
        (binary, "is damaged"),
        (tmp_path, "is a directory"),
        (tmp_path / "none.xml", "no such file"),
    ):
        code, _, err = run("hls-report", path)
        assert code == 2
        assert message in err
    assert run("hls-report").code == 2


def test_the_table_shows_every_module() -> None:
    out = succeed("hls-report", STCE, WUVE, LOADER)
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")
    ]
    assert ["stce", "clock MHz", "200", "200", "as expected"] in rows
    assert ["", "latency of fadd", "9", "8", "above"] in rows
    assert ["wuve", "clock MHz", "250", "200", "above"] in rows
    assert ["", "BRAM36", "1.5", "", ""] in rows
    assert (
        "As parameters of the architecture: clock_hz: 100,502,512, array.multiplier_latency_cycles: 4" in out
    )


def test_json_is_one_object() -> None:
    data = json.loads(succeed("hls-report", WUVE, "--json"))
    assert data["overlay"] == {"clock_hz": 250_000_000, "wuve.latency_cycles": 39}
    assert data["reports"][0]["latency"] == [40, 1063]
    assert data["comparison"][0] == {
        "module": "wuve",
        "quantity": "clock MHz",
        "found": 250,
        "expected": {"low": 200, "high": 200},
        "verdict": "above",
    }


def test_what_it_writes_is_what_simulate_takes(tmp_path: Path) -> None:
    file = tmp_path / "overlay.yaml"
    assert f"Written to {file}" in succeed("hls-report", STCE, WUVE, "--write", file)
    assert load(file).data == overlay(ARCH, [read_csynth(STCE), read_csynth(WUVE)])
    assert (
        "# wuve on xcvu9p-fsgd2104-2L-e: 2.65 ns of 5 ns; 60000 lut, 120000 ff, 512 dsp, 4 bram36"
        in file.read_text()
    )
    workload = ("--workload", "gemm:64x256x64", "--json")
    before, after = (json.loads(succeed("simulate", *workload, *more)) for more in ((), ("--overlay", file)))
    by_hand = ARCH.with_overrides(load(file).data)
    assert (before["arch_sha256"], after["arch_sha256"]) == (ARCH.sha256, by_hand.sha256)
    assert before["total_cycles"] < after["total_cycles"]  # multiplier and adder are one cycle deeper


def test_a_comment_in_an_overlay_is_plain_ascii(tmp_path: Path) -> None:
    path = changed(tmp_path, "<TopModelName>stce<", "<TopModelName>st\N{LATIN SMALL LETTER E WITH ACUTE}<")
    text = overlay_text(ARCH, [read_csynth(path)])
    assert text.isascii()
    assert "st\\xe9" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("array.rows: 64\narray.rows: 32\n", 'overlay.yaml:2: "array.rows": duplicate key'),
        (
            "array.row: 64\n",
            "overlay.yaml: sat: no architecture parameter 'array.row', did you mean \"array.rows\"",
        ),
        (
            "array.rows: many\n",
            'overlay.yaml: sat with overrides: array.rows: got "many" (string), expected a valid',
        ),
        (
            "array.rows: 0\n",
            "overlay.yaml: sat with overrides: array.rows: got 0 (integer), expected greater than 0",
        ),
        (
            "- array.rows\n",
            "overlay.yaml: got a list, expected keys of an architecture such as array.rows: 64",
        ),
        ("", "is empty"),
    ],
)
def test_bad_overlays_give_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "overlay.yaml"
    file.write_text(text)
    code, out, err = run("simulate", "--workload", "gemm:8x8x8", "--overlay", file)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_other_commands_take_an_overlay_too(tmp_path: Path) -> None:
    file = tmp_path / "overlay.yaml"
    file.write_text("array.rows: 16\n")
    usual, smaller = (
        json.loads(succeed("resources", "--json", *more))["components"]["uspe.adder"]["count"]
        for more in ((), ("--overlay", file))
    )
    assert (usual, smaller) == (1024, 512)
    program = json.loads(succeed("schedule", "--workload", "gemm:64x64x64", "--json", "--overlay", file))
    assert program
