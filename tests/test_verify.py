"""A recorded step computed again: real runs keep their bounds, whatever is tampered with breaks exactly one."""

import json

import numpy as np
import pytest
from command_line import run, succeed
from strategies import SAT
from train_runs import config

from codesign.compute.formats import Format
from codesign.errors import TraceError
from codesign.nm import reference
from codesign.nm.format import NM
from codesign.train.loop import train
from codesign.verify import loss_scale, verify
from workloads.recording import Recording, load_tensors
from workloads.run_trace import RunTrace, load_run_trace

MLP = "mlp:64x64x32x16"


def record(folder, **options):
    """Train a few steps and keep all tensors of the last one."""
    defaults = {"model": MLP, "steps": 3, "record_tensors": ("*",), "batch": 64}
    train(config(**defaults | options), folder)
    return load_run_trace(folder / "trace"), load_tensors(folder / "trace")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    layers = ("prep", "layer1.conv", "fc")
    return record(folder, model="resnet9", input_size=8, batch=8, steps=2, record_tensors=layers)


def checks_of(trace, recording, arch=SAT):
    return {(check.layer, check.what): check for check in verify(arch, trace, recording)}


def test_every_pass_of_every_layer_holds(recorded):
    checks = checks_of(*recorded)
    both = [
        (layer, what)
        for layer in ("fc2", "fc3")
        for what in ("prune FF", "FF", "prune BP", "BP", "WU", "update")
    ]
    assert list(checks) == [("fc1", "FF"), ("fc1", "WU"), ("fc1", "update"), *both]
    assert all(check.holds for check in checks.values())
    assert checks["fc2", "FF"].elements == 64 * 32
    assert all(0 < check.worst_bound_share <= 1 for (_, what), check in checks.items() if "prune" not in what)


def test_differences_by_their_definition(recorded):
    """fc1 is dense: its result in FP16, by numpy, is near enough that only the order of summation is left out."""
    trace, recording = recorded
    tensors = recording.layers["fc1"]
    x, w, b = (tensors[name].astype(np.float16).astype(np.float32) for name in ("input", "weight", "bias"))
    by_numpy = (x @ w.T + tensors["bias"]).astype(np.float16).astype(np.float64)
    expected = np.abs(by_numpy - tensors["output"])
    rms = np.sqrt(np.mean(np.square(tensors["output"].astype(np.float64))))
    ulp = 2.0 ** (np.floor(np.log2(rms)) - 10)
    check = checks_of(trace, recording)["fc1", "FF"]
    assert check.mean_ulp == pytest.approx(expected.mean() / ulp, rel=0.02)
    assert check.max_ulp == pytest.approx(expected.max() / ulp, abs=1)
    assert b.shape == (64,)


def test_convolutions_hold_on_every_dataflow(convolutions):
    for flow in ("ws", "os"):
        arch = SAT.with_overrides({"array.dataflows": [flow], "optimizations.fixed_dataflow": flow})
        checks = checks_of(*convolutions, arch)
        assert len(checks) == 3 + 6 + 5
        assert all(check.holds for check in checks.values())


def test_bounds_are_not_generous(convolutions):
    """Each kind of pass comes near its bound somewhere; a bound that nothing comes near says little."""
    checks = checks_of(*convolutions)
    for what in ("FF", "BP", "WU", "update"):
        assert max(check.worst_bound_share for (_, name), check in checks.items() if name == what) > 1 / 8


TAMPERED = {
    "output": ("fc2", "FF"),
    "input_gradient": ("fc2", "BP"),
    "weight_gradient": ("fc2", "WU"),
    "weight_after": ("fc2", "update"),
}


def tampered(recording: Recording, layer: str, what: str, change) -> Recording:
    layers = {name: dict(tensors) for name, tensors in recording.layers.items()}
    layers[layer][what] = change(layers[layer][what].copy())
    return Recording(recording.header, layers)


@pytest.mark.parametrize("what", TAMPERED)
def test_one_wrong_element_breaks_its_bound(recorded, what):
    trace, recording = recorded

    def change(values):
        values.flat[7] += 0.05 * np.abs(values).max()
        return values

    checks = checks_of(trace, tampered(recording, "fc2", what, change))
    broken = [key for key, check in checks.items() if not check.holds]
    assert TAMPERED[what] in broken
    assert set(broken) <= {TAMPERED[what], ("fc2", "update")}  # the update starts from the gradient


def test_another_choice_of_weights_breaks_the_check_of_pruning(recorded):
    """The smallest instead of the largest of each group; PyTorch's operand is then no longer the pruned weight."""
    trace, recording = recorded

    def smallest(used):
        dense = recording.layers["fc2"]["weight"]
        return np.where(reference.mask(1 / np.maximum(np.abs(dense), 1e-9), NM(2, 8), 1), dense, 0)

    checks = checks_of(trace, tampered(recording, "fc2", "weight_ff", smallest))
    assert not checks["fc2", "FF"].holds


def test_not_a_number_breaks_the_bound(recorded):
    trace, recording = recorded
    broken = tampered(
        recording, "fc3", "output", lambda values: np.where(values == values.max(), np.nan, values)
    )
    assert not checks_of(trace, broken)["fc3", "FF"].holds


@pytest.mark.parametrize("method", ["dense", "srste", "sdgp", "sdwp", "transposable", "sste"])
def test_other_methods_hold(tmp_path, method):
    checks = checks_of(*record(tmp_path, method=method))
    assert all(check.holds for check in checks.values())
    assert all(check.elements for check in checks.values())


@pytest.mark.parametrize(
    "options",
    [{"optimizer": "adamw"}, {"amp": "bf16"}, {"grad_clip": 0.01}, {"nm": NM(7, 8)}],
    ids=["adamw", "bf16", "clipped", "ratio that the array lacks"],
)
def test_other_trainings_hold(tmp_path, options):
    assert all(check.holds for check in checks_of(*record(tmp_path, **options)).values())


def test_a_gradient_that_was_pruned_at_random_is_not_checked(tmp_path):
    checks = checks_of(*record(tmp_path, mvue=NM(2, 4)))
    assert "pruned at random" in checks["fc2", "WU"].note
    assert checks["fc2", "WU"].elements == checks["fc2", "update"].elements == 0
    assert checks["fc2", "BP"].elements and all(check.holds for check in checks.values())


def test_the_loss_scale_keeps_gradients_below_overflow(recorded):
    _, recording = recorded
    scale = loss_scale(recording, Format.FP16)
    largest = max(
        np.abs(values).max()
        for tensors in recording.layers.values()
        for name, values in tensors.items()
        if name in ("output_gradient", "input_gradient", "weight_gradient")
    )
    assert 2**14 < scale * largest <= 2**15
    assert loss_scale(recording, Format.BF16) == 1


def test_trace_and_recording_must_belong_together(recorded):
    trace, recording = recorded
    with pytest.raises(TraceError, match="not of a training run"):
        checks_of(RunTrace(trace.iteration), recording)
    later = Recording(recording.header.model_copy(update={"step": 9}), recording.layers)
    with pytest.raises(TraceError, match="the run has no step 9"):
        checks_of(trace, later)


# -- the command line ----------------------------------------------------------------------------------------------


def test_the_command(tmp_path):
    record(tmp_path)
    table = succeed("verify", "--trace", tmp_path / "trace")
    assert "Every bound holds" in table and "prune BP" in table
    data = json.loads(succeed("verify", "--trace", tmp_path / "trace", "--json"))
    assert data["holds"] is True
    assert len(data["checks"]) == 15


def test_who_looks_on_is_told_of_the_compilation(tmp_path, monkeypatch):
    record(tmp_path)
    for pending in (True, False):
        monkeypatch.setattr("codesign.nm.jit_kernels.compilation_pending", lambda pending=pending: pending)
        told = run("verify", "--trace", tmp_path / "trace", on_terminal=True).err
        assert ("compiling kernels (once; kept on disk)" in told) is pending
        assert run("verify", "--trace", tmp_path / "trace", "--json", on_terminal=True).err == ""


def test_a_broken_bound_ends_with_status_1(tmp_path, monkeypatch):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    record(tmp_path)
    path = tmp_path / "trace/tensors.safetensors"
    tensors = load_file(path)
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    tensors["fc2/output"] = tensors["fc2/output"] + 1
    save_file(tensors, path, metadata)
    code, out, _ = run("verify", "--trace", tmp_path / "trace")
    assert code == 1
    assert "1 of 15 bounds are broken" in out
    code, out, _ = run("verify", "--trace", tmp_path / "trace", "--json")
    assert code == 1
    assert json.loads(out)["holds"] is False


def test_a_run_without_tensors_is_refused(tmp_path):
    train(config(steps=1), tmp_path)
    code, out, err = run("verify", "--trace", tmp_path / "trace")
    assert (code, out) == (2, "")
    assert "tensors.safetensors: no such file; expected recorded tensors, train with --record-tensors" in err
