"""`codesign sweep`: what it prints and writes, and what it refuses."""

import csv
import json
import re
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from command_line import run, run_process, succeed
from sweeps import GEMM, Inline, spec_of

from codesign.strict_yaml import dump
from codesign.sweep.spec import load_sweep
from codesign.sweep.store import Store
from codesign.sweep.view import View
from hw_models.arch import load_arch

LINE = ("sweep", "--workload", GEMM, "--nm", "2:4,2:8", "--set", "array.rows=8,16")


class Executor(Inline):
    """What the command gets instead of processes."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """Every test works in an empty folder of its own, and without processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("codesign.sweep.local_pool.LocalPool", Executor)


def table(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_line_of_an_architect():
    out = succeed(*LINE, "--out", "a")
    assert f"{GEMM}, batch 1: Pareto front of time, energy, lut" in out
    assert "4 points: 4 computed, 0 reused, 0 failed" in out
    assert out.endswith("Written to a: points.csv, front.csv, sweep.yaml, report.html\n")
    assert sorted(path.name for path in Path("a").iterdir()) == [
        "front.csv",
        "points.csv",
        "report.html",
        "sweep.sqlite",
        "sweep.yaml",
    ]
    points = table("a/points.csv")
    assert [(row["array.rows"], row["nm"]) for row in points] == [
        ("8", "2:4"),
        ("8", "2:8"),
        ("16", "2:4"),
        ("16", "2:8"),
    ]
    assert {row["hash"] for row in table("a/front.csv")} < {row["hash"] for row in points}
    assert all(row["hash"] in {each["hash"] for each in points} for row in table("a/front.csv"))
    assert "4 points: 0 computed, 4 reused, 0 failed" in succeed(*LINE, "--out", "a")


def test_the_table_has_the_front_with_its_objectives():
    out = succeed(*LINE, "--objectives", "throughput,dsp", "--out", "a")
    head = next(line for line in out.splitlines() if "array.rows" in line)
    assert re.findall(r"[\w.:]+", head) == [
        "arch", "array.rows", "method", "N:M", "samples_per_s", "dsp", "speedup", "fits",
    ]  # fmt: skip
    body = [line for line in out.splitlines() if line.startswith("│")]
    assert len(body) == len(table("a/front.csv"))


def test_json_is_one_object():
    data = json.loads(succeed(*LINE, "--out", "a", "--json"))
    counts = {"points": 4, "computed": 4, "reused": 0, "failed": 0, "dropped": {}}
    assert data | counts == data
    assert data["objectives"][0] == {"name": "time", "column": "latency_s", "direction": "min"}
    with Store(Path(data["store"])) as store:
        assert data["front"] == View(store, load_sweep(Path("a/sweep.yaml"))).front().rows != []


def test_what_was_written_describes_the_sweep():
    succeed(*LINE, "--out", "a")
    assert "4 points: 0 computed, 4 reused" in succeed("sweep", "a/sweep.yaml", "--store", "a/sweep.sqlite")
    assert "Results are in a/sweep.sqlite" in succeed("sweep", "a/sweep.yaml", "--store", "a/sweep.sqlite")


def test_options_are_a_description():
    Path("acc.csv").write_text(f"workload,method,nm,accuracy\n{GEMM},bdwp,2:8,0.5\n")
    Path("mine.yaml").write_text(
        dump(load_arch("sat").with_overrides({"name": "mine"}).model_dump(mode="json"))
    )
    succeed(
        "sweep", "--arch", "sat,mine.yaml", "--set", "array.dataflows=[ws, os]", "--set", "clock_hz=1e8, 2e8",
        "--workload", "mlp:64x32", "--batch", "4", "--method", "dense,bdwp", "--search", 2, "--sampler", "tpe",
        "--seed", 3, "--objectives", "time,lut", "--constraint", "fits=u250", "--technology", "asic45",
        "--accuracy", "acc.csv", "--out", "a",
    )  # fmt: skip
    expected = spec_of(
        archs=["sat", "mine.yaml"],
        set={"array.dataflows": [["ws", "os"]], "clock_hz": [1e8, 2e8]},
        workloads=[{"name": "mlp:64x32", "batch": [4]}],
        methods=["dense", "bdwp"],
        search={"trials": 2, "sampler": "tpe", "seed": 3},
        objectives=["time", "lut"],
        device="u250",
        must_fit=True,
        technology="asic45",
        accuracy=[{"workload": GEMM, "method": "bdwp", "nm": "2:8", "accuracy": 0.5}],
    )
    assert load_sweep(Path("a/sweep.yaml")) == expected


def test_sizes_alone_are_those_of_the_default_workload():
    assert "batch 1: Pareto" in succeed(
        "sweep", "--batch", 1, "--input-size", 32, "--method", "dense", "--out", "a"
    )
    assert table("a/points.csv")[0]["workload"] == "resnet18"


def test_points_of_a_file():
    Path("p.csv").write_text(f"workload,nm,array.rows\n{GEMM},2:4,8\n{GEMM},2:8,\n")
    succeed("sweep", "--points", "p.csv", "--out", "a")
    assert [(row["nm"], row["array.rows"]) for row in table("a/points.csv")] == [("2:4", "8"), ("2:8", "32")]
    assert [point.set for point in load_sweep(Path("a/sweep.yaml")).points] == [{"array.rows": 8}, {}]


def test_other_tables():
    succeed(*LINE, "--store", "s.sqlite", "--csv", "x/p.csv", "--parquet", "x/p.parquet")
    hashes = [row["hash"] for row in table("x/p.csv")]
    assert pyarrow.parquet.read_table("x/p.parquet")["hash"].to_pylist() == hashes
    assert len(hashes) == 4
    assert sorted(path.name for path in Path().iterdir()) == ["s.sqlite", "x"]


def test_two_sweeps_share_a_store():
    succeed(*LINE, "--out", "a", "--store", "shared.sqlite")
    wider = (*LINE[:-1], "array.rows=16,32")
    assert "4 points: 2 computed, 2 reused" in succeed(*wider, "--out", "b", "--store", "shared.sqlite")
    assert [len(table(f"{folder}/points.csv")) for folder in "ab"] == [4, 4]


def test_failures_and_what_was_dropped_are_shown():
    line = ("sweep", "--workload", GEMM, "--arch", "sat,dense", "--method", "dense,bdwp", "--out", "a")
    out = succeed(*line, "--set", "buffers.update.capacity_bytes=64,1048576")
    assert (
        "6 points: 6 computed, 0 reused, 3 failed\nFirst failure: ScheduleError: operation 'gemm.update'"
        in out
    )
    assert (
        "2 combinations dropped, which cannot be:\n  2 x 2:8 is not in array.sparsity of architecture 'dense'"
        in out
    )
    again = succeed(*line, "--set", "buffers.update.capacity_bytes=64,1048576", "--retry-failed", "--json")
    assert json.loads(again) | {"computed": 3, "reused": 3, "failed": 3} == json.loads(again)


def test_a_terminal_sees_progress():
    code, out, err = run(*LINE, "--out", "a", on_terminal=True)
    assert code == 0
    assert "computing points" in err and "6/6" in err and "points/s" in err
    assert "computing" not in out
    assert run(*LINE, "--out", "b", "--json", on_terminal=True).err == ""


def test_ctrl_c_says_how_to_go_on(monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Executor, "wait", interrupt)
    code, out, err = run(*LINE, "--out", "a")
    assert (code, out) == (130, "")
    assert "Stopped. a/sweep.sqlite holds what was computed; the same line goes on from there." in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "no place for the results; give --out FOLDER or --store FILE"),
        (("--out", "a", "--set", "array.rowz=8"), "no architecture parameter 'array.rowz', did you mean"),
        (("--out", "a", "--set", "array.rows"), "--set array.rows: expected KEY=A,B"),
        (("--out", "a", "--set", "array.rows=8", "--set", "array.rows=16"), "with each key once"),
        (("--out", "a", "--set", "array.rows=8]"), "--set array.rows:1:.*not valid YAML"),
        (("--out", "a", "--nm", "8:2"), r"options: nm\[0\]: N:M ratio 8:2"),
        (("--out", "a", "--workload", "resnet81"), "unknown workload 'resnet81', did you mean \"resnet18\""),
        (("--out", "a", "--batch", "x"), r'options: workloads\[0\].batch\[0\]: got "x"'),
        (("--out", "a", "--trace", "t", "--batch", "2"), "--batch has no meaning with --trace"),
        (("--out", "a", "--trace", "t"), "t: no such file; expected a training trace"),
        (("--out", "a", "--seed", "1"), "options: search.trials: key is missing"),
        (("--out", "a", "--search", "5"), "there is nothing to search"),
        (("--out", "a", "--constraint", "fits"), "--constraint fits: expected fits=DEVICE"),
        (("--out", "a", "--constraint", "fits=u250", "--device", "u280"), "and no other --device"),
        (("--out", "a", "--constraint", "fits=u251"), "no device 'u251', did you mean \"u250\""),
        (("--out", "a", "--objectives", "cost"), "unknown objective 'cost'"),
        (("--out", "a", "--technology", "fpga17"), "no energy technology 'fpga17'"),
        (("--out", "a", "--accuracy", "a.csv"), "a.csv: no such file; expected accuracies"),
        (("--out", "a", "--points", "p.yaml"), "p.yaml: no such file"),
        (("s.yaml", "--out", "a", "--nm", "2:8"), "--nm has no meaning with s.yaml, which describes the whole sweep"),
        (("s.yaml", "--out", "a"), "s.yaml: no such file"),
        (("--out", "a", "--workers", "2", "--scheduler", "tcp://x:1"), "--workers has no meaning with --scheduler"),
        (("--out", "file/a"), "file is not a directory"),
        (("--store", "file"), "file: is no store of sweeps"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(args, message):
    Path("file").write_text("precious\n")
    code, out, err = run("sweep", *args)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"codesign: error: [^\n]+\n", err)
    assert re.search(message, err), err
    assert [(path.name, path.read_text()) for path in Path().iterdir()] == [("file", "precious\n")]


def test_points_beside_a_grid_are_refused():
    Path("p.yaml").write_text(f"points:\n- workload: {GEMM}\n")
    code, _, err = run("sweep", "--points", "p.yaml", "--nm", "2:8", "--out", "a")
    assert code == 2 and "nm beside points: expected a grid or points, not both" in err


@pytest.mark.parametrize(
    ("option", "package", "what"),
    [
        (("--search", 2), "optuna", "a search"),
        (("--scheduler", "tcp://x:1"), "distributed", "--scheduler"),
        (("--parquet", "p.parquet"), "pyarrow", "--parquet"),
    ],
)
def test_a_package_that_is_not_there(monkeypatch, option, package, what):
    for module in ("search", "dask_cluster", "parquet"):
        monkeypatch.delitem(sys.modules, f"codesign.sweep.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run(*LINE, "--out", "a", *option)
    assert code == 2
    assert f"{what} needs the package {package}; pip install 'codesign[sweep]'" in err
    assert not Path("a").exists()


def test_without_plotly_there_is_no_page(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("codesign.report.html")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    code, out, err = run(*LINE, "--out", "a")
    missing = "No report.html: HTML needs the package plotly; pip install 'codesign[report]'\n"
    assert (code, err) == (0, missing)
    assert out.endswith("Written to a: points.csv, front.csv, sweep.yaml\n")


def test_a_plain_sweep_loads_no_extra_package():
    program = f"""
import sys
from codesign.cli import main
if __name__ == "__main__":
    sys.argv = ["codesign", "sweep", "--workload", "{GEMM}", "--workers", "1", "--out", "a"]
    try:
        main()
    finally:
        heavy = {{"optuna", "distributed", "dask", "pyarrow", "torch", "numba"}}
        print(sorted(heavy & sys.modules.keys()), file=sys.stderr)
"""
    Path("program.py").write_text(program)
    done = run_process(sys.executable, "program.py")
    assert (done.code, done.err) == (0, "[]\n")
    assert "1 points: 1 computed" in done.out
