"""Statistics and recorded tensors against plain loops, closed forms and a step that is computed again in numpy."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn
from torch.nn import functional
from train_runs import MLP, config, train_until

from codesign.errors import SpecError, TraceError
from codesign.nm import reference
from codesign.nm.format import NM
from codesign.train.data import load_data
from codesign.train.loop import train
from codesign.train.observe import observed
from codesign.train.recorder import StatisticsRecorder, compliance, share
from codesign.train.session import prepare
from workloads.models import build, model_input
from workloads.recording import load_tensors
from workloads.run_trace import load_run_trace

torch.set_num_threads(1)

NM_2_4 = NM(2, 4)


# -- statistics ----------------------------------------------------------------------------------------------------


def test_compliance_by_hand():
    w = torch.tensor([[1.0, 0, 2, 0, 3, 4, 5, 0], [0, 0, 0, 0, -1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0, 9]])
    assert compliance(w, NM_2_4, 1) == 4 / 6  # all but the second group of row 0 and the first of row 2
    assert compliance(w.t(), NM_2_4, 0) == 4 / 6
    assert compliance(w.reshape(3, 8, 1, 1), NM_2_4, 1) == 4 / 6
    assert compliance(w, NM(4, 4), 1) == 1


def test_share_by_hand():
    before, now = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, True])
    assert share(~before, now) == 2 / 3  # two of the three that are kept now were not before
    assert share(now, torch.zeros(4, dtype=torch.bool)) == 0


def naive(w, nm, axis):
    """Compliance of a numpy weight, group by group."""
    vectors = np.moveaxis(w, axis, -1).reshape(-1, w.shape[axis])
    groups = [v[first : first + nm.m] for v in vectors for first in range(0, len(v), nm.m)]
    return sum(np.count_nonzero(group) <= nm.n for group in groups) / len(groups)


def step_of(session, recorder, step, batch):
    """One recorded step, as the loop does it."""
    with recorder.listening(step):
        loss = session.loss(batch)
        loss.backward()
    recorded = recorder.measure(step, loss.item())
    session.optimizer.step()
    session.optimizer.zero_grad()
    return {layer.layer: layer for layer in recorded.layers}


@pytest.mark.parametrize("method", ["bdwp", "srste", "sdwp", "sdgp", "bimask", "transposable"])
def test_statistics_are_those_of_the_operands(method):
    session = prepare(
        config(method=method, lr=0.5, options={"refresh_steps": 1} if method == "transposable" else {})
    )
    recorder, layer = StatisticsRecorder(session), session.model.fc2
    before = {}
    for step, batches in zip(range(3), session.batches(0), strict=False):
        inputs = functional.relu(session.model.fc1(batches[0][0].flatten(1)))
        passes = {"ff": layer.forward_weight(), "bp": layer.backward_weight(torch.float32)}
        weights = {which: w.numpy().copy() for which, w in passes.items()}
        found = step_of(session, recorder, step, batches[0])["fc2"]

        sparse = {"bdwp": ("ff", "bp"), "srste": ("ff",), "sdwp": ("bp",), "sdgp": ()}.get(
            method, ("ff", "bp")
        )
        for which, axis in (("ff", 1), ("bp", 0)):
            w, old = weights[which], before.get(which)
            churn = None if old is None else ((old == 0) & (w != 0)).sum() / (w != 0).sum()
            expected = (naive(w, NM(2, 8), axis), churn) if which in sparse else (None, None)
            assert (getattr(found, f"{which}_compliance"), getattr(found, f"{which}_churn")) == expected
        ff, bp = weights["ff"] != 0, weights["bp"] != 0
        assert found.overlap == ((ff & bp).sum() / ff.sum() if len(sparse) == 2 else None)
        assert found.input_zeros == (inputs == 0).double().mean().item()
        before = weights
    if method in ("bdwp", "transposable"):
        assert found.ff_compliance == found.bp_compliance == 1
        assert 0 < found.ff_churn < 0.5
    if method == "bimask":
        assert found.bp_compliance < 1  # its channels are permuted


def test_gradient_zeros_and_dense_layers():
    """The gradient at the output of fc1 comes through a ReLU: it is zero where that is, and nowhere else."""
    session = prepare(config(method="dense"))  # with sparse weights some sums are of zeros only
    (inputs, targets), *_ = next(session.batches(0))
    dead = (session.model.fc1(inputs.flatten(1)) <= 0).double().mean().item()
    found = step_of(session, StatisticsRecorder(session), 0, (inputs, targets))
    assert found["fc1"].gradient_zeros == pytest.approx(dead, abs=1e-3)
    assert found["fc1"].input_zeros == (inputs == 0).double().mean().item()
    assert (found["fc1"].ff_compliance, found["fc1"].overlap) == (None, None)
    assert found["fc3"].gradient_zeros == 0


def test_statistics_of_accumulated_batches():
    session = prepare(config(batch=32, accumulate=2))
    recorder = StatisticsRecorder(session)
    batches = next(session.batches(0))
    inputs = torch.cat([functional.relu(session.model.fc1(x.flatten(1))) for x, _ in batches])
    with recorder.listening(0):
        for batch in batches:
            session.loss(batch).backward()
    found = {layer.layer: layer for layer in recorder.measure(0, 1.0).layers}
    assert found["fc2"].input_zeros == (inputs == 0).double().mean().item()


def test_statistics_pause_while_a_schedule_keeps_layers_dense(tmp_path):
    run = train(config(steps=6, record_every=1, schedule_start=0.34, schedule_dense=0.67), tmp_path)
    fc2 = [layers[1] for layers in (step.layers for step in run.recorded)]
    assert [layer.ff_compliance for layer in fc2] == [None, None, 1, 1, None, None]
    assert [layer.ff_churn is None for layer in fc2] == [True, True, True, False, True, True]


def test_recording_changes_nothing(tmp_path):
    train(config(record_every=0), tmp_path / "blind")
    train(config(record_every=1, record_tensors=["*"], record_at=3), tmp_path / "seen")
    blind, seen = (load_file(tmp_path / name / "model.safetensors") for name in ("blind", "seen"))
    assert all(np.array_equal(blind[name], seen[name]) for name in blind)
    assert not (tmp_path / "blind" / "statistics.jsonl").read_bytes()
    assert not (tmp_path / "blind" / "trace" / "tensors.safetensors").exists()


def test_statistics_are_in_the_trace_and_in_a_file(tmp_path):
    run = train(config(steps=25), tmp_path)
    assert [step.step for step in run.recorded] == list(range(0, 25, 2))  # at most 20 of 25
    lines = [json.loads(line) for line in (tmp_path / "statistics.jsonl").read_text().splitlines()]
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in metrics if line["kind"] == "step"}
    assert [line["loss"] for line in lines] == [losses[line["step"]] for line in lines]
    assert lines[3]["layers"][1]["ff_churn"] == run.recorded[3].layers[1].ff_churn
    assert load_run_trace(tmp_path / "trace").run == run


# -- hooks ---------------------------------------------------------------------------------------------------------


def test_an_input_gradient_is_that_of_one_layer():
    """x goes to two layers and around them; an operation in place follows."""
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    x = torch.randn(3, 5, requires_grad=True)
    seen = {}
    with observed(
        {"first": first, "second": second}, lambda name, what, t: seen.update({(name, what): t.clone()})
    ):
        (first(x).relu_() + 2 * second(x) + x).sum().backward()
    g = (functional.linear(x, first.weight, first.bias) > 0).float()
    assert torch.equal(seen["first", "output_gradient"], g)
    assert torch.allclose(seen["first", "input_gradient"], g @ first.weight)
    assert torch.allclose(seen["second", "input_gradient"], 2 * torch.ones(3, 5) @ second.weight)
    assert torch.allclose(seen["second", "output"], second(x))
    assert torch.allclose(x.grad, g @ first.weight + 2 * torch.ones(3, 5) @ second.weight + 1)


def test_hooks_are_gone_afterwards_even_after_an_error():
    layer = nn.Linear(2, 2)
    with pytest.raises(KeyError), observed({"layer": layer}, lambda *_: None):
        raise KeyError
    assert not layer._forward_hooks and not layer._forward_pre_hooks


# -- recorded tensors ----------------------------------------------------------------------------------------------


def record(out, **given):
    """The tensors of the last step of a short run."""
    train(config(**{"record_tensors": ["*"], "steps": 3} | given), out)
    return load_tensors(out / "trace")


def test_a_recorded_step_can_be_computed_again(tmp_path):
    """Everything from the inputs of the layers to the weights after the update of SGD, in numpy."""
    recording = record(tmp_path, lr=0.1, momentum=0.8, weight_decay=0.01)
    assert (recording.header.step, recording.header.optimizer) == (2, "sgd")
    assert recording.header.hyperparameters["momentum"] == 0.8
    for name, t in recording.layers.items():
        first = name == "fc1"
        np.testing.assert_allclose(t["output"], t["input"] @ t["weight_ff"].T + t["bias"], atol=1e-5)
        np.testing.assert_allclose(t["weight_gradient"], t["output_gradient"].T @ t["input"], atol=1e-6)
        np.testing.assert_allclose(t["bias_gradient"], t["output_gradient"].sum(0), atol=1e-6)
        if not first:
            np.testing.assert_allclose(t["input_gradient"], t["output_gradient"] @ t["weight_bp"], atol=1e-6)
        for which, prefix, decay in (("weight", "", 0.01), ("bias", "bias_", 0.0)):
            gradient = t[f"{which}_gradient_used"] + decay * t[which]
            momentum = 0.8 * t[f"{prefix}momentum_before"] + gradient
            np.testing.assert_allclose(t[f"{prefix}momentum_after"], momentum, atol=1e-6)
            np.testing.assert_allclose(
                t[f"{which}_after"], t[which] - recording.header.lr * momentum, atol=1e-6
            )
        assert ("input_gradient" in t, "weight_bp" in t) == (not first, not first)
    sparse = recording.layers["fc2"]
    assert np.array_equal(sparse["weight_ff"], reference.prune(sparse["weight"], NM(2, 8), 1))
    assert np.array_equal(sparse["weight_bp"], reference.prune(sparse["weight"], NM(2, 8), 0))


def test_the_update_of_adamw_can_be_computed_again(tmp_path):
    recording = record(tmp_path, optimizer="adamw", lr=0.01, weight_decay=0.1, grad_clip=0.1)
    header, t = recording.header, recording.layers["fc2"]
    assert header.optimizer == "adamw"
    g, (b1, b2), eps = (
        t["weight_gradient_used"],
        header.hyperparameters["betas"],
        header.hyperparameters["eps"],
    )
    scale = np.linalg.norm(g) / np.linalg.norm(t["weight_gradient"])
    np.testing.assert_allclose(g, scale * t["weight_gradient"], rtol=1e-5)  # clipped
    assert scale < 1
    m = b1 * t["exp_avg_before"] + (1 - b1) * g
    v = b2 * t["exp_avg_sq_before"] + (1 - b2) * g * g
    np.testing.assert_allclose(t["exp_avg_after"], m, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(t["exp_avg_sq_after"], v, rtol=1e-4, atol=1e-12)
    steps = header.step + 1
    change = (m / (1 - b1**steps)) / (np.sqrt(v / (1 - b2**steps)) + eps)
    expected = t["weight"] * (1 - header.lr * 0.1) - header.lr * change
    np.testing.assert_allclose(t["weight_after"], expected, atol=1e-6)


def test_state_before_the_first_step_is_zero(tmp_path):
    t = record(tmp_path, record_at=0).layers["fc2"]
    assert not t["momentum_before"].any()
    np.testing.assert_allclose(t["momentum_after"], t["weight_gradient_used"] + 5e-4 * t["weight"], atol=1e-7)
    data = load_data("digits", batch=128, seed=0, model_input=model_input(MLP))
    torch.manual_seed(0)
    model = build(MLP)
    assert np.array_equal(t["weight"], model.fc2.weight.detach().numpy())
    inputs, _ = next(data.train.epoch(0))
    np.testing.assert_allclose(t["input"], functional.relu(model.fc1(inputs)).detach().numpy(), atol=1e-6)


def test_what_a_method_adds_to_a_gradient(tmp_path):
    t = record(tmp_path, method="srste", options={"decay_rate": 0.5}).layers["fc2"]
    added = 0.5 * (t["weight"] - t["weight_ff"])
    assert added.any()
    np.testing.assert_allclose(t["weight_gradient_used"], t["weight_gradient"] + added, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "packed"),
    [
        ("bdwp", {"ff", "bp"}),
        ("srste", {"ff"}),
        ("sdgp", set()),
        ("transposable", {"ff", "bp"}),
        ("bimask", {"ff"}),
    ],
)
def test_packed_weights_unpack_to_what_was_used(tmp_path, method, packed):
    recording = record(tmp_path, method=method)
    t, geometry = recording.layers["fc2"], recording.header.layers["fc2"]
    for which, axis, ratio in (("ff", 1, geometry.nm_ff), ("bp", 0, geometry.nm_bp)):
        assert (f"weight_{which}/values" in t) == (which in packed)
        if which in packed:
            compact = reference.Compact(
                t[f"weight_{which}/values"], t[f"weight_{which}/indices"], (16, 32), axis, NM.parse(ratio)
            )
            assert compact.values.dtype == np.float16
            assert np.array_equal(reference.unpack(compact), t[f"weight_{which}"].astype(np.float16))


def test_convolutions_can_be_computed_again(tmp_path):
    recording = record(
        tmp_path,
        model="resnet9",
        input_size=8,
        batch=4,
        steps=1,
        record_tensors=["prep", "layer3.conv", "fc"],
    )
    assert list(recording.layers) == ["prep", "layer3.conv", "fc"]
    geometry, t = recording.header.layers["layer3.conv"], recording.layers["layer3.conv"]
    assert (geometry.kind, geometry.nm_ff, geometry.nm_bp, geometry.groups) == ("conv", "2:8", "2:8", 1)
    assert recording.header.layers["fc"].kind == "linear"
    place = {"stride": geometry.stride, "padding": geometry.padding, "dilation": geometry.dilation}
    x, g, ff, bp = (
        torch.from_numpy(t[key]) for key in ("input", "output_gradient", "weight_ff", "weight_bp")
    )
    np.testing.assert_allclose(functional.conv2d(x, ff, **place).numpy(), t["output"], atol=1e-4)
    back = nn.grad.conv2d_input(x.shape, bp, g, **place)
    np.testing.assert_allclose(back.numpy(), t["input_gradient"], atol=1e-5)
    gradient = nn.grad.conv2d_weight(x, ff.shape, g, **place)
    np.testing.assert_allclose(gradient.numpy(), t["weight_gradient"], atol=1e-4)
    assert "input_gradient" not in recording.layers["prep"]


def test_bfloat16_operands_are_exact_in_float32(tmp_path):
    recording = record(tmp_path, amp="bf16")
    assert recording.header.dtype == "bfloat16"
    for t in recording.layers.values():
        for key in ("input", "output", "output_gradient", "weight_ff"):
            assert np.array_equal(t[key], torch.from_numpy(t[key]).bfloat16().float().numpy())
        assert not np.array_equal(t["weight"], torch.from_numpy(t["weight"]).bfloat16().float().numpy())


# -- the reader ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A file of recorded tensors."""
    out = tmp_path_factory.mktemp("recorded")
    record(out, steps=1, record_tensors=["fc3"])
    return out / "trace" / "tensors.safetensors"


def test_the_reader_needs_no_torch(recorded):
    """Nor anything else that is heavy."""
    program = (
        "import sys; from pathlib import Path; from workloads.recording import load_tensors; "
        "layers = load_tensors(Path(sys.argv[1])).layers; print(*layers, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, recorded], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["fc3", "False"], done.stderr


@pytest.mark.parametrize("keep", [0, 5, 8, 60, -1])
def test_truncated_recordings_are_refused(recorded, tmp_path, keep):
    path = tmp_path / "tensors.safetensors"
    path.write_bytes(recorded.read_bytes()[:keep])
    with pytest.raises(
        TraceError, match=r"tensors.safetensors: cannot be read .*record them again"
    ) as refused:
        load_tensors(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "metadata: .*expected recorded tensors"),
        ({"codesign": "{"}, "metadata: Invalid JSON"),
        ({"codesign": "{}"}, "step: Field required"),
        ({"codesign": '{"format": "else"}'}, "format: Input should be 'codesign recorded tensors'"),
    ],
)
def test_foreign_files_are_refused(tmp_path, metadata, message):
    save_file({"x": np.zeros(2)}, tmp_path / "x.safetensors", metadata)
    with pytest.raises(TraceError, match=message) as refused:
        load_tensors(tmp_path / "x.safetensors")
    assert "\n" not in str(refused.value)


def test_tensors_of_unknown_layers_are_refused(recorded, tmp_path):
    from safetensors import safe_open

    with safe_open(recorded, framework="np") as file:
        metadata = file.metadata()
    save_file({"fc9/input": np.zeros(2)}, tmp_path / "tensors.safetensors", metadata)
    with pytest.raises(TraceError, match="'fc9/input' belongs to no layer"):
        load_tensors(tmp_path)


@pytest.mark.parametrize("where", ["missing", "."])
def test_missing_files_are_refused(tmp_path, where):
    with pytest.raises(
        SpecError, match=r"no such file; expected recorded tensors, train with --record-tensors"
    ):
        load_tensors(tmp_path / where)


def test_without_safetensors_the_reader_says_so(recorded, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(SpecError, match="need the safetensors package; run: pip install"):
        load_tensors(recorded)


def test_tensors_survive_a_stop_after_their_step(tmp_path):
    settings = config(steps=8, record_tensors=["fc2"], record_at=2, checkpoint_every=4)
    train_until(6, settings, tmp_path)
    before = (tmp_path / "trace" / "tensors.safetensors").read_bytes()
    train(settings, tmp_path, resume=True)
    assert (tmp_path / "trace" / "tensors.safetensors").read_bytes() == before
    assert load_tensors(Path(tmp_path) / "trace").header.step == 2
