"""Sparse networks as hls4ml projects: compiled with g++, held against PyTorch and hls4ml's own dense layers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import run, succeed
from hypothesis import given
from hypothesis import strategies as st
from train_runs import config

from codesign.errors import ExportError, SpecError
from codesign.nm.format import NM
from codesign.nm.reference import prune

pytest.importorskip("hls4ml")
torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, relu  # noqa: E402

from codesign.train.loop import train  # noqa: E402
from hls.hls4ml_bridge import Settings, export, load_finished  # noqa: E402
from hls.hls4ml_bridge.convert import CONFIG_FILE, convert  # noqa: E402
from hls.hls4ml_bridge.extension import HEADER, compress  # noqa: E402
from hls.hls4ml_bridge.project import REPORT  # noqa: E402
from hls.hls4ml_bridge.simulate import simulate  # noqa: E402
from hls.pragmas import check_pragmas  # noqa: E402

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")

WIDE = "fixed<24,10>"
"""14 bits behind the point: what is left to differ is far below the smallest weight that a mistake would misplace."""


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of BDWP at 2:8 on digits."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    train(config(model="mlp:64x16x16x10", steps=40), out)
    return out


def pruned(model: nn.Module, ratios: dict[str, NM]) -> nn.Module:
    """The network in evaluation mode, its layers of these names pruned; norms have statistics of some data."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    for name, nm in ratios.items():
        weight = model.get_submodule(name).weight.data
        weight.copy_(torch.from_numpy(prune(weight.numpy(), nm, 1)))
    return model.eval()


def convolutions() -> nn.Module:
    """Padding, stride, a 1 x 1 kernel, a fused norm, and a layer behind the flattened image."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 1), nn.ReLU()),
        *(nn.Conv2d(16, 8, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(128, 10)),
    )


class Residual(nn.Module):
    """A block with a shortcut through a 1 x 1 convolution, and one average of each channel before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.pool = nn.Identity()
        self.block = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16))
        self.shortcut = nn.Conv2d(8, 16, 1, stride=2, bias=False)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(relu(self.conv1(x)))
        x = relu(self.block(x) + self.shortcut(x))
        return self.fc(adaptive_avg_pool2d(max_pool2d(x, 2), 1).flatten(1))


def digits(samples: int) -> torch.Tensor:
    """Images of handwritten digits, (samples, 1, 8, 8), 0 to 1."""
    from sklearn.datasets import load_digits

    return torch.from_numpy(load_digits().images[:samples, None].astype(np.float32) / 16)


# -- the compressed form ---------------------------------------------------------------------------------------


@given(
    outputs=st.integers(1, 4),
    groups=st.integers(1, 6),
    nm=st.sampled_from([NM(1, 2), NM(2, 4), NM(2, 8), NM(3, 5)]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_values_and_positions_give_the_sums_in_the_order_of_the_header(
    outputs, groups, nm, seed, data
) -> None:
    steps = data.draw(st.sampled_from([step for step in range(1, groups + 1) if groups % step == 0]))
    random = np.random.default_rng(seed)
    weights = prune(random.integers(-9, 10, (outputs, groups * nm.m)).astype(np.float64), nm, 1)
    x = random.integers(-9, 10, groups * nm.m)
    values, positions = compress("layer", weights, nm, steps, groups * nm.m)
    assert values.size == positions.size == outputs * groups * nm.n
    sums, entry, at_once = np.zeros(outputs), 0, groups // steps
    for step in range(steps):  # the loops of nm_product, with a counter for the formula of its index
        for output in range(outputs):
            for group in range(step * at_once, (step + 1) * at_once):
                for _ in range(nm.n):
                    sums[output] += values[entry] * x[group * nm.m + positions[entry]]
                    entry += 1
    np.testing.assert_array_equal(sums, weights @ x)


def test_weights_that_are_not_sparse_are_refused() -> None:
    with pytest.raises(ExportError, match="layer 'fc': got more than 2 non-zeros in a group of 8 weights"):
        compress("fc", np.ones((1, 8)), NM(2, 8), 1, 8)
    with pytest.raises(
        ExportError, match="layer 'fc' cannot be exported: N:M ratio 2:8: reduction length 12"
    ):
        compress("fc", np.ones((1, 12)), NM(2, 8), 1, 12)


def test_the_header_keeps_to_the_pragmas_of_vitis_hls() -> None:
    assert check_pragmas(HEADER.read_text().replace('#include "', "#include <")) == []


# -- a whole export --------------------------------------------------------------------------------------------


@needs_compiler
def test_a_trained_network_is_exported_and_agrees_with_pytorch(finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "net"
    data = json.loads(
        succeed("hls4ml", "--run", finished_run, "--out", out, "--precision", WIDE, "--reuse", 2, "--json")
    )
    assert data == json.loads((out / REPORT).read_text())
    assert data["agreement"]["samples"] == 200
    assert data["agreement"]["same_class"] == 1
    assert data["agreement"]["max_error"] < 0.01
    layers = {layer["name"]: layer for layer in data["layers"]}
    assert {name: layer["nm"] for name, layer in layers.items()} == {"fc1": None, "fc2": "2:8", "fc3": "2:8"}
    assert layers["fc2"] == {
        "name": "fc2",
        "nm": "2:8",
        "steps": 2,
        "weight_bits": 16 * 16 // 4 * (24 + 3),  # a quarter of the weights, with 3 bits of position
        "dense_weight_bits": 16 * 16 * 24,
        "multiplications": 16 * 16 // 4,
        "dense_multiplications": 16 * 16,
    }
    assert not (out / CONFIG_FILE).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert (out / "firmware" / "nnet_utils" / HEADER.name).read_text() == HEADER.read_text()
    assert check_pragmas(out / "firmware" / "net.cpp") == []
    code, _, err = run("hls4ml", "--run", finished_run, "--out", out)
    assert (code, "is not empty; use --force" in err) == (2, True)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("interface", ["io_parallel", "io_stream"])
def test_convolutions_agree_with_pytorch(interface: str, tmp_path: Path) -> None:
    ratios = {"2": NM(2, 8), "5": NM(4, 8), "7": NM(1, 4), "10": NM(2, 8)}
    torch.manual_seed(0)
    model = pruned(convolutions(), ratios)
    exported = export(
        model, ratios, digits(50), tmp_path / "net", Settings(interface, precision=WIDE, reuse=3)
    )
    assert exported.agreement.same_class == 1
    assert exported.agreement.max_error < 0.01
    assert {layer.name: layer.steps for layer in exported.layers if layer.nm} == {
        "2": 3,
        "5": 1,
        "7": 3,
        "10": 2,
    }
    assert {layer.name: layer.multiplications for layer in exported.layers} == {
        "0": 64 * 9 * 8,
        "2": 64 * 9 * 8 * 8 // 4,
        "5": 64 * 8 * 16 // 2,
        "7": 16 * 9 * 16 * 8 // 4,
        "10": 128 * 10 // 4,
    }


@needs_compiler
@pytest.mark.slow
def test_a_residual_network_agrees_with_pytorch(tmp_path: Path) -> None:
    ratios = {"block.0": NM(2, 8), "shortcut": NM(4, 8), "fc": NM(2, 8)}
    torch.manual_seed(0)
    model = pruned(Residual(), ratios)
    exported = export(model, ratios, digits(50), tmp_path / "net", Settings("io_stream", precision=WIDE))
    assert exported.agreement.same_class == 1
    assert exported.agreement.max_error < 0.01
    assert {layer.name: layer.nm for layer in exported.layers} == {
        "conv1": None,
        "block.0": "2:8",
        "shortcut": "4:8",
        "fc": "2:8",
    }


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("interface", "reuse"), [("io_parallel", 1), ("io_stream", 4)])
def test_sparse_layers_give_the_bits_of_dense_ones(interface: str, reuse: int, tmp_path: Path) -> None:
    ratios = {"0": NM(2, 8), "2": NM(1, 4)}
    torch.manual_seed(0)
    model = pruned(nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10)), ratios)
    inputs = torch.randn(50, 32)
    results = []
    for name, sparse in (("dense", {}), ("sparse", ratios)):
        project = tmp_path / name / "project"
        convert(model, sparse, inputs[:1], project, Settings(interface, reuse=reuse))
        results.append(simulate(project, tmp_path / name, inputs.numpy(), 10))
    assert np.ptp(results[0]) > 0
    np.testing.assert_array_equal(results[0], results[1])


@needs_compiler
def test_force_replaces_an_earlier_export_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hls.hls4ml_bridge.project.simulate", lambda *_: np.zeros((4, 4), np.float32))
    model, inputs = nn.Sequential(nn.Linear(8, 4)).eval(), torch.randn(4, 8)
    out = tmp_path / "net"
    export(model, {}, inputs, out, Settings())
    (out / "old").touch()
    export(model, {}, inputs, out, Settings(), force=True)
    assert not (out / "old").exists()
    (out / REPORT).unlink()
    with pytest.raises(ExportError, match="holds no earlier export"):
        export(model, {}, inputs, out, Settings(), force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


# -- refusals: one clear line, and nothing is left behind ------------------------------------------------------


class Branching(nn.Module):
    """What it does depends on its data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


@needs_compiler
@pytest.mark.parametrize(
    ("model", "ratios", "shape", "message"),
    [
        (
            nn.Sequential(nn.Linear(8, 8), nn.Mish()),
            {},
            (8,),
            "layer '1': hls4ml does not support Mish; expected one",
        ),
        (
            nn.Sequential(nn.Linear(8, 8)),
            {"0": NM(2, 8)},
            (8,),
            "got more than 2 non-zeros in a group of 8 weights",
        ),
        (
            nn.Sequential(nn.Conv1d(8, 8, 1), nn.Flatten()),
            {"0": NM(2, 8)},
            (8, 4),
            "layer '0': a sparse Conv1d cannot be exported; expected nn.Linear on vectors or nn.Conv2d",
        ),
        (nn.Sequential(nn.Linear(8, 8)), {}, (3, 8), r"network: got outputs of shape \[2, 3, 8\], expected"),
        (Branching(), {}, (8,), "the network cannot be traced"),
    ],
    ids=["unsupported", "not sparse", "sparse Conv1d", "outputs", "branching"],
)
def test_what_cannot_be_exported_leaves_nothing(model, ratios, shape, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        export(model.eval(), ratios, torch.randn(2, *shape), tmp_path / "net", Settings())
    assert list(tmp_path.iterdir()) == []


@needs_compiler
def test_a_failing_compiler_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hls.hls4ml_bridge.simulate.FLAGS", ("--no-such-flag",))
    with pytest.raises(ExportError, match=r"compiling the exported network failed: .*no-such-flag"):
        export(nn.Sequential(nn.Linear(8, 4)).eval(), {}, torch.randn(2, 8), tmp_path / "net", Settings())
    assert list(tmp_path.iterdir()) == []


def test_no_compiler(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = run("hls4ml", "--run", finished_run, "--out", tmp_path / "net")
    assert (code, out) == (2, "")
    assert "g++ is not installed, but every export is compiled and tried; install g++" in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_not_there_or_not_finished(finished_run: Path, tmp_path: Path) -> None:
    assert "no such file" in run("hls4ml", "--run", tmp_path, "--out", tmp_path / "net").err
    shutil.copy(finished_run / "config.json", tmp_path)
    with pytest.raises(SpecError, match="expected the model of a finished run"):
        load_finished(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": "float"}, "precision 'float': expected fixed<BITS,INTEGER_BITS>"),
        ({"precision": "fixed<8,9>"}, "expected fixed<BITS,INTEGER_BITS> of at most 32 bits"),
        ({"precision": "fixed<40,9>"}, "at most 32 bits"),
        ({"part": 'x"; exec rm'}, "expected the name of an FPGA such as xcvu9p"),
    ],
)
def test_bad_settings(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Settings(**wrong)
