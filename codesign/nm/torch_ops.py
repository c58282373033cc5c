"""The N:M format in torch: `mask` and `prune` for float tensors of any rank.

`codesign.nm.format` states the rules; results equal those of `codesign.nm.reference` bit for bit. Ordinary tensors
in main memory go through the compiled loop of `codesign.nm.kernels`. All others (accelerators, meta tensors, what
`torch.compile` traces) go through torch operations on slices of `w`, seen as (outer, groups, M, inner).
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from codesign.errors import FormatError
from codesign.nm.format import FLOAT_KEYS, NM

_SIGNED = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def mask(w: Tensor, nm: NM, axis: int) -> Tensor:
    """True where `w` is kept, same shape. Raises FormatError for a wrong axis, ragged length or type.

    `axis` is the reduction axis: 1 of a convolution or linear weight in the forward pass, 0 in the backward pass.
    """
    axis = _check(w, nm, axis)
    if nm.dense or not w.numel():
        return torch.ones_like(w, dtype=torch.bool)
    if _is_plain(w):
        return _compiled("mask", w, nm, axis, torch.bool)
    grouped = _keys(w).reshape(*w.shape[:axis], -1, nm.m, *w.shape[axis + 1 :])
    return (_rank(grouped, nm, axis + 1) < nm.n).reshape(w.shape)


def prune(w: Tensor, nm: NM, axis: int) -> Tensor:
    """Copy of `w` with +0 where it is not kept. Raises FormatError as `mask` does. Not differentiable."""
    axis = _check(w, nm, axis)
    if nm.dense or not w.numel():
        return w.detach().clone()
    if _is_plain(w):
        return _compiled("prune", w, nm, axis, w.dtype)
    w = w.detach()
    return torch.where(mask(w, nm, axis), w, torch.zeros((), dtype=w.dtype, device=w.device))


def _check(w: Tensor, nm: NM, axis: int) -> int:
    """The axis counted from the front."""
    if not -w.dim() <= axis < w.dim():
        raise FormatError(
            f"reduction axis {axis}: expected {-w.dim()} to {w.dim() - 1} for a tensor of rank {w.dim()}"
        )
    if _type_name(w) not in FLOAT_KEYS:
        raise FormatError(f"N:M tensor of type {_type_name(w)}: expected {', '.join(FLOAT_KEYS)}; convert it")
    nm.groups(w.shape[axis])
    return axis % w.dim()


def _type_name(w: Tensor) -> str:
    return str(w.dtype).removeprefix("torch.")


def _is_plain(w: Tensor) -> bool:
    """Whether the memory of `w` can be read here and now."""
    return w.device.type == "cpu" and type(w) in (Tensor, nn.Parameter) and not torch.compiler.is_compiling()


def _compiled(loop: str, w: Tensor, nm: NM, axis: int, out_type: torch.dtype) -> Tensor:
    """Run a loop of `codesign.nm.kernels`; the result has the memory order of `w` if that is dense."""
    from codesign.nm import kernels

    w = w.detach()
    strides = w.stride()
    order = sorted(range(w.dim()), key=lambda dim: (-strides[dim], dim))  # memory order, outermost first
    source = w.permute(order).contiguous()  # no copy of a dense tensor, channels_last included
    out = torch.empty(source.shape, dtype=out_type)
    inner = prod(source.shape[order.index(axis) + 1 :])
    getattr(kernels, loop)(_bits(source), nm, inner, _type_name(w), _bits(out))
    return out.permute([order.index(dim) for dim in range(w.dim())])


def _bits(w: Tensor) -> Any:
    """Flat numpy array, unsigned but for a bool, that shares the memory of a contiguous tensor."""
    if w.dtype == torch.bool:
        return w.view(-1).numpy()
    return w.view(-1).view(_SIGNED[w.element_size()]).numpy().view(f"u{w.element_size()}")


def _keys(w: Tensor) -> Tensor:
    """Magnitude keys; the sign bit is clear, so signed integers order them."""
    key = FLOAT_KEYS[_type_name(w)]
    bits = w.detach().view(_SIGNED[w.element_size()])
    return (bits & key.magnitude_mask).clamp(max=key.nan_key)


def _rank(keys: Tensor, nm: NM, dim: int) -> Tensor:
    """How many members of its group outrank each entry; the groups lie along `dim`."""
    rank = torch.zeros_like(keys, dtype=torch.int16)
    for member in range(nm.m - 1):
        later = nm.m - 1 - member
        outranks = keys.narrow(dim, member, 1) >= keys.narrow(dim, member + 1, later)  # an equal key does too
        rank.narrow(dim, member + 1, later).add_(outranks)
        rank.narrow(dim, member, 1).add_((~outranks).sum(dim, keepdim=True, dtype=torch.int16))
    return rank
