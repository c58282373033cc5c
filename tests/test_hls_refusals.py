"""What `codesign export` refuses, with one line and nothing written."""

import pytest
from command_line import run
from hls_runs import SMALL, record
from train_runs import config, contents

from codesign.nm.format import NM
from codesign.train.loop import train


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    return record(tmp_path_factory.mktemp("mlp"))


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conv")
    return record(
        folder, model="resnet9", input_size=8, batch=4, steps=1, record_tensors=("prep", "layer1.conv")
    )


def refused(tmp_path, *options):
    """The one line on stderr; nothing may have been written."""
    out = tmp_path / "project"
    before = sorted(tmp_path.iterdir())
    code, printed, error = run("export", "--out", out, *options)
    assert (code, printed) == (2, "")
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    return error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamw"}, "recorded with optimizer 'adamw': the kernels have SGD"),
        ({"amp": "bf16"}, "recorded in bfloat16: the kernels compute in FP16"),
        ({"grad_clip": 1e-3}, "layer 'fc1': its gradient was changed before the update"),
        ({"nm": NM(7, 8)}, "layer 'fc2': 7:8 in FF, expected a ratio of array.sparsity"),
        ({"method": "sdgp"}, "layer 'fc2': the method prunes its gradient in BP"),
    ],
    ids=["adamw", "bf16", "clipped", "ratio", "pruned gradient"],
)
def test_trainings_that_the_kernels_cannot_do_are_refused(tmp_path, options, message):
    trace = record(tmp_path / "run", steps=1, **options)
    assert message in refused(tmp_path, "--trace", trace)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["buffers.activation.double_buffered=false"], "buffers.activation has one half"),
        (["precision.operand_bits=32", "array.activation_port_bits=64"], "precision of (32, 32, 32) bits"),
        (["array.rows"], "--set array.rows: expected KEY=VALUE"),
        (["array.rows=4", "array.rows=8"], "--set array.rows=8: expected KEY=VALUE with each key once"),
        (["array.size=4"], "no architecture parameter 'array.size'"),
    ],
    ids=["one half", "fp32", "no value", "twice", "unknown"],
)
def test_architectures_that_cannot_be_built_are_refused(mlp, tmp_path, settings, message):
    options = [word for text in settings for word in ("--set", text)]
    assert message in refused(tmp_path, "--trace", mlp, *options)


def test_buffers_that_hold_no_tile_are_refused(convolutions, tmp_path):
    """With OS a row's k lies in one bank: the scheduler cuts it to what the whole buffer holds, which is more."""
    tiny = ("array.rows=32", "buffers.activation.capacity_bytes=4096", "array.dataflows=[os]")
    tiny += ("optimizations.fixed_dataflow=os",)
    error = refused(tmp_path, "--trace", convolutions, *(word for text in tiny for word in ("--set", text)))
    assert "its smallest tile" in error or "does not fit" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--clock", "0.5"), "clock of 0.5 MHz: expected 1 to 1000 MHz"),
        (("--clock", "nan"), "clock of nan MHz: expected 1 to 1000 MHz"),
        (("--set", "clock_hz=2000000000"), "clock of 2000 MHz: expected 1 to 1000 MHz"),
        (("--part", "x; rm"), "--part 'x; rm': expected letters"),
        (("--platform", "$(ls)"), "--platform '$(ls)': expected letters"),
    ],
)
def test_bad_targets_are_refused(mlp, tmp_path, options, message):
    assert message in refused(tmp_path, "--trace", mlp, *options)


@pytest.mark.parametrize(
    ("compiler", "message"), [("no-such-g++", "no-such-g++ is not installed"), ("false", "C-sim")]
)
def test_without_a_compiler_nothing_is_written(mlp, tmp_path, monkeypatch, compiler, message):
    monkeypatch.setenv("CXX", compiler)
    assert message in refused(tmp_path, "--trace", mlp, *SMALL, "--csim")


def test_a_folder_with_files_is_kept(mlp, tmp_path):
    out = tmp_path / "project"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    assert "is not empty; choose another folder, or --force" in refused(tmp_path, "--trace", mlp)
    assert "holds no exported project" in refused(tmp_path, "--trace", mlp, "--force")
    assert contents(out) == {"thesis.tex": b"mine"}


def test_a_run_without_tensors_is_refused(tmp_path):
    train(config(steps=1), tmp_path / "run")
    assert "tensors.safetensors: no such file" in refused(tmp_path, "--trace", tmp_path / "run/trace")
