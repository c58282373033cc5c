"""The network of a training run with its next batches, and what PyTorch makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from codesign.compute.optimizers import SGD
from codesign.errors import ExportError, SpecError
from codesign.nm.format import NM
from codesign.spec_errors import printable
from codesign.train.checkpoint import load_checkpoint, restore
from codesign.train.config import TrainConfig
from codesign.train.recorder import StatisticsRecorder
from codesign.train.session import Batch, Session, prepare
from codesign.train.sparsify import sparse_layers
from hls.golden import Array
from hls.iteration.lower import Parameters, Training
from hls.iteration.network import Network
from hls.iteration.torch_network import network_of
from workloads.ops import Stage

LOSS_SCALE = 1024.0
"""Assumed: keeps gradients of small batches above FP16's subnormal numbers; `export_iteration` refuses overflows."""


class ImageBatch(NamedTuple):
    """Images (B, C, H, W) in FP32 and their classes (B,)."""

    images: Array
    labels: Array


@dataclass(frozen=True)
class TorchRun:
    """A run after `step` steps. `ratios` are those in force in FF and BP, by layer.

    `losses` and `trained` are the losses of `batches` in PyTorch, a step on each, and the parameters after the last.
    """

    config: TrainConfig
    step: int
    network: Network
    training: Training
    ratios: dict[tuple[str, Stage], NM]
    parameters: Parameters
    batches: Sequence[ImageBatch]
    losses: Sequence[float]
    trained: Parameters


def load_run(folder: Path, *, batch: int | None, iterations: int) -> TorchRun:
    """Go on with the run in a folder, in FP32 on the CPU, from its last checkpoint, at the peak of its learning rate.

    Parameters are the dense ones, with their momentum. Raises SpecError if the folder holds no checkpoint,
    ExportError for networks and trainings that the kernels cannot do.
    """
    checkpoint = load_checkpoint(folder)
    if checkpoint is None:
        raise SpecError(
            f"{printable(str(folder))}: holds no checkpoint; expected the folder of a `codesign train`"
        )
    config = checkpoint.config
    changes = {"device": "cpu", "amp": "off", "batch": batch or config.batch}
    session = prepare(config.model_copy(update=changes))
    progress = restore(checkpoint, session, StatisticsRecorder(session))
    batches = list(islice(chain.from_iterable(session.batches(progress.step)), iterations))
    network = network_of(session.model, config.model, batches[0][0])
    training = _training(session.config)
    before = _parameters(session)
    losses = _train(session, batches)
    return TorchRun(
        session.config,
        progress.step,
        network,
        training,
        _ratios(session),
        before,
        [ImageBatch(*_images(network, batch)) for batch in batches],
        losses,
        _parameters(session),
    )


def _training(config: TrainConfig) -> Training:
    """Raises ExportError for what the program of an iteration lacks."""
    wanted = {"method": "bdwp", "optimizer": "sgd", "grad_clip": 0.0, "accumulate": 1, "mvue": None}
    for name, value in wanted.items():
        if (found := getattr(config, name)) != value:
            raise ExportError(
                f"run with {name} {found}: a program of an iteration has {name} {value} only; train with that"
            )
    assert config.nm is not None, "bdwp has a ratio"
    rule = SGD(config.lr, config.momentum, config.weight_decay)
    return Training(config.batch, rule, config.nm, LOSS_SCALE, config.label_smoothing)


def _ratios(session: Session) -> dict[tuple[str, Stage], NM]:
    return {
        (name, stage): nm
        for name, layer in sparse_layers(session.model)
        for stage, nm in ((Stage.FF, layer.site.ff), (Stage.BP, layer.site.bp))
        if nm
    }


def _parameters(session: Session) -> Parameters:
    """Copies of parameters, running statistics and momentum, by layer."""
    found: dict[str, dict[str, Array]] = {}
    for name, tensor in session.model.state_dict().items():
        layer, _, part = name.rpartition(".")
        found.setdefault(layer, {})[part] = tensor.numpy().copy()
    for name, parameter in session.model.named_parameters():
        layer, _, part = name.rpartition(".")
        momentum = session.optimizer.state[parameter].get("momentum_buffer")
        if momentum is not None:
            found[layer][f"{part}_velocity"] = momentum.numpy().copy()
    return found


def _images(network: Network, batch: Batch) -> tuple[Array, Array]:
    images, labels = (tensor.numpy() for tensor in batch)
    return images.reshape(-1, *network.image), labels


def _train(session: Session, batches: Sequence[Batch]) -> list[float]:
    """A step on each batch; returns the losses."""
    for group in session.optimizer.param_groups:
        group["lr"] = session.config.lr
    losses = []
    for batch in batches:
        session.optimizer.zero_grad()
        loss = session.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        session.optimizer.step()
        losses.append(loss.item())
    return losses
