"""The training loop against a plain one written here, its phases, and all that it refuses."""

import errno
import json
import resource
import sys
from math import cos, isfinite, pi

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from train_runs import MLP, config, contents, train_until

from codesign import output_files
from codesign.errors import CodesignError, ExportError, SpecError, TrainingError
from codesign.nm import reference
from codesign.nm.format import NM
from codesign.train import distillation_loss
from codesign.train.config import load_config
from codesign.train.data import load_data
from codesign.train.failures import check_step
from codesign.train.loop import train
from codesign.train.session import Session, prepare
from workloads.models import build, model_input
from workloads.ops import Role, Stage
from workloads.run_trace import load_run_trace

torch.set_num_threads(1)

TEXT = "the quick brown fox jumps over the lazy dog; " * 60


def metrics(out, kind):
    """Lines of one kind."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


# -- what a run does ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of BDWP."""
    out = tmp_path_factory.mktemp("finished")
    return train(config(epochs=4, steps=None, batch=32), out), out


def test_a_network_learns_digits(finished):
    run, _ = finished
    assert run.validation_accuracy > 0.85  # guessing: 0.1
    assert run.train_loss < 0.6  # guessing: ln 16 = 2.8


def test_the_finished_model_is_sparse_and_plain(finished):
    """Its weights load into the dense network, are N:M along Cin, and predict what the run says."""
    run, out = finished
    model = build(MLP)
    model.load_state_dict(load_file(out / "model.safetensors"))
    for layer in (model.fc2, model.fc3):
        w = layer.weight.detach().numpy()
        assert np.array_equal(w, reference.prune(w, NM(2, 8), 1))
    assert model.fc1.weight.count_nonzero() == model.fc1.weight.numel()

    data = load_data("digits", batch=32, seed=0, model_input=model_input(MLP))
    inputs, targets = (torch.cat(part) for part in zip(*data.validation, strict=True))
    logits = model.eval()(inputs)
    assert (logits.argmax(1) == targets).float().mean().item() == pytest.approx(run.validation_accuracy)
    assert functional.cross_entropy(logits, targets).item() == pytest.approx(run.validation_loss, rel=1e-5)


def test_the_trace_holds_the_run(finished):
    run, out = finished
    trace = load_run_trace(out / "trace")
    assert trace.run == run
    assert trace.iteration.batch == 32
    assert {op.layer for op in trace.iteration.gemms(Stage.FF)} == {"fc1", "fc2", "fc3"}
    assert (run.model, run.data, run.method, run.nm, run.dtype) == (
        MLP,
        "digits",
        "bdwp",
        NM(2, 8),
        "float32",
    )
    assert run.steps == run.planned_steps == 4 * (1438 // 32)


def test_metrics_have_a_line_for_every_step_and_every_epoch(finished):
    run, out = finished
    steps, validations = metrics(out, "step"), metrics(out, "validation")
    assert [line["step"] for line in steps] == list(range(run.steps))
    assert [line["epoch"] for line in steps] == [step // 44 for step in range(run.steps)]
    assert [(line["step"], line["epoch"]) for line in validations] == [(44, 0), (88, 1), (132, 2), (176, 3)]
    assert validations[-1]["loss"] == run.validation_loss
    assert validations[-1]["accuracy"] == run.validation_accuracy
    assert run.train_loss == pytest.approx(np.mean([line["loss"] for line in steps if line["epoch"] == 3]))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_dense_training_equals_a_plain_loop(tmp_path, optimizer):
    """Order of the data, rate, decay, clipping: bit for bit those of ten lines of torch."""
    settings = config(
        method="dense", steps=14, optimizer=optimizer, lr=0.02, warmup=0.25, weight_decay=0.1, grad_clip=0.5,
        label_smoothing=0.1, momentum=0.8, seed=3,
    )  # fmt: skip
    train(settings, tmp_path)

    torch.manual_seed(3)
    model = build(MLP)
    data = load_data("digits", batch=128, seed=3, model_input=model_input(MLP))
    groups = [
        {"params": [layer.weight for layer in model if isinstance(layer, nn.Linear)], "weight_decay": 0.1},
        {"params": [layer.bias for layer in model if isinstance(layer, nn.Linear)], "weight_decay": 0.0},
    ]
    if optimizer == "sgd":
        stepper = torch.optim.SGD(groups, momentum=0.8)
    else:
        stepper = torch.optim.AdamW(groups, betas=(0.8, 0.999))
    batches = [*data.train.epoch(0), *data.train.epoch(1)]  # 11 of each epoch
    for step, (inputs, targets) in enumerate(batches[:14]):
        for group in stepper.param_groups:  # ceil(0.25 x 14) = 4 steps of warm-up, then 10 of half a cosine
            group["lr"] = 0.02 * (step + 1) / 4 if step < 4 else 0.02 * (1 + cos(pi * (step - 4) / 10)) / 2
        stepper.zero_grad()
        functional.cross_entropy(model(inputs), targets, label_smoothing=0.1).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        stepper.step()
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == model.state_dict().keys()
    assert all(torch.equal(saved[name], value) for name, value in model.state_dict().items())


def test_rates_without_decay_and_with_warmup_in_steps(tmp_path):
    train(config(steps=4, lr=0.4, lr_decay="none", warmup_steps=2), tmp_path)
    assert [line["lr"] for line in metrics(tmp_path, "step")] == pytest.approx([0.2, 0.4, 0.4, 0.4])


def test_accumulated_batches_equal_a_large_one(tmp_path):
    """Two of 64 are the samples of one of 128, as no digit is varied; sums are in another order."""
    train(config(batch=64, accumulate=2, lr=0.02), tmp_path / "two")
    train(config(batch=128, lr=0.02), tmp_path / "one")
    two, one = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    assert all(torch.allclose(two[name], one[name], atol=1e-4) for name in one)
    assert load_run_trace(tmp_path / "two" / "trace").iteration.batch == 64
    assert [line["epoch"] for line in metrics(tmp_path / "two", "step")] == [0] * 8  # 22 // 2 = 11 steps


def test_seeds_make_runs(tmp_path):
    for name, seed in (("a", 1), ("again", 1), ("other", 2)):
        train(config(seed=seed, steps=3), tmp_path / name)
    saved = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "again", "other")}
    assert saved["a"] == saved["again"] != saved["other"]


def test_mixed_precision(tmp_path):
    run = train(config(amp="bf16", epochs=2, steps=None, batch=32), tmp_path)
    assert run.dtype == "bfloat16"
    assert run.validation_accuracy > 0.7


def test_characters_are_predicted(tmp_path):
    """A transformer has a prediction for each token; AdamW, clipping and warm-up are its defaults."""
    (tmp_path / "text").write_text(TEXT)
    settings = config(model="gpt-nano", data=f"text:{tmp_path / 'text'}", seq_len=16, batch=16, steps=20)
    assert (settings.optimizer, settings.lr, settings.grad_clip) == ("adamw", 1e-3, 1.0)
    run = train(settings, tmp_path / "run")
    assert len(set(TEXT)) == 28
    assert metrics(tmp_path / "run", "step")[0]["loss"] == pytest.approx(np.log(28), rel=0.1)
    assert run.validation_loss < 3.0  # ln 28 = 3.3
    assert 0 < run.validation_accuracy < 1
    iteration = load_run_trace(tmp_path / "run" / "trace").iteration
    (head,) = (op for op in iteration.gemms(Stage.FF) if op.layer == "lm_head")
    assert head.dense_macs == 16 * 16 * 48 * 28  # tokens, width, characters
    assert iteration.optimizer == "adamw"


def test_event_files_have_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = config(tensorboard=True, checkpoint_every=2)
    train_until(5, settings, tmp_path)
    train(settings, tmp_path, resume=True)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"step/loss", "step/lr", "validation/loss", "validation/accuracy"}
    written = [(event.step, event.value) for event in events.Scalars("step/loss")]
    lines = metrics(tmp_path, "step")
    assert [step for step, _ in written] == [line["step"] for line in lines]
    assert [value for _, value in written] == pytest.approx([line["loss"] for line in lines])


# -- phases ------------------------------------------------------------------------------------------------------


def rows(phase):
    return {(row.layer, row.stage): row for row in phase.decisions}


def test_phases_of_a_schedule_that_comes_and_goes(tmp_path):
    """Of 10 steps: dense 2, a ramp of 3 steps from 8:8 to 2:8 (8, 6, 4 of 8), 3 at the goal, dense 2."""
    schedule = {"schedule_start": 0.2, "schedule_full": 0.5, "schedule_dense": 0.8}
    run = train(config(steps=10, mvue="1:2", **schedule), tmp_path)
    phases = [
        (phase.first_step, phase.steps, rows(phase)["fc2", Stage.FF].nm, rows(phase)["fc2", Stage.FF].reason)
        for phase in run.phases
    ]
    assert phases == [
        (0, 3, None, "dense by the schedule"),  # at step 2 the ramp is at its foot
        (3, 1, NM(6, 8), "on the way to 2:8"),
        (4, 1, NM(4, 8), "on the way to 2:8"),
        (5, 3, NM(2, 8), ""),
        (8, 2, None, "dense by the schedule"),
    ]
    for phase in run.phases:
        assert rows(phase)["fc2", Stage.WU].nm == NM(1, 2)  # follows no schedule
        assert rows(phase)["fc1", Stage.FF].reason == "first layer"
        assert len(phase.decisions) == 3 * 3


@pytest.mark.parametrize(
    ("method", "roles"),
    [
        ("dense", (None, None)),
        ("srste", (Role.WEIGHT, None)),
        ("sdgp", (None, Role.GRADIENT)),
        ("bdwp", (Role.WEIGHT, Role.WEIGHT)),
    ],
)
def test_one_phase_without_a_schedule(tmp_path, method, roles):
    run = train(config(method=method, steps=2), tmp_path)
    (phase,) = run.phases
    assert (phase.first_step, phase.steps) == (0, 2)
    assert tuple(rows(phase)["fc2", stage].pruned for stage in (Stage.FF, Stage.BP)) == roles
    assert run.nm == (None if method == "dense" else NM(2, 8))


def test_overrides_and_head(tmp_path):
    run = train(config(steps=1, overrides={"fc2": "1:4"}, head_dense=True, first_dense=False), tmp_path)
    found = {key: row.nm for key, row in rows(run.phases[0]).items()}
    assert found == {
        ("fc1", Stage.FF): NM(2, 8), ("fc1", Stage.BP): NM(2, 8),
        ("fc2", Stage.FF): NM(1, 4), ("fc2", Stage.BP): NM(1, 4),
        ("fc3", Stage.FF): None, ("fc3", Stage.BP): None,
    }  # fmt: skip


# -- distillation ------------------------------------------------------------------------------------------------


def test_ast_distils_from_a_dense_run(tmp_path):
    train(config(method="dense", steps=30), tmp_path / "dense")
    teacher_file = tmp_path / "dense" / "model.safetensors"
    session = prepare(config(method="ast", teacher=str(teacher_file)))
    teacher = build(MLP)
    teacher.load_state_dict(load_file(teacher_file))
    inputs, targets = next(session.data.train.epoch(0))
    logits = session.model(inputs)
    expected = distillation_loss(logits, teacher(inputs), functional.cross_entropy(logits, targets), 2 / 3)
    assert session.loss((inputs, targets)).item() == pytest.approx(expected.item(), rel=1e-6)

    plain = train(config(method="ast"), tmp_path / "plain")
    distilled = train(config(method="ast", teacher=str(teacher_file)), tmp_path / "distilled")
    assert distilled.train_loss != plain.train_loss


def test_a_teacher_of_another_network_is_refused(tmp_path):
    train(config(method="dense", model="mlp:64x16x16", steps=1), tmp_path / "dense")
    teacher = str(tmp_path / "dense" / "model.safetensors")
    with pytest.raises(
        SpecError, match=r"teacher .*expected the model.safetensors of a run of 'mlp:64x32x16x16'"
    ):
        train(config(method="ast", teacher=teacher), tmp_path / "ast")


# -- when training goes wrong --------------------------------------------------------------------------------------


def test_divergence_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    settings = config(lr=1e6, lr_decay="none", warmup=0, grad_clip=0, checkpoint_every=1, steps=200)
    with pytest.raises(
        TrainingError, match=r"step \d+: .*; checkpoints from before are kept; try a lower lr"
    ):
        train(settings, tmp_path)
    tensors = load_file(tmp_path / "checkpoint.safetensors")
    assert all(tensor.isfinite().all() for name, tensor in tensors.items() if name.startswith("model."))
    assert all(isfinite(line["loss"]) for line in metrics(tmp_path, "step"))
    assert not (tmp_path / "model.safetensors").exists()


def poisoned(session, step=7):
    batches = next(session.batches(step))
    loss = session.loss(batches[0])
    loss.backward()
    norm = nn.utils.get_total_norm([p.grad for p in session.model.parameters()])
    check_step(session, step, batches, loss.item(), norm.item())


def test_the_layer_that_breaks_first_is_named():
    session = prepare(config())
    poisoned(session)  # nothing to say
    with torch.no_grad():
        session.model.fc2.bias[3] = torch.nan
    with pytest.raises(
        TrainingError, match="step 7: loss is nan; the first output that is not finite is that of fc2"
    ):
        poisoned(session)


def test_the_gradient_that_breaks_first_is_named():
    """A hook makes it infinite at the output of relu2."""

    def blow_up(_module, _inputs, output):
        output.register_hook(lambda gradient: gradient * torch.inf)

    session = prepare(config())
    session.model.relu2.register_forward_hook(blow_up)
    expected = "norm of the gradient is .*outputs are finite, the first gradient .* is at the output of relu2"
    with pytest.raises(TrainingError, match=expected):
        poisoned(session)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3 TiB"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 TiB.\nSee the manual"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 3 bytes"),
    ],
)
def test_too_little_memory_is_one_line(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(Session, "loss", fail)
    with pytest.raises(TrainingError, match=r"memory is too small: .*; try a smaller batch") as refused:
        train(config(), tmp_path)
    assert "\n" not in str(refused.value)


def test_other_failures_are_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "loss", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        train(config(), tmp_path)


@pytest.mark.parametrize("file", ["checkpoint.safetensors", "trace.json", "model.safetensors", "config.json"])
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch, file):
    settings = config(checkpoint_every=3)
    train_until(4, settings, tmp_path / "run")
    before = contents(tmp_path)
    write = output_files._write_durably

    def full(path, content):
        if path.name == file:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(output_files, "_write_durably", full)
    with pytest.raises(ExportError, match="No space left on device"):
        train(settings, tmp_path / "run", resume=True)
    after = contents(tmp_path)
    assert not any(".writing-" in name for name in after)
    if file in ("checkpoint.safetensors", "config.json"):
        assert after["run/checkpoint.safetensors"] == before["run/checkpoint.safetensors"]
    monkeypatch.undo()
    train(settings, tmp_path / "run", resume=True)
    train(settings, tmp_path / "uninterrupted")
    assert contents(tmp_path / "run") == contents(tmp_path / "uninterrupted")


def test_metrics_that_cannot_be_written(tmp_path):
    """The system refuses files beyond 2000 bytes, which some twenty lines of metrics are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(ExportError, match=r"metrics.jsonl: File too large; the last checkpoint is kept"):
            train(config(batch=32, steps=40, record_every=0), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    train(config(batch=32, steps=40, record_every=0), tmp_path, resume=True)
    assert [line["step"] for line in metrics(tmp_path, "step")] == list(range(40))


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "resnet9000"}, "unknown network 'resnet9000', did you mean"),
        ({"data": "digit"}, "unknown data 'digit', did you mean"),
        ({"data": "cifar10:/nowhere"}, "no such file"),
        ({"method": "bdpw"}, "unknown method 'bdpw', did you mean \"bdwp\""),
        ({"nm": "8:2"}, "expected 1 <= N <= M"),
        ({"nm": "two"}, "expected two integers such as 2:8"),
        ({"nm": "2:8", "method": "dense"}, "nm 2:8 has no meaning with method 'dense'"),
        ({"nm": "2:7"}, r"'bdwp' at 2:7 fits no layer .*fc2 FF: Cin is 32, not a multiple of 7"),
        ({"overrides": {"fc2": "dense", "fc3": "dense"}}, "fits no layer .*fc2 FF: excluded by an override"),
        ({"overrides": {"fc9": "2:4"}}, "override 'fc9' matches no layer"),
        ({"options": {"refresh": "1"}}, "method 'bdwp' has no option 'refresh'; it has no options"),
        ({"method": "ast", "options": {"refresh": "1"}}, "no option 'refresh', did you mean \"refresh_steps\""),
        ({"method": "ast", "options": {"refresh_steps": "x"}}, "option refresh_steps: got 'x'; Input should be"),
        ({"method": "ast", "options": {"refresh_steps": "0"}}, "refresh_steps is 0; expected at least 1"),
        ({"method": "ast", "options": {"decay_rate": "nan"}}, "option decay_rate: got 'nan'; expected a size of"),
        ({"method": "ast", "options": {"nm": "1:2"}}, "no option 'nm'"),
        ({"teacher": "x"}, "method 'bdwp' does not distil"),
        ({"method": "ast", "teacher": "/nowhere"}, "teacher /nowhere: .*expected the model.safetensors"),
        ({"epochs": 2, "steps": 3}, "epochs 2 and steps 3: expected one of them"),
        ({"steps": None, "epochs": 0}, "epochs: got 0 .integer., expected greater than 0"),
        ({"batch": 0}, "batch: got 0"),
        ({"batch": 5000}, "batch 5000: expected an integer from 1 to the 1438 training samples"),
        ({"accumulate": 12}, "accumulate 12: expected at most 11"),
        ({"lr": 0}, "lr: got 0 .integer., expected greater than 0"),
        ({"lr": float("inf")}, "lr: got Infinity"),
        ({"lr": 1e300}, "lr: got 1e.300"),
        ({"momentum": 1}, "momentum: got 1"),
        ({"label_smoothing": 1}, "label_smoothing: got 1"),
        ({"warmup": 2}, "warmup: got 2"),
        ({"seed": -1}, "seed: got -1"),
        ({"optimizer": "adam"}, "optimizer: got \"adam\""),
        ({"amp": "fp16"}, "amp: got \"fp16\""),
        ({"schedule_start": 0.9, "schedule_dense": 0.5}, "expected start <= full <= dense <= 1"),
        ({"threads": 0}, "threads: got 0"),
        ({"learning_rate": 1}, "learning_rate: unknown key"),
        ({"record_tensors": ["conv*"]}, "record_tensors 'conv.' matches no layer; layers: fc1"),
        ({"record_tensors": ["fc1"], "record_at": 8}, "record_at 8: expected a step from 0 to 7"),
        ({"record_tensors": ["fc1"], "accumulate": 2}, "expected accumulate 1"),
        ({"input_size": 8}, "does not take input_size"),
        ({"model": "mlp:64x8"}, r"gives \[128, 8\], the data 'digits' need \[128, at least 10\]"),
        ({"model": "mlp:63x16"}, "expected .*the number of values of a square image"),
        ({"model": "bert-base", "data": "text", "batch": 2}, r"gives \[2, 768\], .*need \[2, 128, at least"),
        ({"model": "gpt-nano"}, "the network reads sequences of 128 tokens, the data are images"),
        ({"model": "vit-tiny-cifar", "data": "text"}, "the network reads real inputs"),
        ({"model": "vit-tiny-cifar", "input_size": 9}, "multiple of the patch size"),
        ({"model": "resnet9", "input_size": 8, "batch": 1}, "cannot be trained with inputs .*more than 1 value"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_before_anything_is_written(tmp_path, given, message):
    with pytest.raises(CodesignError, match=message) as refused:
        train(config(**given), tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_refused(tmp_path):
    with pytest.raises(SpecError, match="device 'cuda': torch finds no GPU"):
        train(config(device="cuda"), tmp_path / "run")


def test_a_missing_tensorboard_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SpecError, match="event files need the tensorboard package; run: pip install"):
        train(config(tensorboard=True), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# -- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_with_a_run_is_left_alone(tmp_path):
    settings = config(steps=1, record_tensors=["fc2"], tensorboard=True)
    train(settings, tmp_path)
    before = contents(tmp_path)
    with pytest.raises(
        SpecError, match="holds a run; use --resume to continue it, --overwrite to replace it"
    ):
        train(settings, tmp_path)
    with pytest.raises(SpecError, match="exclude each other"):
        train(settings, tmp_path, resume=True, overwrite=True)
    assert contents(tmp_path) == before


def test_overwriting_leaves_nothing_of_the_old_run_and_all_else(tmp_path):
    train(config(steps=12, record_tensors=["fc2"], tensorboard=True), tmp_path / "old")
    (tmp_path / "old" / "notes.txt").write_text("mine")
    train(config(steps=3, seed=1), tmp_path / "old", overwrite=True)
    train(config(steps=3, seed=1), tmp_path / "fresh")
    assert contents(tmp_path / "old") == contents(tmp_path / "fresh") | {"notes.txt": b"mine"}


@pytest.mark.parametrize("what", ["file", "in_file"])
def test_a_folder_that_cannot_be_is_refused(tmp_path, what):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / ("x" if what == "in_file" else "")
    with pytest.raises(ExportError, match="is not a directory"):
        train(config(steps=1), out)


# -- configuration ------------------------------------------------------------------------------------------------


def test_configurations_round_trip(tmp_path):
    settings = config(
        method="bimask", options={"refresh_steps": "5"}, overrides={"fc2": "dense", "*": "1:4"}, mvue="2:4",
        nm="2:4", record_tensors=["fc*"],
    )  # fmt: skip
    (tmp_path / "config.json").write_text(settings.to_json())
    assert load_config(tmp_path) == settings
    assert settings.options == {"refresh_steps": 5}
    assert settings.overrides == {"fc2": None, "*": NM(1, 4)}
    assert list(settings.overrides) == ["fc2", "*"]  # the first that matches counts


def test_defaults_follow_the_network():
    convolutional, transformer = config(model="resnet9"), config(model="vit-tiny-cifar")
    assert (convolutional.optimizer, convolutional.grad_clip) == ("sgd", 0)
    assert (transformer.optimizer, transformer.grad_clip) == ("adamw", 1)
    assert transformer.lr <= 1e-3 < convolutional.lr
    assert config(model="vit-tiny-cifar", lr=0.5, optimizer=None).lr == 0.5
    assert config(model="vit-tiny-cifar", optimizer="sgd").lr == convolutional.lr


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "{}", "3", "\xff", '{"model": "mlp"}', '{"model": [], "data": "digits"}',
        '{"model": "mlp", "data": "digits", "method": {}}', '{"model": "mlp", "data": "digits", "options": 3}',
        '{"model": "mlp", "data": "digits", "x": 1}', "[" * 100_000,
    ],
)  # fmt: skip
def test_bad_configurations_are_one_line(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(SpecError, match=r"config.json: .*; expected what a training run wrote") as refused:
        load_config(tmp_path)
    assert "\n" not in str(refused.value)


def test_differences_name_what_matters():
    settings = config()
    free = settings.model_copy(
        update={"device": "auto", "threads": 2, "tensorboard": True, "checkpoint_every": 1}
    )
    assert settings.difference(free) == ""
    changed = settings.model_copy(update={"lr": 0.5, "seed": 4})
    assert settings.difference(changed) == "lr was 0.05 and is 0.5; seed was 0 and is 4"


def test_configurations_cannot_change():
    with pytest.raises(ValueError, match="frozen"):
        config().lr = 1
