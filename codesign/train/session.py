"""All that a training run works with: data, sparse model, optimizer and loss, made from a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count, islice
from math import cos, pi
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, AdamW, Optimizer

from codesign.errors import SpecError
from codesign.spec_errors import printable
from codesign.train.config import TrainConfig
from codesign.train.data import Data, load_data
from codesign.train.distillation import distillation_loss
from codesign.train.methods import METHODS
from codesign.train.sparsify import Report, sparsify
from codesign.train.steps import follow
from workloads.models import build, model_input

Batch = tuple[Tensor, Tensor]
"""Inputs and targets."""

RECORDED_STEPS, LOGGED_STEPS = 20, 5000
"""At most so many steps of a run have statistics, and so many a line of metrics, unless it is said."""


@dataclass(frozen=True)
class Session:
    """A run that is ready to start; `report` says what is sparse in `model`, `steps` how long the run is."""

    config: TrainConfig
    data: Data
    model: nn.Module
    report: Report
    optimizer: Optimizer
    teacher: nn.Module | None
    device: torch.device
    steps: int
    steps_per_epoch: int

    @property
    def dtype(self) -> torch.dtype:
        """Type of the operands of FF, BP and WU."""
        return torch.float32 if self.config.amp == "off" else torch.bfloat16

    @property
    def record_every(self) -> int:
        """Steps from one set of statistics to the next, 0 for none."""
        wanted = self.config.record_every
        return -(-self.steps // RECORDED_STEPS) if wanted is None else wanted

    @property
    def log_every(self) -> int:
        """Steps from one line of metrics to the next."""
        return self.config.log_every or -(-self.steps // LOGGED_STEPS)

    @property
    def weight_layers(self) -> dict[str, nn.Module]:
        """The layers that could be sparse, by name."""
        return {row.layer: self.model.get_submodule(row.layer) for row in self.report}

    def ends_epoch(self, step: int) -> bool:
        """Whether a step is the last of its epoch, or of the run."""
        return (step + 1) % self.steps_per_epoch == 0 or step + 1 == self.steps

    def lr_at(self, step: int) -> float:
        """Linear rise, then half a cosine to 0, or constant."""
        warmup = self.config.warmup_length(self.steps)
        if step < warmup:
            return self.config.lr * (step + 1) / warmup
        if self.config.lr_decay == "none":
            return self.config.lr
        return self.config.lr * (1 + cos(pi * (step - warmup) / max(1, self.steps - warmup))) / 2

    def batches(self, step: int) -> Iterator[list[Batch]]:
        """The batches of each optimizer step, from `step` on, without end."""
        accumulate = self.config.accumulate
        for epoch in count(step // self.steps_per_epoch):
            first = max(0, step - epoch * self.steps_per_epoch)
            samples = self.data.train.epoch(epoch, start=first * accumulate)
            for _ in range(first, self.steps_per_epoch):
                yield list(islice(samples, accumulate))

    def loss(self, batch: Batch) -> Tensor:
        """Training loss of a batch, a scalar."""
        inputs, targets = (x.to(self.device) for x in batch)
        with self.autocast():
            logits = self.model(inputs)
        loss = cross_entropy(logits, targets, self.config.label_smoothing)
        if self.teacher is None:
            return loss
        with torch.no_grad(), self.autocast():
            teacher_logits = self.teacher(inputs)
        share = METHODS[self.config.method].distillation_share
        assert share is not None  # the configuration refuses a teacher of another method
        return distillation_loss(logits.float(), teacher_logits.float(), loss, share)

    def autocast(self) -> AbstractContextManager[object]:
        """Where operands take the type `dtype`."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.amp == "bf16")


class Validation(NamedTuple):
    """Mean loss, without label smoothing, and share of correct predictions."""

    loss: float
    accuracy: float


def prepare(config: TrainConfig) -> Session:
    """Load the data, build the model, make it sparse. Seeds torch's generator; writes nothing. Raises SpecError."""
    device = _device(config)
    wanted = model_input(config.model, input_size=config.input_size, seq_len=config.seq_len)
    data = load_data(config.data, batch=config.batch, seed=config.seed, model_input=wanted)
    steps_per_epoch = len(data.train) // config.accumulate
    if not steps_per_epoch:
        raise SpecError(
            f"accumulate {config.accumulate}: expected at most {len(data.train)}, the batches of an epoch"
        )
    steps = config.steps or (config.epochs or 0) * steps_per_epoch
    _check_fit(config, data)
    teacher = _teacher(config, data, device)
    torch.manual_seed(config.seed)
    model = _model(config, data).to(device)
    method = config.method_of(steps)
    model, report = sparsify(model, method, overrides=config.overrides)
    _check_sparse(config, report)
    optimizer = _optimizer(config, model)
    follow(model, optimizer)
    return Session(config, data, model, report, optimizer, teacher, device, steps, steps_per_epoch)


def empty_batch(config: TrainConfig, data: Data) -> Tensor:
    """The inputs of a batch without their values, on the meta device."""
    dtype = torch.int64 if data.model_input.tokens else torch.float32
    return torch.empty(config.batch, *data.model_input.shape, dtype=dtype, device="meta")


def validate(session: Session) -> Validation:
    """Evaluate the model, as it is, on the validation data."""
    session.model.eval()
    loss, correct, predictions = 0.0, 0, 0
    with torch.no_grad(), session.autocast():
        for batch in session.data.validation:
            inputs, targets = (x.to(session.device) for x in batch)
            logits = session.model(inputs)
            loss += cross_entropy(logits, targets).item() * targets.numel()
            correct += int((logits.argmax(-1) == targets).sum())
            predictions += targets.numel()
    session.model.train()
    return Validation(loss / predictions, correct / predictions)


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean over all predictions, in float32; logits (..., classes), targets (...)."""
    flat = logits.float().flatten(0, -2)
    return functional.cross_entropy(flat, targets.flatten(), label_smoothing=label_smoothing)


def _device(config: TrainConfig) -> torch.device:
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise SpecError("device 'cuda': torch finds no GPU; expected cpu or auto")
    wants_gpu = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if wants_gpu else "cpu")


def _model(config: TrainConfig, data: Data) -> nn.Module:
    """The network, with as many outputs as the data have classes; those of a perceptron are in its name."""
    outputs = {"vocab" if data.model_input.tokens else "classes": data.classes}
    if config.model.partition(":")[0] == "mlp":
        outputs = {}
    return build(config.model, input_size=config.input_size, seq_len=config.seq_len, **outputs)


def _check_fit(config: TrainConfig, data: Data) -> None:
    """Raise SpecError unless the network makes logits of a batch. Computes shapes only."""
    inputs = empty_batch(config, data)
    try:
        with torch.device("meta"):
            logits = list(_model(config, data)(inputs).shape)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(
            f"network {config.model!r} cannot be trained with inputs {list(inputs.shape)}: {reason}; expected "
            "another batch or input size"
        ) from None
    predictions = list(inputs.shape) if data.model_input.tokens else [config.batch]
    if logits[:-1] != predictions or logits[-1] < data.classes:
        wanted = ", ".join([*map(str, predictions), f"at least {data.classes}"])
        raise SpecError(
            f"network {config.model!r} gives {logits}, the data {config.data!r} need [{wanted}]; expected a network "
            "that predicts every class of every sample or token"
        )


def _teacher(config: TrainConfig, data: Data, device: torch.device) -> nn.Module | None:
    """The same network, dense, with the weights of a file. Raises SpecError."""
    if config.teacher is None:
        return None
    path = Path(config.teacher)
    teacher = _model(config, data)
    try:
        teacher.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = printable(str(error).splitlines()[0])
        raise SpecError(
            f"teacher {printable(str(path))}: {reason}; expected the model.safetensors of a run of {config.model!r}"
        ) from None
    return teacher.eval().requires_grad_(False).to(device)


def _check_sparse(config: TrainConfig, report: Report) -> None:
    """Raise SpecError if the method is sparse, but no layer is."""
    wants = config.method != "dense" or config.mvue is not None
    if wants and not any(row.nm for row in report):
        reasons = dict.fromkeys(f"{row.layer} {row.stage.upper()}: {row.reason}" for row in report)
        raise SpecError(
            f"method {config.method!r} at {config.nm} fits no layer of {config.model!r} ({_few(reasons)}); "
            "expected another N:M ratio or network"
        )


def _few(texts: Iterable[str], most: int = 8) -> str:
    listed = list(texts)
    return "; ".join(listed[:most]) + (f"; and {len(listed) - most} more" if len(listed) > most else "")


def _optimizer(config: TrainConfig, model: nn.Module) -> Optimizer:
    """Weights decay; biases, norms and other vectors do not."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999))
    return SGD(groups, lr=config.lr, momentum=config.momentum)
