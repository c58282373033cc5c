"""`codesign train`: what it prints and writes, how it resumes, and one line for everything that is wrong."""

import json
import sys

import pytest
from command_line import run, run_process, succeed
from train_runs import MLP, contents

SMALL = ("--model", MLP, "--data", "digits", "--batch", 128, "--threads", 1, "--device", "cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of 5 steps."""
    out = tmp_path_factory.mktemp("finished") / "run"
    succeed("train", *SMALL, "--steps", 5, "--out", out)
    return out


def test_a_model_and_data_are_enough(tmp_path):
    text = succeed(
        "train", "--model", "mlp:64x64x16", "--data", "digits", "--epochs", 2, "--out", tmp_path / "a"
    )
    assert "mlp:64x64x16 on digits, bdwp 2:8" in text
    assert "1 of 2" in text  # sparse layers
    assert "Written to" in text
    assert {*contents(tmp_path / "a")} == {
        "checkpoint.safetensors", "config.json", "metrics.jsonl", "model.safetensors", "statistics.jsonl",
        "trace/trace.json",
    }  # fmt: skip


def test_json_is_one_object_and_nothing_else(tmp_path):
    told = json.loads(
        succeed("train", *SMALL, "--steps", 5, "--nm", "2:4", "--out", tmp_path / "a", "--json")
    )
    assert 0 < told.pop("train_loss") < 4
    assert 0 < told.pop("validation_loss") < 4
    assert 0 < told.pop("validation_accuracy") < 1
    assert told == {
        "model": MLP, "data": "digits", "method": "bdwp", "nm": "2:4", "seed": 0, "steps": 5,
        "sparse_layers": 2, "layers": 3, "out": str(tmp_path / "a"),
    }  # fmt: skip


def test_every_option_reaches_the_configuration(tmp_path):
    options = {
        "method": "ast", "nm": "2:4", "mvue": "1:2", "schedule_start": 0.1, "schedule_full": 0.2,
        "schedule_dense": 0.9, "steps": 3, "batch": 32, "accumulate": 2, "optimizer": "adamw", "lr": 0.5,
        "lr_decay": "none", "warmup": 0.3, "warmup_steps": 1, "momentum": 0.5, "weight_decay": 0.1,
        "label_smoothing": 0.2, "grad_clip": 3.0, "seed": 9, "device": "cpu", "amp": "bf16", "threads": 1,
        "record_every": 2, "record_at": 1, "log_every": 2, "checkpoint_every": 2,
    }  # fmt: skip
    given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    given += [
        "--first-sparse",
        "--head-dense",
        "--override",
        "fc2=dense",
        "--override",
        "fc*=1:4",
        "--tensorboard",
    ]
    given += ["--option", "refresh_steps=2", "--option", "score=wanda"]
    succeed("train", "--model", MLP, "--data", "digits", *given, "--out", tmp_path / "a")
    written = json.loads((tmp_path / "a" / "config.json").read_text())
    assert written == {
        **options,
        "model": MLP, "data": "digits", "input_size": None, "seq_len": None, "teacher": None, "epochs": None,
        "first_dense": False, "head_dense": True, "overrides": {"fc2": "dense", "fc*": "1:4"}, "tensorboard": True,
        "options": {"refresh_steps": 2, "score": "wanda"}, "record_tensors": [],
    }  # fmt: skip


def test_recorded_tensors(tmp_path):
    succeed("train", *SMALL, "--steps", 2, "--record-tensors", "fc1,fc3", "--out", tmp_path / "a")
    assert "trace/tensors.safetensors" in contents(tmp_path / "a")


def test_resuming_needs_no_other_option(finished, tmp_path):
    for given in ([], ["--nm", "2:8"], ["--seed", 0, "--steps", 5]):
        before = contents(finished)
        told = json.loads(succeed("train", "--out", finished, "--resume", *given, "--json"))
        assert told["steps"] == 5
        assert contents(finished) == before


def test_a_bar_on_a_terminal_only(tmp_path):
    shown = run("train", *SMALL, "--steps", 8, "--out", tmp_path / "a", on_terminal=True)
    assert shown.code == 0
    assert "training mlp:64x32x16x16" in shown.err
    assert run("train", *SMALL, "--steps", 8, "--out", tmp_path / "b", "--json", on_terminal=True).err == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--data", "digits"], "Missing option '--model'"),
        (["--model", MLP], "Missing option '--data'"),
        ([*SMALL, "--model", "resnet"], "unknown network 'resnet'"),
        ([*SMALL, "--method", "bwdp"], 'did you mean "bdwp"'),
        ([*SMALL, "--nm", "9:8"], "expected 1 <= N <= M"),
        ([*SMALL, "--option", "refresh"], "--option 'refresh': expected a name, = and a value"),
        ([*SMALL, "--override", "=2:4"], "--override '=2:4': expected a name, = and a value"),
        ([*SMALL, "--override", "fc2=2:4", "--override", "fc2=1:4"], "--override 'fc2' is given twice"),
        ([*SMALL, "--override", "fc2=x"], "overrides.fc2: N:M ratio 'x': expected"),
        ([*SMALL, "--steps", "few"], "'few' is not a valid integer"),
        ([*SMALL, "--epochs", "1", "--steps", "1"], "epochs 1 and steps 1: expected one of them"),
        ([*SMALL, "--lr", "nan"], "lr: got NaN"),
        ([*SMALL, "--lr", "1e6", "--warmup", "0", "--steps", "30"], "checkpoints from before are kept"),
        ([*SMALL, "--record-tensors", ""], "record_tensors '' matches no layer"),
        (["--resume"], "config.json: no such file; expected the configuration of a training run"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(tmp_path, given, message):
    code, out, err = run("train", *given, "--out", tmp_path / "a")
    assert (code, out) == (2, "")
    assert err.startswith("codesign: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_folder_is_needed():
    assert "Missing option '--out'" in run("train", *SMALL).err


def test_a_run_is_not_overwritten_by_mistake(finished):
    before = contents(finished)
    assert (
        "holds a run; use --resume to continue it, --overwrite" in run("train", *SMALL, "--out", finished).err
    )
    assert "seed was 0 and is 1" in run("train", "--resume", "--seed", 1, "--out", finished).err
    assert contents(finished) == before


def test_overwriting(tmp_path):
    for steps in (3, 2):
        succeed("train", *SMALL, "--steps", steps, "--out", tmp_path / "a", "--overwrite")
    assert json.loads((tmp_path / "a" / "config.json").read_text())["steps"] == 2


def test_help_loads_nothing_heavy():
    program = "import sys; from codesign.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = run_process(sys.executable, "-c", program, "train", "--help")
    assert "--record-tensors" in done.out
    assert "click" in done.err.split()
    assert not {"torch", "numpy", "pydantic", "safetensors", "rich"} & {*done.err.split()}
