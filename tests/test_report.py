"""Views of a result, checked on a small one that is written by hand, so that every number shown can be too."""

import csv
import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from codesign.ablation import Rung
from codesign.errors import ExportError
from codesign.output_files import ensure_writable, write_files
from codesign.report.machine_readable import headline_json, layers_csv, timeline_json, to_json
from codesign.report.tables import print_ablation, print_headline, print_result, print_schedule
from codesign.result import STALL_CAUSES, OpResult, Share, SimResult
from codesign.schedule import schedule
from hw_models.arch import load_arch
from workloads.training import training_trace
from workloads.zoo.raw_gemms import RawGemm, raw_gemms

SAT = load_arch("sat")
GB = 10**9
NO_STALLS = dict.fromkeys(STALL_CAUSES, 0)
HOSTILE_NAMES = ["[/conv]", "[bold]conv[/bold]", "conv\x1b[31m", "conv\r\nconv", "c" * 100, ":smile:"]

CONV_FF = Share(1000, 512_000, 2_048_000, 3 * GB, 2 * GB, {"padding": 100, "memory_read": 400})
CONV_OTHER = Share(600, 0, 0, GB, GB, {"vector": 600})
FC_WU = Share(400, 204_800, 204_800, GB // 2, GB // 4, {"update": 200})


def stage_shares(ff: Share, wu: Share, other: Share) -> dict[str, Share]:
    """Shares of the four stages, each with every cause, as the simulator gives them."""
    zero = Share(stall_cycles=NO_STALLS)
    return {"ff": zero + ff, "bp": zero, "wu": zero + wu, "other": zero + other}


def op(name: str, unit: str, start_cycle: int, end_cycle: int) -> OpResult:
    """An operation of which only name, unit and times matter."""
    layer, _, stage = name.rpartition(".")
    return OpResult(name, layer, stage, "gemm", unit, start_cycle, end_cycle, 0, 0, 0, 0, "", "", 0)


DENSE = SimResult(
    version="1.2.3",
    arch_name="sat",
    arch_sha256="a" * 64,
    workload_name="tiny",
    workload_sha256="b" * 64,
    batch=8,
    params=1234,
    forward_macs_per_sample=100_000,
    training_macs_per_sample=281_600,
    method="dense",
    nm="dense",
    clock_hz=1_000_000,
    peak_macs_per_cycle=1024,
    total_cycles=3000,
    bound_cycles=1500,
    dram_busy_cycles=100,
    stages=stage_shares(replace(CONV_FF, cycles=2000, macs=2_048_000), FC_WU, CONV_OTHER),
    layers={"conv1": {"ff": replace(CONV_FF, cycles=2000), "other": CONV_OTHER}, "fc": {"wu": FC_WU}},
    ops=(op("conv1.ff", "stce", 0, 2000), op("conv1.other", "vector", 2000, 2600)),
)
RESULT = replace(
    DENSE,
    method="bdwp",
    nm="2:8",
    total_cycles=2000,
    bound_cycles=500,
    stages=stage_shares(CONV_FF, FC_WU, CONV_OTHER),
    layers={"conv1": {"ff": CONV_FF, "other": CONV_OTHER}, "fc": {"wu": FC_WU}},
    ops=(
        op("conv1.ff", "stce", 0, 1000),
        op("conv1.other", "vector", 1000, 1600),
        op("fc.wu", "stce", 1600, 1800),
        op("fc.update", "update", 1800, 2000),
    ),
    baseline=DENSE,
)


def renamed(layer: str) -> SimResult:
    """The result with its first layer called `layer`."""
    layers = {layer: RESULT.layers["conv1"], "fc": RESULT.layers["fc"]}
    return replace(
        RESULT, layers=layers, ops=(replace(RESULT.ops[0], name=layer, layer=layer), *RESULT.ops[1:])
    )


def rows(text: str) -> dict[str, list[str]]:
    """Cells of the rows of tables as text, by the first cell."""
    lines = (line.strip("│┃").split("│") for line in text.splitlines() if line.startswith("│"))
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in lines}


# -- machine-readable ----------------------------------------------------------------------------------------------


def test_json_holds_counters_and_ratios() -> None:
    data = json.loads(to_json(RESULT))
    assert data["version"] == "1.2.3"
    assert data["macs"] == {"dense": 2_252_800, "executed": 716_800}
    assert data["dram_bytes"] == {"read": 4.5 * GB, "write": 3.25 * GB}
    assert data["latency_s"] == 0.002  # 2,000 cycles at 1 MHz
    assert data["throughput_samples_per_s"] == 4000  # 8 samples in 2 ms
    assert data["speedup_vs_dense"] == 1.5
    assert data["effective_gops"] == pytest.approx(0.7168)  # 2 x 716,800 operations in 2 ms
    assert data["dense_equivalent_gops"] == pytest.approx(2.2528)
    assert data["array_utilization"] == 0.35  # 700 of 2,000 cycles
    assert data["stall_cycles"] == NO_STALLS | {
        "padding": 100,
        "memory_read": 400,
        "vector": 600,
        "update": 200,
    }
    assert [layer["layer"] for layer in data["layers"]] == ["conv1", "fc"]
    assert "ablation" not in data


def test_json_without_a_baseline_has_no_speedup() -> None:
    data = json.loads(to_json(DENSE))
    assert data["speedup_vs_dense"] is None
    assert data["dense_cycles"] is None


def test_json_carries_the_ablation() -> None:
    rungs = [Rung("all off", (), 4000, None), Rung("+ x", ("x",), 2000, 4000)]
    data = json.loads(to_json(RESULT, {"ablation": [asdict(rung) for rung in rungs], "run": None}))
    assert "run" not in data
    assert data["ablation"][1] == {
        "label": "+ x",
        "switched_on": ["x"],
        "total_cycles": 2000,
        "without_cycles": 4000,
    }


def test_layers_csv() -> None:
    stalls = [f"stall_{cause}_cycles" for cause in STALL_CAUSES]
    header, *lines = csv.reader(io.StringIO(layers_csv(RESULT)))
    assert header == ["layer", "stage", "cycles", "macs", "dense_macs", "read_bytes", "write_bytes", *stalls]
    table = {(line[0], line[1]): dict(zip(header[2:], map(int, line[2:]), strict=True)) for line in lines}
    none = dict.fromkeys(stalls, 0)
    assert table == {
        ("conv1", "ff"): none
        | {
            "cycles": 1000,
            "macs": 512_000,
            "dense_macs": 2_048_000,
            "read_bytes": 3 * GB,
            "write_bytes": 2 * GB,
        }
        | {"stall_padding_cycles": 100, "stall_memory_read_cycles": 400},
        ("conv1", "other"): none
        | {"cycles": 600, "macs": 0, "dense_macs": 0, "read_bytes": GB, "write_bytes": GB}
        | {"stall_vector_cycles": 600},
        ("fc", "wu"): none
        | {
            "cycles": 400,
            "macs": 204_800,
            "dense_macs": 204_800,
            "read_bytes": GB // 2,
            "write_bytes": GB // 4,
        }
        | {"stall_update_cycles": 200},
    }


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, 'a,"b"', "a\nb", "é"])
def test_any_layer_name_survives_csv_and_json(name: str) -> None:
    _, first, *_ = csv.reader(io.StringIO(layers_csv(renamed(name)), newline=""))
    assert first[0] == name
    assert json.loads(to_json(renamed(name)))["layers"][0]["layer"] == name
    assert name in {event["name"] for event in json.loads(timeline_json(renamed(name)))["traceEvents"]}


def test_timeline() -> None:
    events = json.loads(timeline_json(RESULT))["traceEvents"]
    lanes = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    slices = [
        (lanes[event["tid"]].split()[0], event["name"], event["ts"], event["dur"])
        for event in events
        if event["ph"] == "X"
    ]
    assert sorted(slices) == [  # microseconds, which are cycles at 1 MHz
        ("STCE", "conv1.ff", 0, 1000),
        ("STCE", "fc.wu", 1600, 200),
        ("Vector", "conv1.other", 1000, 600),
        ("WUVE", "fc.update", 1800, 200),
    ]


# -- tables --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def narrow_terminal_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said about a terminal that is not written to changes nothing."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")


def test_result_tables(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(RESULT, SAT, layers=False)
    text = capsys.readouterr().out
    table = rows(text)
    stalls = "memory_read 40%, padding 10%"
    # cycles, share, ms, utilization, GB, GOPS, dense-equivalent GOPS, against dense, stalls
    assert table["FF"] == ["1,000", "50.0%", "1.00", "50.0%", "5.000", "1.0", "4.1", "2.00x", stalls]
    assert table["BP"] == ["0", "0.0%", "0.00", "0.0%", "0.000", "0.0", "0.0", "", ""]
    assert table["WU"] == ["400", "20.0%", "0.40", "50.0%", "0.750", "1.0", "1.0", "1.00x", "update 50%"]
    assert table["OTHER"][-2:] == ["1.00x", "vector 100%"]
    assert table["total"][:4] == ["2,000", "100.0%", "2.00", "35.0%"]
    assert "conv1" not in table
    assert (
        "tiny, batch 8, bdwp 2:8, one training iteration on sat (32x32 array, 200 MHz, ddr4-2400 x4)" in text
    )
    assert "1,234 parameters, 100,000 forward and 281,600 training MACs a sample" in text
    assert "Iteration: 2,000 cycles = 2.0 ms, 4,000.0 samples/s" in text
    assert "lower bound 500 cycles (25%)" in text
    assert "Speedup over dense training on the same hardware: 1.500x (3,000 dense cycles)" in text


def test_stall_table_names_every_cause_largest_first(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(RESULT, SAT, layers=False)
    table = rows(capsys.readouterr().out)
    assert {cause: table[cause][2] for cause in STALL_CAUSES} == STALL_CAUSES
    assert table["useful"][:2] == ["700", "35.0%"]
    assert table["vector"][:2] == ["600", "30.0%"]
    shown = [cause for cause in table if cause in STALL_CAUSES]
    assert shown[:4] == ["vector", "memory_read", "update", "padding"]


def test_layer_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(RESULT, SAT, layers=True)
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()
    ]
    layer_rows = {(line[0], line[1]): line[2:] for line in lines if len(line) == 11}
    assert set(layer_rows) == {("conv1", "ff"), ("conv1", "other"), ("fc", "wu")}
    assert layer_rows["fc", "wu"][:3] == ["400", "20.0%", "0.40"]


def test_dense_result_claims_no_speedup(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(DENSE.with_baseline(DENSE), SAT, layers=False)
    text = capsys.readouterr().out
    assert "tiny, batch 8, dense, one training iteration" in text
    assert "Speedup" not in text


def test_ablation_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_ablation(
        [
            Rung("all off", (), 4000, None),
            Rung("+ one", ("a",), 2000, 1500),
            Rung("+ two", ("a", "b"), 1000, 3000),
        ]
    )
    table = rows(capsys.readouterr().out)
    assert table["all off"] == ["4,000", "1.000x", "1.000x", ""]
    assert table["+ one"] == ["2,000", "2.000x", "2.000x", "1.500x slower"]
    assert table["+ two"] == ["1,000", "4.000x", "2.000x", "3.000x slower"]


def test_headline(capsys: pytest.CaptureFixture[str]) -> None:
    faster = replace(RESULT, workload_name="other", total_cycles=1200)  # 3,000 / 1,200 = 2.5
    print_headline([RESULT, faster])
    text = capsys.readouterr().out
    # MACs: 2,252,800 / 716,800 = 3.143; the vector unit works in 600 of 2,000 cycles.
    assert rows(text)["tiny"] == ["8", "3,000", "2,000", "1.500x", "3.143x", "30.0%"]
    assert "Mean speedup 2.000x; published: 1.75x at 2:8" in text
    assert json.loads(headline_json([RESULT, faster])) == {
        "nm": "2:8",
        "speedup_vs_dense": {"tiny": 1.5, "other": 2.5},
        "mean_speedup": 2.0,
        "published_mean_speedup": 1.75,
        "published_nm": "2:8",
    }


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_are_shown_whole_and_only_as_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No markup, no emoji codes, no terminal escapes, no line breaks, no ellipsis."""
    print_result(replace(renamed(name), workload_name=name), SAT, layers=True)
    gemm = RawGemm(name, rows=64, inputs=64, outputs=64)
    print_schedule(schedule(training_trace(raw_gemms([gemm]), name), SAT))
    text = capsys.readouterr().out
    layer, operation = (shown if shown.isprintable() else repr(shown) for shown in (name, f"{name}.ff"))
    assert text.startswith(f"{layer}, batch 8, bdwp 2:8")
    assert f"Schedule of {layer}, dense" in text
    assert {layer, operation} <= set(rows(text))
    assert "…" not in text
    assert all(line.isprintable() for line in text.split("\n"))


# -- files ---------------------------------------------------------------------------------------------------------


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("old")
    with pytest.raises(ExportError, match=r"cannot write to .*: No such file or directory"):
        write_files(tmp_path, {"first": "new", "no/such/folder": "x"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"first": "old"}
    write_files(tmp_path / "a" / "b", {"first": "new", "second": "é"})
    written = {path.name: path.read_text("utf-8") for path in (tmp_path / "a" / "b").iterdir()}
    assert written == {"first": "new", "second": "é"}


def test_checking_a_place_creates_nothing(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"cannot write to .*file/a: .*file is not a directory"):
        ensure_writable(tmp_path / "file" / "a")
