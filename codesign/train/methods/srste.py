"""SR-STE (Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", ICLR 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from codesign.nm.torch_ops import prune
from codesign.train.methods.base import Method, Site, Update, add_decay
from workloads.ops import Role, Stage
from workloads.sparsity import METHODS


@dataclass(frozen=True, kw_only=True)
class SRSTE(Method):
    """w_ff = w pruned along Cin, in both passes; the gradient gets `decay_rate` times the pruned part of w.

    The term is added once for each optimizer step, to the unscaled gradient.
    """

    decay_rate: float = 2e-4

    name: ClassVar[str] = "srste"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["srste"]

    @property
    def needs_steps(self) -> bool:
        return self.decay_rate != 0 or not self.schedule.constant

    def forward_weight(self, site: Site, w: Tensor) -> Tensor:
        return prune(w, site.ff, site.cin_axis) if site.ff else w

    def before_step(self, site: Site, w: Tensor, w_ff: Tensor, grad: Tensor, update: Update) -> None:
        add_decay(grad, w, w_ff, self.decay_rate, update)
