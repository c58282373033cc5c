"""Linear layer and convolution with one weight for each pass: `autograd.Function`s around the aten kernels.

The dense weight is an argument only to receive the gradient. Casts (autocast) happen before the call, so that
forward and backward see one type.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from codesign.train.methods.base import Method, Site

_convolve = torch.ops.aten.convolution.default
_convolve_backward = torch.ops.aten.convolution_backward.default


class Geometry(NamedTuple):
    """Arguments of a convolution, one entry for each spatial axis."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int


class Linear(torch.autograd.Function):
    """y = x w_ff^T + bias; x (..., in), weights (out, in)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w: Tensor,
        bias: Tensor | None,
        w_ff: Tensor,
        w_bp: Tensor,
        method: Method,
        site: Site,
    ) -> Tensor:
        ctx.save_for_backward(x, w_bp)
        ctx.method, ctx.site = method, site
        return functional.linear(x, w_ff, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, w_bp = ctx.saved_tensors
        needs_x, needs_w, needs_bias = ctx.needs_input_grad[:3]
        grad_x = grad_w = grad_bias = None
        if needs_x:
            grad_x = ctx.method.input_gradient_operand(ctx.site, g, g.dim() - 1) @ w_bp
        if needs_w:
            pruned = ctx.method.weight_gradient_operand(g, g.dim() - 1)
            grad_w = pruned.reshape(-1, g.shape[-1]).t() @ x.reshape(-1, x.shape[-1])
        if needs_bias:
            grad_bias = g.reshape(-1, g.shape[-1]).sum(0)
        return grad_x, grad_w, grad_bias, None, None, None, None


class Convolution(torch.autograd.Function):
    """Convolution of x (batch, Cin, pixels...) with weights (Cout, Cin / groups, taps...)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w: Tensor,
        bias: Tensor | None,
        w_ff: Tensor,
        w_bp: Tensor,
        method: Method,
        site: Site,
        geometry: Geometry,
    ) -> Tensor:
        ctx.save_for_backward(x, w_bp)
        ctx.method, ctx.site, ctx.geometry = method, site, geometry
        stride, padding, dilation, groups = geometry
        y: Tensor = _convolve(x, w_ff, bias, stride, padding, dilation, False, [0] * len(stride), groups)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        needs_x, needs_w, needs_bias = ctx.needs_input_grad[:3]
        g_x = ctx.method.input_gradient_operand(ctx.site, g, 1) if needs_x else g
        g_w = ctx.method.weight_gradient_operand(g, 1) if needs_w else g
        if g_x is g and g_w is g:
            grads = _gradients(ctx, g, needs_x, needs_w, needs_bias)
        else:
            grad_x, _, _ = _gradients(ctx, g_x, needs_x, False, False)
            _, grad_w, _ = _gradients(ctx, g_w, False, needs_w, False)
            grad_bias = g.sum([0, *range(2, g.dim())]) if needs_bias else None
            grads = grad_x, grad_w, grad_bias
        return *grads, None, None, None, None, None


def _gradients(ctx: Any, g: Tensor, *needs: bool) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Of the input with w_bp, of the weight (dense, whatever w_bp) and of the bias, in one call."""
    if not any(needs):
        return None, None, None
    x, w_bp = ctx.saved_tensors
    stride, padding, dilation, groups = ctx.geometry
    no_output_padding = [0] * len(stride)
    grads: tuple[Tensor | None, Tensor | None, Tensor | None] = _convolve_backward(
        g, x, w_bp, [g.shape[1]], stride, padding, dilation, False, no_output_padding, groups, list(needs)
    )
    return grads
