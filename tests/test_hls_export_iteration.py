"""`codesign export --iteration`: runs go on in a Vitis project, an iteration at a time, as in PyTorch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run, succeed
from hls_runs import host_program
from torch import nn
from train_runs import config, contents

from codesign.errors import ExportError
from codesign.nm.format import NM
from codesign.train.checkpoint import load_checkpoint
from codesign.train.loop import train
from hls.iteration.network import INPUT
from hls.iteration.torch_network import network_of
from hls.iteration.torch_run import load_run
from hls.program.encoding import Program
from workloads.models import build, model_input

SMALL = ("--set", "array.rows=8", "--set", "array.cols=8")
MLP = "mlp:64x32x16x10"
needs_gxx = pytest.mark.skipif(
    not (shutil.which("g++") and shutil.which("make")), reason="needs g++ and make"
)


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlp")
    train(config(model=MLP, batch=16, label_smoothing=0.1), folder)
    return folder


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resnet9")
    train(config(model="resnet9", input_size=8, batch=16, steps=3, lr=1e-3), folder)
    return folder


@pytest.fixture(scope="module")
def project(mlp, tmp_path_factory):
    """An exported project, and what the command printed as JSON."""
    folder = tmp_path_factory.mktemp("export") / "sat"
    return folder, json.loads(succeed("export", "--iteration", mlp, "--out", folder, *SMALL, "--json"))


# -- against PyTorch -------------------------------------------------------------------------------------------------

# PyTorch prunes FP32 weights, the accelerator those that are stored in FP16: of two that are equal there, another one
# may be kept. Neighbours in size are about a fifth apart and FP16 rounds to 2^-11, so this befalls one group in a few
# hundred, and a layer's outputs are off by the root of that, some hundredths; so is the loss of a few samples. The
# perceptron has fewer than 200 groups. Weights are off by that times two updates of about a tenth of them, or less.
PERCEPTRON, RESNET, WEIGHTS = 2.0**-8, 2.0**-4, 2.0**-6


def check_near_pytorch(comparison, tolerance: float) -> None:
    assert len(comparison["losses"]) == 2
    for loss in comparison["losses"]:
        assert loss["here"] == pytest.approx(loss["pytorch"], rel=tolerance)
    assert 0 < comparison["weight_distance"] < WEIGHTS


def test_two_iterations_are_near_pytorch(project) -> None:
    check_near_pytorch(project[1]["comparison"], PERCEPTRON)


def test_the_run_goes_on_where_it_stopped(mlp, tmp_path) -> None:
    """A run of two steps more, at a constant rate, sees the same batches, losses and weights."""
    longer = {"model": MLP, "batch": 16, "lr_decay": "none", "warmup": 0.0, "log_every": 1}
    train(config(**longer, steps=5), tmp_path / "a")
    train(config(**longer, steps=7), tmp_path / "b")
    found = load_run(tmp_path / "a", batch=None, iterations=2)
    rows = [json.loads(line) for line in (tmp_path / "b/metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "step"]
    assert found.step == 5
    assert found.losses == pytest.approx(losses[5:], rel=1e-6)
    masters = load_checkpoint(tmp_path / "b").tensors
    for layer in ("fc1", "fc2", "fc3"):
        for part in ("weight", "bias"):
            np.testing.assert_array_equal(found.trained[layer][part], masters[f"model.{layer}.{part}"])


# -- the project -----------------------------------------------------------------------------------------------------


@needs_gxx
def test_csim_matches(mlp, project, tmp_path) -> None:
    """Both iterations, by the project's own Makefile; the same input gives the same bytes."""
    out = tmp_path / "my project"
    printed = succeed("export", "--iteration", mlp, "--out", out, *SMALL, "--csim")
    assert "Iteration 2: loss " in printed and "all match, bit for bit" in printed
    assert contents(out) == contents(project[0])


def test_the_second_batch_is_there(project, mlp) -> None:
    folder, printed = project
    data = folder / "tb/data"
    first, second = (load_run(mlp, batch=None, iterations=2).batches[i] for i in (0, 1))
    for name, (images, labels) in (("memory.bin", first), ("batch2.bin", second)):
        words = (data / name).read_bytes()
        pixels = np.frombuffer(words, np.float16, 16 * 64).reshape(16, 64, 1, 1)
        np.testing.assert_array_equal(pixels, images.astype(np.float16))
        np.testing.assert_array_equal(np.frombuffer(words, np.uint32, 16, offset=2 * 16 * 64), labels)
    assert (data / "batch2.bin").stat().st_size == 2 * 16 * 64 + 4 * 16
    assert not (data / "batch3.bin").exists()
    assert printed["instructions"] == len(
        Program.from_bytes((data / "program.bin").read_bytes()).instructions
    )


def test_every_pass_is_there(project) -> None:
    passes = {(each["layer"], each["stage"]): each["nm"] for each in project[1]["passes"]}
    assert passes == {
        ("fc1", "ff"): None,
        ("fc2", "ff"): "2:8",
        ("fc3", "ff"): "2:8",
        ("fc3", "bp"): None,  # 10 classes do not divide by 8
        ("fc2", "bp"): "2:8",
        **{(layer, "wu"): None for layer in ("fc1", "fc2", "fc3")},
    }


def test_texts_speak_of_an_iteration(project) -> None:
    folder, _ = project
    readme = (folder / "README.md").read_text()
    assert f"a whole training iteration of `{MLP}`" in readme
    assert "@" not in readme
    manifest = json.loads((folder / "tb/manifest.json").read_text())
    assert "--iteration RUN --batch 16 --iterations 2" in manifest["command"]
    assert manifest["step"] == 8


def test_the_python_host_program_runs_every_batch(project, tmp_path) -> None:
    """Its protocol, on a card that knows the result: the last batch lies in front of it."""
    data = project[0] / "tb/data"
    shutil.copy(Path(__file__).parent / "hls_pyxrt_stub.py", tmp_path / "pyxrt.py")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "STUB_RESULT": str(data / "expected.bin")}
    command = [sys.executable, str(project[0] / "host/run.py"), "sat.xclbin", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("0 of")


@pytest.mark.slow
@needs_gxx
def test_the_host_program_runs_every_batch(project, tmp_path) -> None:
    folder, _ = project
    host = host_program(folder, tmp_path)
    command = [str(host), "sat.xclbin", str(folder / "tb/data")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(" ms\n") == 2 and "\n0 of" in done.stdout


@pytest.mark.slow
@needs_gxx
@pytest.mark.parametrize("settings", [SMALL, ()], ids=["8x8", "packaged"])
def test_resnet9_on_digits(resnet, tmp_path, settings) -> None:
    printed = succeed(
        "export", "--iteration", resnet, "--batch", 8, "--out", tmp_path / "p", *settings, "--csim", "--json"
    )
    found = json.loads(printed)
    assert found["csim"].endswith("all match")
    check_near_pytorch(found["comparison"], RESNET)


# -- what is refused -------------------------------------------------------------------------------------------------


def refused(tmp_path, *options) -> str:
    """The one line on stderr; nothing may have been written."""
    code, printed, error = run("export", "--out", tmp_path / "project", *options)
    assert (code, printed) == (2, "")
    assert error.count("\n") == 1
    assert not (tmp_path / "project").exists()
    return error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"optimizer": "adamw"},
            "run with optimizer adamw: a program of an iteration has optimizer sgd only",
        ),
        ({"method": "srste"}, "run with method srste: a program of an iteration has method bdwp only"),
        ({"grad_clip": 1.0}, "run with grad_clip 1.0"),
        ({"overrides": {"fc2": None}}, "layer 'fc2': dense in BP of the run, expected 2:8"),
        ({"nm": NM(7, 8)}, "7:8 in FF, expected a ratio of array.sparsity"),
    ],
    ids=["adamw", "method", "clipped", "override", "ratio"],
)
def test_runs_that_the_kernels_cannot_continue_are_refused(tmp_path, options, message) -> None:
    train(config(**{"model": MLP, "batch": 4, "steps": 1, "record_every": 0} | options), tmp_path / "run")
    assert message in refused(tmp_path, "--iteration", tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit-tiny", "layer 'pos_embed': the kernels lack ClassTokenAndPosition"),
        ("gpt-nano", "layer 'wte': the kernels lack Embedding"),
        (
            "resnet18-cifar",
            "layer 'layer2.0.downsample': Conv2d reads 'relu_4', expected the layer before, 'layer2.0.bn2'",
        ),
    ],
)
def test_networks_are_refused_by_layer(name, message) -> None:
    shape, tokens = model_input(name)
    with torch.device("meta"), pytest.raises(ExportError, match=message):
        network_of(build(name), name, torch.zeros(1, *shape, dtype=torch.int64 if tokens else None))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            nn.Conv2d(3, 8, 3, groups=1, dilation=2),
            "layer '0': the kernels lack Conv2d with groups, dilation",
        ),
        (nn.Conv2d(3, 8, (3, 1)), r"layer '0': the kernels lack window with sides \(3, 1\)"),
        (nn.MaxPool2d(3, ceil_mode=True), "the kernels lack MaxPool2d"),
        (nn.AdaptiveAvgPool2d(3), r"the kernels lack AdaptiveAvgPool2d \[2, 3, 8, 8\] -> \[2, 3, 3, 3\]"),
        (nn.Flatten(), r"the kernels lack Flatten \[2, 3, 8, 8\] -> \[2, 192\]"),
        (nn.Dropout(0.5), "the kernels lack Dropout"),
        (nn.GELU(), "layer '0': the kernels lack GELU"),
    ],
)
def test_modules_that_the_kernels_lack_are_refused(module, message) -> None:
    with pytest.raises(ExportError, match=message):
        network_of(nn.Sequential(module), "x", torch.zeros(2, 3, 8, 8))


class Sums(nn.Module):
    """Functions instead of modules, one module twice, and a sum with the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.fc = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Linear(3, 10)

    def forward(self, x):
        y = self.act(nn.functional.avg_pool2d(x + self.act(self.conv(x)), 3, stride=2, padding=1))
        return self.fc(nn.functional.adaptive_avg_pool2d(y, 1).flatten(1))


def test_functions_are_layers_as_well() -> None:
    network = network_of(Sums(), "sums", torch.zeros(2, 3, 8, 8))
    _, nodes = network.graph(2)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Conv", "ReLU", "Add", "Pool", "ReLU", "Pool", "Flatten", "Linear"]
    assert [nodes[layer.name].shape[1:] for layer in network.layers][2:] == [
        (3, 8, 8), (3, 4, 4), (3, 4, 4), (3, 1, 1), (3,), (10,),
    ]  # fmt: skip
    assert network.sources()["add"] == ("act", INPUT)
    assert [network.layers[i].name for i in (0, 1, 4)] == ["conv", "act", "act_1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "expected either --trace or --iteration"),
        (("--trace", "a", "--iteration", "b"), "expected either --trace or --iteration"),
        (("--trace", "a", "--batch", 4), "use them with --iteration"),
        (("--iteration", "nowhere"), "nowhere: holds no checkpoint"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, options, message) -> None:
    assert message in refused(tmp_path, *options)
