"""The command line on good input: what each command and each option prints and writes.

Counters are checked against hand arithmetic, ratios are computed again from the counters. Bad input has tests of
its own.
"""

import csv
import json
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from command_line import SCRIPT, run, run_process, succeed

import codesign
from codesign import strict_yaml
from codesign.cli import COMMANDS
from codesign.nm.format import NM
from codesign.result import STAGES, STALL_CAUSES
from codesign.schedule import schedule
from hw_models.accelerator import execute
from hw_models.arch import load_arch, packaged
from hw_models.program import Program
from workloads.catalog import load, names
from workloads.sparsity import METHODS, apply_method

SAT_FILE = Path(codesign.__file__).parent.parent / "hw_models/archs/sat.yaml"
GEMM = "gemm:64x64x64"
MLP = (
    "mlp:64x96x32x10",
    "--batch",
    16,
)  # two hidden layers, so that there is vector work, and a ragged last one
PEAK = 32 * 32
CLOCK_HZ = 200_000_000
OUT_FILES = {"result.json", "layers.csv", "timeline.json", "resolved.yaml"}


@cache
def simulate(workload: str, *options: object) -> dict[str, Any]:
    """What `codesign simulate --json` prints for a workload."""
    data: dict[str, Any] = json.loads(succeed("simulate", "--workload", workload, *options, "--json"))
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `codesign simulate --out` writes for the perceptron."""
    out = tmp_path_factory.mktemp("out") / "not" / "there" / "yet"
    succeed("simulate", "--workload", *MLP, "--out", out)
    return out


# -- processes: installed script, module, streams ---------------------------------------------------------------


def test_the_installed_script_and_the_module_give_help() -> None:
    script = run_process(SCRIPT, "--help")
    assert (script.code, script.err) == (0, "")
    assert all(name in script.out and text[:20] in script.out for name, text in COMMANDS.items())
    assert run_process(sys.executable, "-m", "codesign", "--help") == script


def test_a_process_prints_exactly_one_json_object() -> None:
    done = run_process(SCRIPT, "simulate", "--workload", GEMM, "--json")
    assert (done.code, done.err) == (0, "")
    result, end = json.JSONDecoder().raw_decode(done.out)
    assert done.out[end:] == "\n"
    assert result == simulate(GEMM)


@pytest.mark.parametrize(
    "command",
    [("list", "workloads"), ("simulate", "--workload", GEMM), ("schema", "arch")],
    ids=lambda c: c[0],
)
def test_a_reader_that_leaves_early_causes_no_traceback(command: tuple[str, ...]) -> None:
    with subprocess.Popen([SCRIPT, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (0, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_gives_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([SCRIPT, "list", "methods"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device" in done.stderr


# -- help and lists ------------------------------------------------------------------------------------------------


def test_version() -> None:
    assert succeed("--version") == f"codesign, version {codesign.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert succeed(command, "--help") == succeed(command, "-h")
    assert f"codesign {command}" in succeed(command, "--help")


def test_no_command_at_all_gives_readable_help() -> None:
    _, out, err = run()
    assert out + err == succeed("--help")


def test_list() -> None:
    assert succeed("list", "archs").split() == packaged()
    assert succeed("list", "workloads").split() == list(names())
    assert succeed("list", "methods").split() == list(METHODS)


# -- the machine-readable result -----------------------------------------------------------------------------------


def test_counters_of_one_gemm() -> None:
    result = simulate(GEMM)
    assert result["version"] == codesign.__version__
    assert (result["arch"], result["arch_sha256"]) == ("sat", load_arch("sat").sha256)
    assert result["workload_sha256"] == load(GEMM).sha256
    assert (result["method"], result["nm"], result["clock_hz"]) == ("bdwp", "2:8", CLOCK_HZ)
    # 64 x 64 weights; 64^3 MACs in each of FF, BP and WU.
    assert result["workload"] == {
        "name": GEMM,
        "batch": 1,
        "params": 4096,
        "forward_macs_per_sample": 262_144,
        "training_macs_per_sample": 786_432,
    }
    # FF and BP keep 2 of 8, WU all: 2 x 65,536 + 262,144.
    assert result["macs"] == {"dense": 786_432, "executed": 393_216}
    assert {stage: share["macs"] for stage, share in result["stages"].items()} == {
        "ff": 65_536,
        "bp": 65_536,
        "wu": 262_144,
        "other": 0,
    }


def test_traffic_of_one_gemm() -> None:
    """Everything fits on chip, so each operand and each result crosses the DRAM once."""
    tensor = 64 * 64 * 2  # FP16
    compact = 1024 * 2 + 1024 * 3 // 8  # 2 of 8 kept: 1,024 values and indices of 3 bits
    # The update reads FP32 weight and momentum and the FP16 gradient, and writes FP32 weight and momentum and
    # the compact weight once for FF and once for BP.
    update_read, update_write = 4096 * (4 + 4 + 2), 4096 * (4 + 4) + 2 * compact
    stages = simulate(GEMM)["stages"]
    assert (stages["ff"]["read_bytes"], stages["ff"]["write_bytes"]) == (tensor + compact, tensor)
    assert (stages["bp"]["read_bytes"], stages["bp"]["write_bytes"]) == (tensor + compact, tensor)
    assert stages["wu"]["read_bytes"] == 2 * tensor + update_read
    assert stages["wu"]["write_bytes"] == tensor + update_write
    assert simulate(GEMM)["dram_bytes"] == {
        "read": 2 * (tensor + compact) + 2 * tensor + update_read,
        "write": 3 * tensor + update_write,
    }


@pytest.mark.parametrize("workload", [(GEMM,), MLP], ids=["gemm", "mlp"])
def test_parts_add_up(workload: tuple[Any, ...]) -> None:
    result = simulate(*workload)
    stages = result["stages"]
    assert tuple(stages) == STAGES
    layer_shares = [share for layer in result["layers"] for share in layer["stages"].values()]
    assert len({layer["layer"] for layer in result["layers"]}) == len(result["layers"])
    for counter in ("cycles", "macs", "dense_macs", "read_bytes", "write_bytes"):
        total = sum(share[counter] for share in stages.values())
        assert total == sum(share[counter] for share in layer_shares)
        expected = {
            "cycles": result["total_cycles"],
            "macs": result["macs"]["executed"],
            "dense_macs": result["macs"]["dense"],
            "read_bytes": result["dram_bytes"]["read"],
            "write_bytes": result["dram_bytes"]["write"],
        }
        assert total == expected[counter]
    for layer in result["layers"]:
        assert set(layer["stages"]) <= set(STAGES)
    for stage, share in stages.items():
        parts = [layer["stages"][stage] for layer in result["layers"] if stage in layer["stages"]]
        for cause in STALL_CAUSES:
            assert share["stall_cycles"][cause] == sum(part["stall_cycles"].get(cause, 0) for part in parts)


@pytest.mark.parametrize("workload", [(GEMM,), MLP], ids=["gemm", "mlp"])
def test_stalls_and_useful_cycles_fill_the_iteration(workload: tuple[Any, ...]) -> None:
    result = simulate(*workload)
    assert set(result["stall_cycles"]) == set(STALL_CAUSES)
    assert min(result["stall_cycles"].values()) >= 0
    useful = sum(-(-op["macs"] // PEAK) for op in result["ops"])
    assert useful + sum(result["stall_cycles"].values()) == result["total_cycles"]
    assert useful <= result["bound_cycles"] <= result["total_cycles"]
    assert result["dram_busy_cycles"] <= result["total_cycles"]


@pytest.mark.parametrize("workload", [(GEMM,), MLP], ids=["gemm", "mlp"])
def test_ratios_follow_from_the_counters(workload: tuple[Any, ...]) -> None:
    result, dense = simulate(*workload), simulate(*workload, "--method", "dense")
    cycles, macs = result["total_cycles"], result["macs"]
    seconds = cycles / CLOCK_HZ
    assert result["latency_s"] == pytest.approx(seconds)
    assert result["throughput_samples_per_s"] == pytest.approx(result["workload"]["batch"] / seconds)
    assert result["dense_cycles"] == dense["total_cycles"]
    assert result["speedup_vs_dense"] == pytest.approx(dense["total_cycles"] / cycles)
    assert result["effective_gops"] == pytest.approx(2 * macs["executed"] / seconds / 1e9)
    assert result["dense_equivalent_gops"] == pytest.approx(2 * macs["dense"] / seconds / 1e9)
    assert result["array_utilization"] == pytest.approx(macs["executed"] / (PEAK * cycles))
    assert dense["speedup_vs_dense"] == 1
    assert dense["macs"]["executed"] == dense["macs"]["dense"] == macs["dense"]


def test_operations_lie_within_the_iteration() -> None:
    result = simulate(*MLP)
    assert [op["name"] for op in result["ops"]] == [op.name for op in load(MLP[0], batch=16).ops]
    assert all(0 <= op["start_cycle"] < op["end_cycle"] for op in result["ops"])
    assert max(op["end_cycle"] for op in result["ops"]) == result["total_cycles"]
    assert sum(op["macs"] for op in result["ops"]) == result["macs"]["executed"]
    assert sum(op["read_bytes"] for op in result["ops"]) == result["dram_bytes"]["read"]


# -- every option does what it says --------------------------------------------------------------------------------


def test_batch() -> None:
    small, large = simulate(MLP[0], "--batch", 4), simulate(*MLP)
    assert (small["workload"]["batch"], large["workload"]["batch"]) == (4, 16)
    assert large["macs"]["dense"] == 4 * small["macs"]["dense"]
    assert small["workload"]["training_macs_per_sample"] == large["workload"]["training_macs_per_sample"]
    assert small["workload_sha256"] != large["workload_sha256"]


def test_seq_len() -> None:
    """In a BERT layer 12 weights of width^2 pass over the tokens, two attention products over their square."""
    width, tokens = 768, 8
    linear = 12 * width**2 * tokens
    attention = 2 * tokens**2 * width
    result = simulate("bert-base", "--batch", 1, "--seq-len", tokens, "--method", "dense")
    assert result["workload"]["forward_macs_per_sample"] == 12 * (linear + attention) + width**2


def test_classes_and_input_size() -> None:
    result = simulate("resnet9", "--batch", 1, "--input-size", 16, "--classes", 7)
    default = load("resnet9", batch=1)
    assert default.params - result["workload"]["params"] == (10 - 7) * 512  # a classifier without bias
    # A quarter of the pixels in every convolution; the classifier sees one pixel at any size.
    convolutions = default.forward_macs_per_sample - 10 * 512
    assert result["workload"]["forward_macs_per_sample"] == convolutions // 4 + 7 * 512


def test_nm() -> None:
    result = simulate(GEMM, "--nm", "1:16")
    assert result["nm"] == "1:16"
    assert result["macs"]["executed"] == 2 * 262_144 // 16 + 262_144


@pytest.mark.parametrize(
    ("method", "sparse_stages"),
    [("dense", ""), ("bdwp", "ff bp"), ("srste", "ff"), ("sdgp", "bp"), ("sdwp", "bp")],
)
def test_method(method: str, sparse_stages: str) -> None:
    result = simulate(GEMM, "--method", method)
    assert result["method"] == method
    assert result["nm"] == ("2:8" if sparse_stages else "dense")
    for stage in ("ff", "bp", "wu"):
        share = result["stages"][stage]
        assert share["macs"] == share["dense_macs"] // (4 if stage in sparse_stages.split() else 1)


def test_every_method_is_listed() -> None:
    first = ["dense", "bdwp", "srste", "sdgp", "sdwp"]
    assert list(METHODS) == [*first, "transposable", "bimask", "sste", "progressive", "asp", "ast", "cast"]


def test_the_dense_array_trains_densely_unless_told_otherwise() -> None:
    result = simulate(GEMM, "--arch", "dense")
    assert (result["arch"], result["method"], result["speedup_vs_dense"]) == ("dense", "dense", 1)
    assert result["total_cycles"] == simulate(GEMM)["dense_cycles"]


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_dataflow(dataflow: str) -> None:
    result = simulate(*MLP, "--dataflow", dataflow)
    assert {op["dataflow"] for op in result["ops"] if op["unit"] == "stce"} == {dataflow}
    assert simulate(*MLP, "--dataflow", "auto") == simulate(*MLP)


def test_no_interleave() -> None:
    """Without independent outputs in turn, every MAC of the 64^3 WU product waits for the accumulator."""
    off, on = simulate(GEMM, "--no-interleave"), simulate(GEMM)
    assert off["stall_cycles"]["accumulator"] > on["stall_cycles"]["accumulator"]
    assert off["arch_sha256"] != on["arch_sha256"]


def test_no_pregenerate() -> None:
    off, on = simulate(GEMM, "--no-pregenerate"), simulate(GEMM)
    assert off["stall_cycles"]["sort"] > on["stall_cycles"]["sort"] == 0
    tensor = 64 * 64 * 2
    assert off["stages"]["ff"]["read_bytes"] == 2 * tensor  # the weight comes dense


def test_no_schedule() -> None:
    result = simulate(*MLP, "--no-schedule")
    fixed = load_arch("sat").optimizations.fixed_dataflow
    assert {op["dataflow"] for op in result["ops"] if op["unit"] == "stce"} == {fixed}
    assert {op["dataflow"] for op in simulate(*MLP)["ops"] if op["unit"] == "stce"} != {fixed}
    assert result["total_cycles"] > simulate(*MLP)["total_cycles"]


def test_full_gives_the_same_integers() -> None:
    assert simulate(*MLP, "--full") == simulate(*MLP)


def test_full_steps_through_every_event() -> None:
    with patch("codesign.simulate.execute", wraps=execute) as spy:
        succeed("simulate", "--workload", GEMM, "--full", "--ablation")
        assert spy.call_count > 5
        assert all(call.kwargs["full"] for call in spy.call_args_list)
        spy.reset_mock()
        succeed("simulate", "--workload", GEMM)
        assert not any(call.kwargs["full"] for call in spy.call_args_list)


def test_layers_adds_a_table_and_leaves_the_json_alone() -> None:
    args = ("simulate", "--workload", *MLP)
    with_layers, without = succeed(*args, "--layers"), succeed(*args)
    for layer in ("fc1", "fc2.relu", "fc3", "loss"):
        assert layer in with_layers
    assert "fc2" not in without
    assert simulate(*MLP, "--layers") == simulate(*MLP)


ALL_OFF = ("--no-interleave", "--no-pregenerate", "--no-schedule")


def test_ablation() -> None:
    """Each rung, and each `without`, equals a run with the switches set by hand."""
    rungs = simulate(*MLP, "--ablation")["ablation"]
    expected = [ALL_OFF, ALL_OFF[1:], ALL_OFF[2:], ()]
    assert [rung["total_cycles"] for rung in rungs] == [
        simulate(*MLP, *off)["total_cycles"] for off in expected
    ]
    without = [simulate(*MLP, option)["total_cycles"] for option in ALL_OFF]
    assert [rung["without_cycles"] for rung in rungs] == [None, *without]
    names_on = ["interleave", "pregenerate", "offline_schedule"]
    assert [rung["switched_on"] for rung in rungs] == [names_on[:count] for count in range(4)]


def test_ablation_leaves_the_result_alone_and_shows_a_table() -> None:
    with_rungs = dict(simulate(*MLP, "--ablation"))
    rungs = with_rungs.pop("ablation")
    assert with_rungs == simulate(*MLP)
    text = succeed("simulate", "--workload", *MLP, "--ablation")
    assert all(rung["label"] in text and f"{rung['total_cycles']:,}" in text for rung in rungs)


def test_ablation_is_written_too(tmp_path: Path) -> None:
    args = ("simulate", "--workload", *MLP, "--ablation", "--out", tmp_path, "--json")
    assert json.loads(succeed(*args)) == json.loads((tmp_path / "result.json").read_text())


@pytest.mark.parametrize("arch", ["sat", "sat.yaml", str(SAT_FILE), "./mine.yaml", "mine.yaml"])
def test_architectures_are_found_from_any_folder(
    arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(SAT_FILE.read_text())
    monkeypatch.chdir(tmp_path)
    out = succeed("simulate", "--workload", GEMM, "--arch", arch, "--json")
    assert json.loads(out) == simulate(GEMM)


def test_progress_is_for_terminals_and_silent_with_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert f"simulating {GEMM}" in run("simulate", "--workload", GEMM, on_terminal=True).err
    assert run("simulate", "--workload", GEMM, "--json", on_terminal=True).err == ""


# -- what --out writes ---------------------------------------------------------------------------------------------


def test_out_writes_four_files_and_nothing_else(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == OUT_FILES
    assert json.loads((folder / "result.json").read_text()) == simulate(*MLP)


def test_out_goes_with_json_and_replaces_what_was_there(tmp_path: Path) -> None:
    for workload in ("gemm:32x32x32", GEMM):
        printed = succeed("simulate", "--workload", workload, "--out", tmp_path, "--json")
        assert (tmp_path / "result.json").read_text() == printed
    assert json.loads(printed) == simulate(GEMM)
    assert {path.name for path in tmp_path.iterdir()} == OUT_FILES


def test_layers_csv_adds_up_to_the_result(folder: Path) -> None:
    result = simulate(*MLP)
    with (folder / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {
        "cycles": result["total_cycles"],
        "macs": result["macs"]["executed"],
        "dense_macs": result["macs"]["dense"],
        "read_bytes": result["dram_bytes"]["read"],
        "write_bytes": result["dram_bytes"]["write"],
    } | {f"stall_{cause}_cycles": cycles for cause, cycles in result["stall_cycles"].items()}
    assert {name: sum(int(row[name]) for row in rows) for name in columns} == columns
    assert Counter(row["layer"] for row in rows) == {
        layer["layer"]: len(layer["stages"]) for layer in result["layers"]
    }


def test_timeline_is_a_valid_chrome_trace(folder: Path) -> None:
    result = simulate(*MLP)
    events = json.loads((folder / "timeline.json").read_text())["traceEvents"]
    lanes = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert len(set(lanes.values())) == 3
    slices = [event for event in events if event["ph"] == "X"]
    assert {event["ph"] for event in events} == {"M", "X"}
    assert sorted(event["name"] for event in slices) == sorted(op["name"] for op in result["ops"])
    for event in slices:
        assert event["tid"] in lanes and event["pid"] == 0
        assert event["ts"] == pytest.approx(event["args"]["start_cycle"] * 1e6 / CLOCK_HZ)
        assert event["dur"] >= 0
    end = max(event["ts"] + event["dur"] for event in slices)
    assert end == pytest.approx(result["latency_s"] * 1e6)


def test_slices_of_a_timeline_lane_do_not_overlap(folder: Path) -> None:
    """Trace viewers draw the slices of a lane as a stack: they may follow each other, not run into each other."""
    events = json.loads((folder / "timeline.json").read_text())["traceEvents"]
    slices = sorted((e["tid"], e["ts"], e["ts"] + e["dur"], e["name"]) for e in events if e["ph"] == "X")
    overlaps = [
        (name, following)
        for (lane, _, end, name), (next_lane, start, _, following) in pairwise(slices)
        if lane == next_lane and end > start + 1e-6
    ]
    assert overlaps == []


def test_resolved_architecture_reproduces_the_run(tmp_path: Path) -> None:
    """Command-line switches included: it is what was simulated, not what the file said."""
    switches = ("--no-interleave", "--dataflow", "os", "--arch", "sat-zynq")
    written = json.loads(succeed("simulate", "--workload", GEMM, *switches, "--out", tmp_path, "--json"))
    resolved = tmp_path / "resolved.yaml"
    assert load_arch(resolved).sha256 == written["arch_sha256"] != load_arch("sat-zynq").sha256
    assert json.loads(succeed("simulate", "--workload", GEMM, "--arch", resolved, "--json")) == written


# -- schedule ------------------------------------------------------------------------------------------------------


def test_schedule_prints_the_program() -> None:
    out = succeed("schedule", "--workload", *MLP, "--nm", "2:4", "--json")
    trace, _ = apply_method(load(MLP[0], batch=16), "bdwp", NM(2, 4))
    assert Program.from_json(out) == schedule(trace, load_arch("sat"))


def test_schedule_shows_every_gemm(tmp_path: Path) -> None:
    file = tmp_path / "new" / "program.json"
    lines = succeed("schedule", "--workload", *MLP, "--dataflow", "os", "--out", file).splitlines()
    program = Program.from_json(file.read_text())
    assert [path.name for path in file.parent.iterdir()] == ["program.json"]
    gemms = [step for step in program.steps if step.choice]
    assert len(gemms) == 8  # FF and WU of three layers, BP of the two that are not first
    for step in gemms:
        assert step.choice
        (line,) = (line for line in lines if f" {step.name} " in line)
        assert "OS" in line and f"{step.choice.predicted_cycles:,}" in line


def test_schedule_writes_what_it_prints(tmp_path: Path) -> None:
    file = tmp_path / "program.json"
    assert succeed("schedule", "--workload", GEMM, "--out", file, "--json") == file.read_text()


# -- schema --------------------------------------------------------------------------------------------------------


def test_schema_accepts_every_packaged_architecture() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(succeed("schema", "arch"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name in packaged():
        data = strict_yaml.load(SAT_FILE.with_name(f"{name}.yaml")).data
        assert list(validator.iter_errors(data)) == []
    for key, value in {"rows": 0, "cols": None, "sparsity": ["2-8"], "dataflows": ["up"]}.items():
        assert not validator.is_valid(data | {"array": data["array"] | {key: value}})
    assert not validator.is_valid(data | {"colour": "red"})
    assert not validator.is_valid({key: data[key] for key in data if key != "dram"})


# -- headline ------------------------------------------------------------------------------------------------------


def test_headline_averages_the_speedups_that_simulate_gives() -> None:
    headline = json.loads(succeed("headline", "--batch", 1, "--json"))
    speedups = headline["speedup_vs_dense"]
    assert headline["mean_speedup"] == pytest.approx(sum(speedups.values()) / len(speedups))
    assert speedups["resnet18"] == simulate("resnet18", "--batch", 1)["speedup_vs_dense"]
    assert (headline["published_mean_speedup"], headline["published_nm"]) == (1.75, "2:8")
