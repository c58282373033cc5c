"""Bi-Mask (Zhang et al., "Bi-directional Masks for Efficient N:M Sparse Training", ICML 2023): the backward weight is
the forward weight pruned once more, along output channels that were permuted to lose little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from zlib import crc32

import torch
from torch import Tensor

from codesign.nm.torch_ops import prune
from codesign.train.methods.base import PeriodicMethod, Site, Update, add_decay
from workloads.ops import Role, Stage
from workloads.sparsity import COUPLED, METHODS


@dataclass(frozen=True, kw_only=True)
class BiMask(PeriodicMethod):
    """w_ff = w pruned along Cin; w_bp = w_ff pruned along permuted Cout; decay as in SR-STE.

    Every `refresh_steps` steps, each layer draws `candidates` permutations and takes the one that keeps most entries
    of w_ff. Draws depend on `seed`, the layer's name and the step, so that all processes of a run agree. In a grouped
    convolution, channels stay in their group.
    """

    refresh_steps: int = 100
    candidates: int = 10
    decay_rate: float = 2e-4
    seed: int = 0

    name: ClassVar[str] = "bimask"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["bimask"]
    coupled: ClassVar[bool] = "bimask" in COUPLED

    def __post_init__(self) -> None:
        PeriodicMethod.__post_init__(self)
        self.require(self.candidates >= 1, "candidates", "at least 1")

    def renew(self, site: Site, w: Tensor) -> None:
        if not site.ff:
            site.held = {}
            return
        w_ff = self.forward_weight(site, w)
        orders = self._candidates(site, w.shape[site.cout_axis])
        kept = [int(_pruned_in_order(w_ff, site, order.to(w.device)).count_nonzero()) for order in orders]
        site.held = {"order": orders[kept.index(max(kept))].to(w.device)}

    def forward_weight(self, site: Site, w: Tensor) -> Tensor:
        return prune(w, site.ff, site.cin_axis) if site.ff else w

    def backward_weight(self, site: Site, w: Tensor, w_ff: Tensor) -> Tensor:
        return _pruned_in_order(w_ff, site, site.held["order"]) if site.bp else w_ff

    def before_step(self, site: Site, w: Tensor, w_ff: Tensor, grad: Tensor, update: Update) -> None:
        add_decay(grad, w, w_ff, self.decay_rate, update)

    def _candidates(self, site: Site, cout: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(crc32(f"{self.seed} {site.name} {site.step}".encode()))
        size = cout // site.groups
        return [
            torch.cat([first + torch.randperm(size, generator=generator) for first in range(0, cout, size)])
            for _ in range(self.candidates)
        ]


def _pruned_in_order(w: Tensor, site: Site, order: Tensor) -> Tensor:
    """`w` pruned along Cout, the channels taken in this order."""
    assert site.bp is not None
    pruned = prune(w.index_select(site.cout_axis, order), site.bp, site.cout_axis)
    return pruned.index_select(site.cout_axis, order.argsort())
