"""CAST (Huang et al., "CAST: Continuous and Differentiable Semi-Structured Sparsity-Aware Training for Large Language
Models", arXiv 2509.25996, 2025): train densely while what shall be pruned fades, then prune. The dense model is its
own teacher: `codesign.train.distillation_loss`, in the paper with a share of 1/3 for LLaMA and no temperature.

From the paper: the masks (eq. 6), the mixture of gradient and L1 decay (eq. 7), what the scales multiply (eq. 12),
dense passes until the end, then pruning with the scales folded in (alg. 2). Assumed, because the optimizer is the
user's: it gets the mixture as its gradient, where the paper's AdamS mixes after the first moment and builds the
second one from the mixture (eq. 8); and the scales descend their gradient at the learning rate of the weights, where
the paper leaves them to its optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import Any, ClassVar

import torch
from torch import Tensor

from codesign.nm.format import NM
from codesign.nm.torch_ops import mask
from codesign.train.methods.base import Method, PeriodicMethod, Site, Update
from workloads.ops import Role, Stage
from workloads.sparsity import METHODS


@dataclass(frozen=True, kw_only=True)
class CAST(PeriodicMethod):
    """w_ff = w_bp = a w; w is dense for `total_steps` steps, which should be all of the run, and pruned after them.

    - A mask of the largest |w| is renewed every `refresh_steps` steps. What it leaves out gets the gradient
      (1 - alpha) dw + alpha x `decay_rate` x sign(w), where alpha rises from 0 to 1 over `total_steps`. The rate
      should be of the order of the gradients; the default is the paper's for LLaMA2-7B.
    - a is 1 at first and trained: one value for each output channel and each of `scale_groups` equal parts of Cin
      (of as many as divide it).
    """

    total_steps: int = 7500
    refresh_steps: int = 10
    decay_rate: float = 4e-7
    scale_groups: int = 2

    name: ClassVar[str] = "cast"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["cast"]

    distillation_share: ClassVar[float | None] = 1 / 3

    @classmethod
    def options_for(cls, steps: int) -> dict[str, Any]:
        return {"total_steps": steps}

    def __post_init__(self) -> None:
        PeriodicMethod.__post_init__(self)
        self.require(self.total_steps >= 1, "total_steps", "at least 1")
        self.require(self.scale_groups >= 1, "scale_groups", "at least 1")

    def ratio(self, nm: NM, step: int) -> NM:
        return Method.ratio(self, nm, step) if step >= self.total_steps else NM(nm.m, nm.m)

    def renew(self, site: Site, w: Tensor) -> None:
        scale = site.held.get("scale")
        site.held = {
            "mask": mask(w, site.goal[Stage.FF], site.cin_axis),
            "scale": torch.ones_like(self._sums(site, w)) if scale is None else scale,
        }

    def forward_weight(self, site: Site, w: Tensor) -> Tensor:
        return _scaled(_unscaled(w, site), site)

    def before_step(self, site: Site, w: Tensor, w_ff: Tensor, grad: Tensor, update: Update) -> None:
        if not site.held:  # nothing is renewed before a ratio is in force
            self.renew(site, w)
        slope = self._sums(site, _unscaled(w, site) * grad)
        grad.copy_(_scaled(grad, site))
        if site.ff or site.step < self.total_steps:
            self._fade(site, w, grad, update)
        if update.scale is not None:
            slope = slope / update.scale
        slope = slope.nan_to_num(0, 0, 0)  # a fused optimizer itself skips steps whose gradients overflow
        site.held["scale"] = site.held["scale"] - update.lr * slope

    def _fade(self, site: Site, w: Tensor, grad: Tensor, update: Update) -> None:
        decay = self.decay_rate * w.sign()
        if update.scale is not None:
            decay = decay * update.scale
        mixture = grad.lerp(decay, min(1.0, site.step / self.total_steps))
        grad.copy_(torch.where(site.held["mask"], grad, mixture))

    def _sums(self, site: Site, t: Tensor) -> Tensor:
        """Sums of `t` over the entries that share a value of a; shape of a, which broadcasts with `_split`."""
        split = _split(t, site, gcd(self.scale_groups, t.shape[site.cin_axis]))
        kept = {site.cin_axis, site.cout_axis + (site.cout_axis > site.cin_axis)}
        summed = [axis for axis in range(split.dim()) if axis not in kept]
        return split.to(torch.promote_types(t.dtype, torch.float32)).sum(summed, keepdim=True)


def _unscaled(w: Tensor, site: Site) -> Tensor:
    """`w`, pruned once its ratio is in force."""
    return w.masked_fill(~site.held["mask"], 0) if site.ff else w


def _scaled(t: Tensor, site: Site) -> Tensor:
    """a times `t`, a weight or its gradient."""
    scale = site.held.get("scale")
    if scale is None:
        return t
    split = _split(t, site, scale.shape[site.cin_axis])
    return (split * scale).flatten(site.cin_axis, site.cin_axis + 1).to(t.dtype)


def _split(t: Tensor, site: Site, parts: int) -> Tensor:
    """`t` with axes (parts, rest) in the place of Cin."""
    return torch.unflatten(t, site.cin_axis, (parts, -1))
