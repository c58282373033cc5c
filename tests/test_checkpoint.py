"""A run that was killed and resumed ends with the files of one that never stopped; a bad checkpoint is refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from train_runs import config, contents, train_until

from codesign.errors import ExportError, SpecError
from codesign.nm.format import NM
from codesign.train import METHODS
from codesign.train.checkpoint import load_checkpoint, plain
from codesign.train.loop import train
from codesign.train.session import prepare

torch.set_num_threads(1)

OPTIONS = {
    "transposable": {"refresh_steps": 3},
    "bimask": {"refresh_steps": 3},
    "ast": {"refresh_steps": 3, "score": "wanda", "ramp_steps": 5},
    "progressive": {"decay": "exponential", "beta": 0.1},
}
"""What makes a method look back within a few steps."""

SHORT = {"steps": 14, "checkpoint_every": 4, "record_every": 2}
"""An epoch ends after 11 steps: checkpoints are after 4, 8, 11, 12 and 14."""


@pytest.mark.parametrize(("index", "method"), [*enumerate(METHODS)])
def test_every_method_resumes_bit_for_bit(tmp_path, index, method):
    """Masks that are held, momentum, random pruning of gradients, a schedule on its way, statistics since before."""
    settings = config(
        **SHORT, method=method, options=OPTIONS.get(method, {}), optimizer=("sgd", "adamw")[index % 2], mvue="2:4",
        schedule_start=0.1, schedule_full=0.5, record_tensors=["fc2"], record_at=9,
    )  # fmt: skip
    train(settings, tmp_path / "whole")
    stopped_after = random.Random(method).randint(1, 13)
    train_until(stopped_after, settings, tmp_path / "resumed")
    torch.manual_seed(1234)  # the state of generators must come from the checkpoint
    train(settings, tmp_path / "resumed", resume=True)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


@pytest.mark.parametrize("stops", [[1, 2, 3], [4], [11, 13], [13, 13, 14]])
def test_runs_can_be_stopped_again_and_again(tmp_path, stops):
    settings = config(**SHORT, accumulate=1, amp="bf16")
    train(settings, tmp_path / "whole")
    for index, stop in enumerate(stops):
        train_until(stop, settings, tmp_path / "resumed", resume=index > 0)
    train(settings, tmp_path / "resumed", resume=True)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


def test_accumulation_resumes_within_an_epoch(tmp_path):
    settings = config(steps=9, checkpoint_every=2, batch=64, accumulate=3)
    train(settings, tmp_path / "whole")
    train_until(3, settings, tmp_path / "resumed")
    train(settings, tmp_path / "resumed", resume=True)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


def test_a_finished_run_can_be_resumed(tmp_path):
    run = train(config(**SHORT), tmp_path)
    before = contents(tmp_path)
    assert train(config(**SHORT), tmp_path, resume=True) == run
    assert contents(tmp_path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from codesign.train.config import load_config
from codesign.train.loop import train

def kill(done, planned):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

out = Path(sys.argv[1])
train(load_config(out), out, overwrite=True, on_step=kill)
"""


CONVOLUTIONS = {
    "model": "resnet9", "input_size": 8, "batch": 8, "steps": 5, "checkpoint_every": 2,
    "method": "bimask", "options": {"refresh_steps": 2},
}  # fmt: skip


@pytest.mark.parametrize(
    "given", [{}, pytest.param(CONVOLUTIONS, marks=pytest.mark.slow)], ids=["mlp", "cnn"]
)
def test_killed_runs_resume_bit_for_bit(tmp_path, given):
    settings = config(**SHORT | given)
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "config.json").write_text(settings.to_json())
    step = random.Random(str(given)).randint(1, settings.steps - 1)
    done = subprocess.run([sys.executable, "-c", KILLED, killed, str(step)], timeout=120, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (killed / "model.safetensors").exists()
    train(settings, killed, resume=True)
    train(settings, tmp_path / "whole")
    assert contents(killed) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_runs_killed_at_any_moment_resume_bit_for_bit(tmp_path):
    """Not between two steps, but whenever the clock says: also while files are written."""
    settings = config(steps=400, checkpoint_every=1, record_every=50, record_tensors=["fc2"])
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "config.json").write_text(settings.to_json())
    dice = random.Random(7)
    command = (
        "from codesign.train.config import load_config; from codesign.train.loop import train; import sys\n"
    )
    command += "from pathlib import Path; out = Path(sys.argv[1])\n"
    command += "train(load_config(out), out, resume=True)"
    kills = 0
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", command, killed], stderr=subprocess.PIPE)
        try:
            process.wait(timeout=dice.uniform(2, 6))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert kills
    train(settings, killed, resume=True)
    train(settings, tmp_path / "whole")
    assert contents(killed) == contents(tmp_path / "whole")
    assert not [*killed.rglob(".writing-*")]


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a run that was stopped after its checkpoint at step 4."""
    out = tmp_path_factory.mktemp("stopped")
    train_until(6, config(**SHORT), out)
    return out


@pytest.fixture
def folder(stopped, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def refuse(folder, message, error=SpecError, **given):
    """Resuming fails with this message and touches nothing."""
    before = contents(folder)
    with pytest.raises(error, match=message) as refused:
        train(config(**SHORT | given), folder, resume=True)
    assert "\n" not in str(refused.value)
    assert contents(folder) == before


def test_the_checkpoint_is_what_it_says(stopped):
    checkpoint = load_checkpoint(stopped)
    assert (checkpoint.progress.step, checkpoint.config) == (4, config(**SHORT))
    assert [(phase.first_step, phase.steps) for phase in checkpoint.progress.phases] == [(0, 4)]
    model = {name for name in checkpoint.tensors if name.startswith("model.")}
    assert model == {f"model.fc{index}.{which}" for index in (1, 2, 3) for which in ("weight", "bias")}


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.2, 0.5, 0.99, -1])
def test_truncated_checkpoints_are_refused(folder, keep):
    path = folder / "checkpoint.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else keep])
    refuse(folder, r"checkpoint.safetensors: is damaged .*start again with --overwrite")


@pytest.mark.parametrize("place", [0.0, 0.01, 0.1, 0.3, 0.6, 0.9, 0.999])
def test_flipped_bits_are_found(folder, place):
    """Wherever they are: in the length of the header, in the header, in a tensor."""
    path = folder / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x04
    path.write_bytes(content)
    refuse(folder, r"checkpoint.safetensors: .*start again with --overwrite")


def rewrite(folder, **header):
    """Change the metadata of the checkpoint."""
    path = folder / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["codesign"])
    save_file(load_file(path), path, {"codesign": json.dumps(metadata | header)})


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"version": 99}, "is of version 99, expected 1"),
        ({"format": "other"}, "is no checkpoint of codesign"),
        ({"sha256": "0"}, "its content does not match its SHA-256"),
        ({"content": None}, "its content does not match its SHA-256"),
    ],
)
def test_other_metadata_are_refused(folder, header, message):
    rewrite(folder, **header)
    refuse(folder, message)


def test_settings_of_another_release_are_refused(folder, monkeypatch):
    monkeypatch.delitem(METHODS, "bdwp")
    with pytest.raises(SpecError, match=r"is of another release .unknown method 'bdwp'.*; start again"):
        load_checkpoint(folder)


def test_other_tensors_are_refused(folder):
    save_file({"weight": torch.zeros(3)}, folder / "checkpoint.safetensors")
    refuse(folder, "is no checkpoint of codesign")


def test_a_checkpoint_of_other_shapes_is_refused(folder, tmp_path):
    """The text has changed, and with it the number of characters."""
    text = tmp_path / "text"
    text.write_text("abcdefgh " * 200)
    given = {"model": "gpt-nano", "data": f"text:{text}", "seq_len": 16, "batch": 8, "optimizer": None}
    train_until(4, config(**SHORT | given), tmp_path / "gpt")
    text.write_text("abcdefghijklmnop " * 200)
    refuse(tmp_path / "gpt", r"does not fit the model and the data \(Error", **given)


def test_a_directory_is_no_checkpoint(folder):
    (folder / "checkpoint.safetensors").unlink()
    (folder / "checkpoint.safetensors").mkdir()
    refuse(folder, "checkpoint.safetensors: is damaged")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": 0.7}, "cannot be resumed with other settings: lr was 0.05 and is 0.7"),
        ({"seed": 5, "nm": "1:4"}, "nm was '2:8' and is '1:4'; seed was 0 and is 5"),
        (
            {"method": "srste", "options": {"decay_rate": 0.1}},
            "method was 'bdwp' and is 'srste'; options was",
        ),
        ({"steps": 20}, "steps was 14 and is 20"),
    ],
)
def test_other_settings_are_refused(folder, given, message):
    refuse(folder, message, **given)


def test_settings_that_change_no_result_may_change(folder, tmp_path):
    train(config(**SHORT | {"checkpoint_every": 1, "device": "auto", "threads": 1}), folder, resume=True)
    train(config(**SHORT), tmp_path / "whole")
    for name in ("model.safetensors", "metrics.jsonl", "statistics.jsonl", "trace/trace.json"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("name", ["metrics.jsonl", "statistics.jsonl"])
def test_files_that_were_cut_are_refused(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    refuse(folder, f"{name}: is shorter than at the checkpoint; put the file back")
    (folder / name).unlink()
    refuse(folder, f"{name}: is shorter than at the checkpoint; put the file back")


def test_damaged_statistics_are_refused(folder):
    path = folder / "statistics.jsonl"
    path.write_bytes(path.read_bytes().replace(b"overlap", b"0verlap"))
    refuse(folder, "statistics.jsonl: is damaged; put the file back")


def test_nothing_to_resume_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", r"config.json: no such file; expected the configuration of a training run")


def test_a_run_without_a_checkpoint_starts_again(tmp_path):
    settings = config(**SHORT)
    train_until(2, settings, tmp_path / "resumed")
    assert not (tmp_path / "resumed" / "checkpoint.safetensors").exists()
    refuse(tmp_path / "resumed", "lr was 0.05 and is 3.0", lr=3)
    train(settings, tmp_path / "resumed", resume=True)
    train(settings, tmp_path / "whole")
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(folder):
    folder.chmod(0o500)
    refuse(folder, "no permission", ExportError)
    folder.chmod(0o700)


# -- parts ---------------------------------------------------------------------------------------------------------


def test_plain_tensors_share_no_memory():
    """As safetensors demands; a tied weight is written under both names."""
    shared = torch.arange(12.0).reshape(3, 4)
    made = plain({"a": shared, "b": shared, "c": shared.t(), "d": shared[1:]})
    assert [tensor.tolist() for tensor in made.values()] == [
        tensor.tolist() for tensor in (shared, shared, shared.t(), shared[1:])
    ]
    assert all(tensor.is_contiguous() for tensor in made.values())
    spans = sorted((t.data_ptr(), t.data_ptr() + t.nbytes) for t in made.values())
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_tied_weights_come_back_tied(tmp_path):
    text = tmp_path / "text"
    text.write_text("abcdefgh " * 200)
    given = {"model": "gpt-nano", "data": f"text:{text}", "seq_len": 16, "batch": 8, "steps": 3}
    settings = config(**given, checkpoint_every=1, nm=NM(2, 8))
    train(settings, tmp_path / "whole")
    train_until(2, settings, tmp_path / "resumed")
    train(settings, tmp_path / "resumed", resume=True)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    model = prepare(settings).model
    model.load_state_dict(load_file(tmp_path / "whole" / "model.safetensors"))
    assert model.lm_head.weight is model.wte.weight
