"""Sparse layers: ordinary torch modules whose class was changed to one with a weight for each pass.

Parameters, buffers, hooks and state-dict keys stay as they are. The pruned weights are kept from one change of the
dense weight to the next, so that gradient accumulation prunes once for each optimizer step; graphs that
`torch.compile` makes prune inside the graph instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.train.functions import Convolution, Geometry, Linear
from codesign.train.methods.base import Method, Site, Update
from workloads.ops import Stage


class DerivedWeights:
    """Weights computed from a dense one, each remembered until that changes. Copies and pickles start empty."""

    def __init__(self) -> None:
        self._source: Tensor | None = None
        self._version = -1
        self._known: dict[tuple[str, torch.dtype], Tensor] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return DerivedWeights, ()

    def forget(self) -> None:
        """Compute everything anew, even if the dense weight does not change."""
        self._source = None

    def get(self, w: Tensor, what: str, dtype: torch.dtype, compute: Callable[[], Tensor]) -> Tensor:
        """`compute()` as `dtype`, detached; remembered unless `w` has no memory that could be watched."""
        if torch.compiler.is_compiling() or type(w) not in (Tensor, nn.Parameter):
            return compute().detach().to(dtype)
        if not self._is_current(w):
            self._source, self._version = w.detach(), w._version
            self._known.clear()
        with torch.inference_mode(False), torch.no_grad():
            for kind in dict.fromkeys((w.dtype, dtype)):
                if (what, kind) not in self._known:
                    known = self._known.get((what, w.dtype))
                    self._known[what, kind] = compute() if known is None else known.to(kind)
        return self._known[what, dtype]

    def _is_current(self, w: Tensor) -> bool:
        # _source shares the storage, so its address is not given to another tensor meanwhile
        source = self._source
        return (
            source is not None
            and source.data_ptr() == w.data_ptr()
            and (source.shape, source.dtype, source.device) == (w.shape, w.dtype, w.device)
            and self._version == w._version
        )


class SparseLayer(nn.Module):
    """Mixin of all sparse layers; `codesign.train.sparsify` puts a module into its class."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    method: Method
    site: Site
    derived: DerivedWeights
    dense_class: type[nn.Module]

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty_layer, (self.dense_class,), self.__dict__

    def forward_weight(self, dtype: torch.dtype | None = None) -> Tensor:
        """w_ff, detached."""
        w = self.weight
        return self.derived.get(
            w, "ff", dtype or w.dtype, lambda: self.method.forward_weight(self.site, w.detach())
        )

    def backward_weight(self, dtype: torch.dtype) -> Tensor:
        """w_bp, detached."""
        w = self.weight
        return self.derived.get(
            w,
            "bp",
            dtype,
            lambda: self.method.backward_weight(self.site, w.detach(), self.forward_weight()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """As the dense class does, with the method's weights and gradients."""
        if self.training and torch.is_grad_enabled():
            self._check_followed()
            self.method.observe(self.site, x.detach(), 1 - self.weight.dim())
        x, bias, dtype = _autocast(x, self.bias)
        w_ff = self.forward_weight(dtype)
        w_bp = self.backward_weight(dtype) if x.requires_grad and torch.is_grad_enabled() else w_ff
        return self._apply_weights(x, bias, w_ff, w_bp)

    def step_begins(self, update: Update) -> None:
        """Before an optimizer step."""
        if self.weight.grad is not None:
            w, w_ff = self.weight.detach(), self.forward_weight()
            with torch.no_grad():
                self.method.before_step(self.site, w, w_ff, self.weight.grad, update)

    def step_done(self) -> None:
        """After an optimizer step."""
        self.site.step += 1
        if not self.set_ratios():
            with torch.no_grad():
                self.method.after_step(self.site, self.weight.detach())

    def set_ratios(self) -> bool:
        """Put the ratios of the current step in force; whether they changed."""
        site, before = self.site, (self.site.ff, self.site.bp)
        site.ff, site.bp = (self._ratio_now(stage) for stage in (Stage.FF, Stage.BP))
        self.derived.forget()
        changed = before != (site.ff, site.bp)
        if changed:
            with torch.no_grad():
                self.method.renew(site, self.weight.detach())
        return changed

    def _ratio_now(self, stage: Stage) -> NM | None:
        goal = self.site.goal.get(stage)
        now = self.method.ratio(goal, self.site.step) if goal else None
        return None if now is None or now.dense else now

    def _check_followed(self) -> None:
        if self.method.needs_steps and self.site.followed != id(self.weight):
            raise SpecError(
                f"layer {self.site.name!r}: {self.method.name} must see the optimizer's steps; "
                "call codesign.train.follow(model, optimizer) before training"
            )

    def _apply_weights(self, x: Tensor, bias: Tensor | None, w_ff: Tensor, w_bp: Tensor) -> Tensor:
        raise NotImplementedError


class SparseLinear(SparseLayer):
    """Of nn.Linear."""

    def _apply_weights(self, x: Tensor, bias: Tensor | None, w_ff: Tensor, w_bp: Tensor) -> Tensor:
        return _apply(Linear, x, self.weight, bias, w_ff, w_bp, self.method, self.site)


class SparseConv1D(SparseLayer):
    """Of transformers' Conv1D: a linear layer with a weight of shape (in, out)."""

    def _apply_weights(self, x: Tensor, bias: Tensor | None, w_ff: Tensor, w_bp: Tensor) -> Tensor:
        return _apply(Linear, x, self.weight.t(), bias, w_ff.t(), w_bp.t(), self.method, self.site)


class SparseConv(SparseLayer):
    """Of nn.Conv1d and nn.Conv2d."""

    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str
    _reversed_padding_repeated_twice: list[int]

    def _apply_weights(self, x: Tensor, bias: Tensor | None, w_ff: Tensor, w_bp: Tensor) -> Tensor:
        unbatched = x.dim() == w_ff.dim() - 1
        x, padding = self._padded(x.unsqueeze(0) if unbatched else x)
        geometry = Geometry(list(self.stride), padding, list(self.dilation), self.groups)
        y = _apply(Convolution, x, self.weight, bias, w_ff, w_bp, self.method, self.site, geometry)
        return y.squeeze(0) if unbatched else y

    def _padded(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """Input with what the kernel cannot pad, and what is left for the kernel."""
        none = [0] * len(self.stride)
        sides = self._reversed_padding_repeated_twice  # last axis first, before and after each
        if self.padding_mode != "zeros":
            return functional.pad(x, sides, self.padding_mode), none
        if not isinstance(self.padding, str):
            return x, list(self.padding)
        if sides[::2] == sides[1::2]:
            return x, sides[::-2]
        return functional.pad(x, sides), none


def sparse_class(dense_class: type[nn.Module]) -> type[SparseLayer]:
    """Class of the sparse form of a layer that `kind_of` knows."""
    if dense_class not in _SPARSE_CLASSES:
        mixin = {"linear": SparseLinear, "conv": SparseConv, "hf_conv1d": SparseConv1D}[kind_of(dense_class)]
        name, attributes = f"Sparse{dense_class.__name__}", {"dense_class": dense_class}
        _SPARSE_CLASSES[dense_class] = cast(type[SparseLayer], type(name, (mixin, dense_class), attributes))
    return _SPARSE_CLASSES[dense_class]


_SPARSE_CLASSES: dict[type[nn.Module], type[SparseLayer]] = {}


def kind_of(layer_class: type[nn.Module]) -> str:
    """`linear`, `conv`, `hf_conv1d`, or nothing for other modules."""
    if issubclass(layer_class, nn.Linear):
        return "linear"
    if issubclass(layer_class, (nn.Conv1d, nn.Conv2d)):
        return "conv"
    if issubclass(layer_class, SparseConv1D) or layer_class.__name__ == "Conv1D":
        return "hf_conv1d"
    return ""


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    return cast(Tensor, function.apply(*arguments))  # type: ignore[no-untyped-call]


def _empty_layer(dense_class: type[nn.Module]) -> SparseLayer:
    layer_class = sparse_class(dense_class)
    return layer_class.__new__(layer_class)


def _autocast(x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None, torch.dtype]:
    """Input, bias and type of the weights as torch's own layers see them under autocast."""
    device = x.device.type
    if not torch.is_autocast_enabled(device) or x.dtype == torch.float64:
        return x, bias, x.dtype
    dtype = torch.get_autocast_dtype(device)
    return x.to(dtype), None if bias is None else bias.to(dtype), dtype
