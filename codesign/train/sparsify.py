"""`sparsify` turns the layers of a model sparse in place, `finalize` turns them back into plain ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from codesign.errors import SpecError
from codesign.nm.format import FLOAT_KEYS, NM
from codesign.train.layers import DerivedWeights, SparseLayer, kind_of, sparse_class
from codesign.train.methods.base import Method, Site
from workloads.ops import Role, Stage
from workloads.sparsity import FIRST_LAYER, LayerSparsity, coupled_reasons, no_prune_reason, shape_reason

Report = tuple[LayerSparsity, ...]
Filter = Callable[[str, nn.Module], bool]


class _Candidate(NamedTuple):
    name: str
    module: nn.Module
    nm: NM | None
    dense_reason: str


def sparsify(
    model: nn.Module,
    config: Method,
    filter_fn: Filter | None = None,
    overrides: Mapping[str, NM | None] | None = None,
) -> tuple[nn.Module, Report]:
    """Train `model` with the method `config` from now on; say what was done to each layer and pass, and why.

    Candidates are nn.Linear, nn.Conv1d, nn.Conv2d and transformers' Conv1D, subclasses included unless they have a
    forward of their own. `filter_fn(name, module)` says which of them may become sparse. `overrides` gives layers
    another ratio, by name pattern (`blocks.*.fc1`; the first that matches counts), or None to keep them dense.

    Layers stay dense in a pass for the reasons that `workloads.sparsity` knows, too. Parameters, state-dict keys and
    optimizers stay valid. Masks follow from the weights: a checkpoint holds none. Raises SpecError, before anything
    is changed, if a layer is sparse already or an override matches nothing.
    """
    candidates = list(_candidates(model, config, filter_fn, overrides or {}))
    report: list[LayerSparsity] = []
    for candidate in candidates:
        rows = _decide(candidate, config)
        report += rows
        goal = {row.stage: row.nm for row in rows if row.nm}
        if goal:
            _convert(candidate, config, goal)
    _avoid_shortcuts(model)
    return model, tuple(report)


def finalize(model: nn.Module) -> nn.Module:
    """Make the sparse layers plain again, in place; their weights become the forward weights, zeros included.

    A weight that another module uses, too, such as a head's that is the token embedding, is separated from it.
    """
    layers = sparse_layers(model)
    users = Counter(id(weight) for module in model.modules() for weight in module._parameters.values())
    for layer, weight in [(layer, layer.forward_weight().clone()) for _, layer in layers]:
        if users[id(layer.weight)] > 1:
            layer.weight = nn.Parameter(weight)
        else:
            with torch.no_grad():
                layer.weight.copy_(weight)
        layer.__class__ = layer.dense_class  # type: ignore[assignment]
        for attribute in ("method", "site", "derived"):
            del layer.__dict__[attribute]
    return model


def sparse_layers(model: nn.Module) -> list[tuple[str, SparseLayer]]:
    """The sparse layers of a model by name."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, SparseLayer)]


def _candidates(
    model: nn.Module, config: Method, filter_fn: Filter | None, overrides: Mapping[str, NM | None]
) -> Iterator[_Candidate]:
    modules = dict(model.named_modules())
    names = [name for name, module in modules.items() if _is_candidate(module)]
    stem = None if _embeds_first(model) or not names else names[0]
    for pattern in overrides:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SpecError(f"override {pattern!r} matches no layer; layers: {', '.join(names[:8])}, ...")
    for name in names:
        module = modules[name]
        if isinstance(module, SparseLayer):
            raise SpecError(f"layer {name!r} is sparse already; call finalize(model) first")
        nm = next((nm for pattern, nm in overrides.items() if fnmatchcase(name, pattern)), config.nm)
        reason = _unusable(module)
        if config.first_dense and name == stem:
            reason = FIRST_LAYER
        elif config.head_dense and name == names[-1]:
            reason = "last layer"
        elif nm is None:
            reason = "excluded by an override"
        elif filter_fn and not filter_fn(name, module):
            reason = "excluded by the filter"
        yield _Candidate(name, module, nm, reason)


def _is_candidate(module: nn.Module) -> bool:
    kind = kind_of(type(module))
    if kind != "hf_conv1d":
        return bool(kind)
    weight = module._parameters.get("weight")  # other modules are called Conv1D, too
    return hasattr(module, "nf") and weight is not None and weight.dim() == 2


def _embeds_first(model: nn.Module) -> bool:
    """Whether tokens are embedded before the first candidate, whose input then needs a gradient."""
    for module in model.modules():
        if isinstance(module, nn.Embedding) or _is_candidate(module):
            return isinstance(module, nn.Embedding)
    return False


def _unusable(module: nn.Module) -> str:
    """Why a layer cannot be sparse under any method, or nothing."""
    weight = module._parameters.get("weight")
    if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
        return "MultiheadAttention uses its weight without calling it"
    if weight is None:
        return "its weight is computed from other parameters"
    if is_lazy(weight):
        return "its weight has no shape yet"
    if str(weight.dtype).removeprefix("torch.") not in FLOAT_KEYS:
        return f"its weight is {weight.dtype}"
    if not _forward_is_known(type(module)):
        return f"{type(module).__name__} has a forward of its own"
    return ""


def _forward_is_known(layer_class: type[nn.Module]) -> bool:
    for known in (nn.Linear, nn.Conv1d, nn.Conv2d):
        if issubclass(layer_class, known):
            methods = ("forward", "_conv_forward") if known is not nn.Linear else ("forward",)
            return all(getattr(layer_class, name) is getattr(known, name) for name in methods)
    return True  # transformers' Conv1D, known by its name


def _decide(candidate: _Candidate, config: Method) -> list[LayerSparsity]:
    """A row for FF and BP, and one for WU if its gradient is pruned."""
    reasons = {stage: _reason(candidate, config, stage) for stage in (Stage.FF, Stage.BP)}
    if config.coupled:
        reasons = coupled_reasons(reasons)
    rows = [
        _row(candidate.name, stage, config.prunes.get(stage), candidate.nm, reasons[stage])
        for stage in reasons
    ]
    if config.mvue:
        reason = candidate.dense_reason or (
            "" if not config.mvue.dense else f"{config.mvue} keeps everything"
        )
        rows.append(_row(candidate.name, Stage.WU, Role.GRADIENT, config.mvue, reason))
    return rows


def _row(name: str, stage: Stage, pruned: Role | None, nm: NM | None, reason: str) -> LayerSparsity:
    return LayerSparsity(name, stage, reason=reason) if reason else LayerSparsity(name, stage, pruned, nm)


def _reason(candidate: _Candidate, config: Method, stage: Stage) -> str:
    """Why a layer stays dense in FF or BP, or nothing."""
    if stage not in config.prunes:
        return no_prune_reason(config.name)
    if candidate.dense_reason:
        return candidate.dense_reason
    assert candidate.nm is not None  # an override of None is a reason
    cin_axis, cout_axis, groups = _axes(candidate.module)
    shape = candidate.module._parameters["weight"].shape  # type: ignore[union-attr]
    return shape_reason(shape[cin_axis], shape[cout_axis] // groups, groups, stage, candidate.nm)


def _axes(module: nn.Module) -> tuple[int, int, int]:
    """Axes of Cin and of Cout in the weight, and the number of groups."""
    if kind_of(type(module)) == "hf_conv1d":
        return 0, 1, 1
    return 1, 0, int(getattr(module, "groups", 1))


def _convert(candidate: _Candidate, config: Method, goal: Mapping[Stage, NM]) -> None:
    module = candidate.module
    module.__class__ = sparse_class(type(module))
    assert isinstance(module, SparseLayer)
    module.method = config
    module.site = Site(candidate.name, *_axes(module), goal=goal)
    module.derived = DerivedWeights()
    module.set_ratios()


def _avoid_shortcuts(model: nn.Module) -> None:
    """Keep encoder layers from reading the weights of sparse layers past them, as they do in evaluation."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and sparse_layers(module):
            module.activation_relu_or_gelu = (
                0  # 1 and 2 permit the fused kernel; `activation` stays what it is
            )
