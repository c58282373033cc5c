"""What a method does around each optimizer step, and the little state that a resumed run needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from codesign.errors import SpecError
from codesign.train.layers import SparseLayer
from codesign.train.methods.base import Update
from codesign.train.sparsify import sparse_layers


def follow(model: nn.Module, optimizer: Optimizer) -> None:
    """Let the sparse layers of `model` see the steps of `optimizer`: changed gradients before, counting after.

    Schedules and methods that change gradients or hold masks need this; the others do without. Several optimizers may
    be followed, each for its own weights. Works with GradScaler, which unscales gradients before the step. A model
    without sparse layers needs nothing. Raises SpecError if the optimizer holds none of the sparse layers' weights,
    or one that is followed already.
    """
    layers = _layers_of(model, optimizer)
    if not layers and sparse_layers(model):
        raise SpecError("the optimizer holds no weight of a sparse layer; build it from model.parameters()")
    for layer in layers:
        if layer.site.followed == id(layer.weight):
            raise SpecError(f"layer {layer.site.name!r} is followed already; follow each optimizer once")
        layer.site.followed = id(layer.weight)

    def before_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        # fused optimizers divide by the scale of a GradScaler themselves
        scale = getattr(optimizer, "grad_scale", None)
        rates = {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
        owners = {id(layer.weight): layer for layer in _layers_of(model, optimizer)}  # of tied weights
        for weight, layer in owners.items():
            layer.step_begins(Update(rates[weight], scale))

    def after_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        for layer in _layers_of(model, optimizer):
            layer.step_done()

    optimizer.register_step_pre_hook(before_step)
    optimizer.register_step_post_hook(after_step)


def sparsity_state(model: nn.Module) -> dict[str, dict[str, Any]]:
    """By layer: optimizer steps seen, and tensors held. For checkpoints of runs that use `follow`."""
    return {name: {"step": layer.site.step, **layer.site.held} for name, layer in sparse_layers(model)}


def load_sparsity_state(model: nn.Module, state: Mapping[str, Mapping[str, Any]]) -> None:
    """Restore what `sparsity_state` gave, into a model that was made sparse in the same way. Raises SpecError."""
    layers = dict(sparse_layers(model))
    if layers.keys() != state.keys():
        missing = sorted(layers.keys() ^ state.keys())
        raise SpecError(
            f"sparsity state and model differ in layer {missing[0]!r}; use the same sparsify call"
        )
    for name, layer in layers.items():
        layer.site.step = state[name]["step"]
        layer.set_ratios()
        held = {key: value for key, value in state[name].items() if key != "step"}
        layer.site.held = {key: value.to(layer.weight.device) for key, value in held.items()}


def _layers_of(model: nn.Module, optimizer: Optimizer) -> list[SparseLayer]:
    """Sparse layers whose weight `optimizer` updates."""
    updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return [layer for _, layer in sparse_layers(model) if id(layer.weight) in updated]
