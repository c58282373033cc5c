"""The state of a run as one file, from which it goes on as if it had never stopped.

The file is in safetensors format. Its tensors are `model.*`, `optimizer.INDEX.*`, `sparsity.LAYER.*` (what methods
hold), `statistics.LAYER.PASS` (weights kept when last recorded) and `rng.*`; all else is JSON in its metadata, with a
SHA-256 of everything.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from codesign.errors import SpecError
from codesign.output_files import write_files
from codesign.spec_errors import printable
from codesign.train.config import TrainConfig
from codesign.train.recorder import StatisticsRecorder
from codesign.train.session import Session
from codesign.train.steps import load_sparsity_state, sparsity_state
from workloads.run_trace import Phase

FILE_NAME = "checkpoint.safetensors"
FORMAT = "codesign training checkpoint"
VERSION = 1
HEADER = "codesign"

Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """Where a run stands after `step` optimizer steps.

    `epoch_loss` sums the losses of the steps of the epoch so far. The other numbers are of the last evaluation,
    `train_loss` being the mean of its epoch. `*_bytes` are the lengths of the files of metrics and statistics.
    """

    step: int = 0
    phases: list[Phase] = field(default_factory=list)
    epoch_loss: float = 0.0
    train_loss: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    metrics_bytes: int = 0
    statistics_bytes: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and is whole."""

    path: Path
    config: TrainConfig
    progress: Progress
    tensors: Tensors


def save_checkpoint(out: Path, session: Session, progress: Progress, statistics: StatisticsRecorder) -> None:
    """Replace the checkpoint of the run in folder `out`. Raises ExportError and leaves the old one."""
    tensors = plain(
        _prefixed("model", session.model.state_dict())
        | _prefixed("optimizer", _optimizer_state(session))
        | _prefixed("sparsity", _held(session))
        | _prefixed("statistics", statistics.kept)
        | _prefixed("rng", _random_states(session))
    )
    content = {
        "config": session.config.model_dump(mode="json"),
        "progress": _progress_adapter().dump_python(progress, mode="json"),
    }
    header = {
        "format": FORMAT,
        "version": VERSION,
        "sha256": _sha256(tensors, content),
        "content": content,
    }
    write_files(out, {FILE_NAME: save(tensors, {HEADER: json.dumps(header)})})


def load_checkpoint(out: Path) -> Checkpoint | None:
    """The checkpoint of the run in folder `out`, None if there is none yet. Raises SpecError if it is no good."""
    path = out / FILE_NAME
    if not os.path.exists(path):  # noqa: PTH110 - unlike Path.exists it never raises
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        header = json.loads(metadata.get(HEADER, "null"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise _bad(path, f"is damaged ({error})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise _bad(path, "is no checkpoint of codesign")
    if header.get("version") != VERSION:
        raise _bad(path, f"is of version {header.get('version')!r}, expected {VERSION}")
    content: Any = header.get("content")
    if header.get("sha256") != _sha256(tensors, content):
        raise _bad(path, "is damaged, its content does not match its SHA-256")
    try:
        config = TrainConfig.model_validate(content["config"])
    except SpecError as error:
        raise _bad(path, f"is of another release ({error})") from None
    progress = _progress_adapter().validate_json(json.dumps(content["progress"]), strict=True)
    return Checkpoint(path, config, progress, tensors)


def restore(checkpoint: Checkpoint, session: Session, statistics: StatisticsRecorder) -> Progress:
    """Put model, optimizer, masks and random generators into the state of a checkpoint. Raises SpecError."""
    parts = {
        name: _part(checkpoint.tensors, name)
        for name in ("model", "optimizer", "sparsity", "statistics", "rng")
    }
    progress = checkpoint.progress
    try:
        session.model.load_state_dict(parts["model"])
        _load_optimizer(session, parts["optimizer"])
        state: dict[str, dict[str, Any]] = {
            name: {"step": progress.step} for name in sparsity_state(session.model)
        }
        for key, tensor in parts["sparsity"].items():
            layer, what = key.rsplit(".", 1)
            state[layer][what] = tensor
        load_sparsity_state(session.model, state)
        statistics.kept = {name: kept.to(session.device) for name, kept in parts["statistics"].items()}
        _set_random_states(parts["rng"])
    except (RuntimeError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise _bad(checkpoint.path, f"does not fit the model and the data ({reason})") from None
    return progress


def plain(tensors: Mapping[str, Tensor]) -> Tensors:
    """Detached, contiguous, in main memory, none sharing its memory with another, as the format needs."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        copy = tensor.detach().cpu().contiguous()
        memory = copy.untyped_storage().data_ptr()
        result[name] = copy.clone() if memory in seen else copy
        seen.add(memory)
    return result


def _optimizer_state(session: Session) -> Tensors:
    state = session.optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value
        for index, values in state.items()
        for key, value in values.items()
        if isinstance(value, Tensor)
    }


def _load_optimizer(session: Session, tensors: Tensors) -> None:
    state: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    groups = session.optimizer.state_dict()["param_groups"]
    session.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _held(session: Session) -> Tensors:
    return {
        f"{layer}.{key}": value
        for layer, values in sparsity_state(session.model).items()
        for key, value in values.items()
        if key != "step"
    }


def _random_states(session: Session) -> Tensors:
    states = {"cpu": torch.get_rng_state()}
    if session.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(session.device)
    return states


def _set_random_states(states: Tensors) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _part(tensors: Tensors, prefix: str) -> Tensors:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _sha256(tensors: Tensors, content: Any) -> str:
    digest = hashlib.sha256(json.dumps(content).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)} ".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _bad(path: Path, what: str) -> SpecError:
    text = printable(f"{path}: {what}".replace("\n", " "))
    return SpecError(f"{text}; start again with --overwrite, or in another folder")


@cache
def _progress_adapter() -> TypeAdapter[Progress]:
    return TypeAdapter(Progress)
