"""Recording of all tensors of chosen layers at one step; `workloads.recording` defines the file and reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from codesign.errors import SpecError
from codesign.nm.reference import pack
from codesign.output_files import write_files
from codesign.train.checkpoint import plain
from codesign.train.layers import SparseLayer
from codesign.train.observe import observed
from codesign.train.recorder import compliance, operands
from codesign.train.session import Session
from workloads.recording import FILE_NAME, HEADER, Header, LayerGeometry

STATE_NAMES = {
    "sgd": {"momentum_buffer": "momentum"},
    "adamw": {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"},
}
"""State of an optimizer, as torch and as the file call it."""


class TensorRecorder:
    """`with recorder.listening(step)` around forward and backward and, if it is due, `save` after the update.

    Raises SpecError if a pattern matches no layer, or the step is beyond the end.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layers = _matching(session.weight_layers, session.config.record_tensors)
        wanted = session.config.record_at
        if wanted is not None and wanted >= session.steps:
            raise SpecError(f"record_at {wanted}: expected a step from 0 to {session.steps - 1}")
        self._step = session.steps - 1 if wanted is None else wanted
        self._tensors: dict[str, Tensor] = {}

    def due(self, step: int) -> bool:
        """Whether the tensors of this step are wanted."""
        return bool(self._layers) and step == self._step

    @contextmanager
    def listening(self, step: int) -> Iterator[None]:
        """If the step is due, keep its operands and, at the end, its gradients and what the update will change."""
        if not self.due(step):
            yield
            return
        with observed(self._layers, self._see):
            yield
        for name, layer in self._layers.items():
            self._keep_operands(name, layer)
            for which, parameter in _parameters(layer):
                self._keep(name, which, parameter)
                self._keep(name, f"{which}_gradient", parameter.grad)
                self._keep_state(name, which, parameter, "before")

    def save(self, out: Path, step: int) -> None:
        """Add what the update changed and write the file. Raises ExportError."""
        for name, layer in self._layers.items():
            for which, parameter in _parameters(layer):
                self._keep(name, f"{which}_gradient_used", parameter.grad)
                self._keep(name, f"{which}_after", parameter)
                self._keep_state(name, which, parameter, "after")
        header = self._header(step).model_dump_json()
        write_files(out, {FILE_NAME: save(plain(self._tensors), {HEADER: header})})
        self._tensors.clear()

    def _see(self, name: str, what: str, x: Tensor) -> None:
        self._keep(name, what, x.to(self._session.dtype))  # the layer casts its input, too

    def _keep(self, name: str, what: str, x: Tensor | None) -> None:
        if x is not None:
            self._tensors[f"{name}/{what}"] = x.detach().float().clone()

    def _keep_operands(self, name: str, layer: nn.Module) -> None:
        """The weight of each pass, dense and, if it is sparse, packed."""
        passes = ["ff", "bp"] if f"{name}/input_gradient" in self._tensors else ["ff"]
        weights, sparse = _weights(layer, self._session.dtype), {}
        if isinstance(layer, SparseLayer):
            sparse = operands(layer, self._session.dtype)
        for key in passes:
            self._keep(name, f"weight_{key}", weights[key])
            if key in sparse and compliance(*sparse[key]) == 1:
                w, nm, axis = sparse[key]
                compact = pack(w.half().cpu().numpy(), nm, axis)
                self._tensors[f"{name}/weight_{key}/values"] = torch.from_numpy(compact.values)
                self._tensors[f"{name}/weight_{key}/indices"] = torch.from_numpy(compact.index_stream)

    def _keep_state(self, name: str, which: str, parameter: nn.Parameter, when: str) -> None:
        """Momentum and the like; before the first step zeros, which is what none stands for."""
        prefix = "" if which == "weight" else f"{which}_"
        state = self._session.optimizer.state.get(parameter, {})
        for torch_name, own_name in STATE_NAMES[self._session.config.optimizer].items():
            value = state.get(torch_name)
            self._keep(
                name, f"{prefix}{own_name}_{when}", torch.zeros_like(parameter) if value is None else value
            )

    def _header(self, step: int) -> Header:
        group = self._session.optimizer.param_groups[
            0
        ]  # of weights; biases differ in their decay, which is 0
        return Header(
            step=step,
            lr=group["lr"],
            optimizer=self._session.config.optimizer,
            hyperparameters={key: value for key, value in group.items() if key not in ("params", "lr")},
            dtype=str(self._session.dtype).removeprefix("torch."),
            layers={name: _geometry(layer) for name, layer in self._layers.items()},
        )


def _matching(layers: dict[str, nn.Module], patterns: tuple[str, ...]) -> dict[str, nn.Module]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in layers):
            known = ", ".join(list(layers)[:8])
            raise SpecError(f"record_tensors {pattern!r} matches no layer; layers: {known}, ...")
    return {name: layer for name, layer in layers.items() if any(fnmatchcase(name, p) for p in patterns)}


def _parameters(layer: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in layer.named_parameters(recurse=False) if name in ("weight", "bias")]


def _weights(layer: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """What each pass multiplies with."""
    if isinstance(layer, SparseLayer):
        return {"ff": layer.forward_weight(dtype), "bp": layer.backward_weight(dtype)}
    weight = layer.get_parameter("weight").to(dtype)
    return {"ff": weight, "bp": weight}


def _geometry(layer: nn.Module) -> LayerGeometry:
    known: dict[str, Any] = {"kind": "linear"}
    if isinstance(layer, SparseLayer):
        site = layer.site
        known |= {f"nm_{key}": str(nm) for key, nm in (("ff", site.ff), ("bp", site.bp)) if nm}
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        known |= {"kind": "conv", "groups": layer.groups}
        known |= {name: list(getattr(layer, name)) for name in ("stride", "padding", "dilation")}
    return LayerGeometry(**known)
