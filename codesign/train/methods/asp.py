"""ASP (Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, and NVIDIA's apex): prune a trained network
once, then train what is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from codesign.nm.torch_ops import mask
from codesign.train.methods.base import Method, Site, Update
from workloads.ops import Role, Stage
from workloads.sparsity import METHODS


@dataclass(frozen=True, kw_only=True)
class ASP(Method):
    """w_ff = w_bp = w under the mask of the moment at which the layer became sparse; dw is masked, too."""

    name: ClassVar[str] = "asp"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["asp"]

    @property
    def needs_steps(self) -> bool:
        return True

    def renew(self, site: Site, w: Tensor) -> None:
        site.held = {"mask": mask(w, site.ff, site.cin_axis)} if site.ff else {}

    def forward_weight(self, site: Site, w: Tensor) -> Tensor:
        return w.masked_fill(~site.held["mask"], 0) if site.ff else w

    def before_step(self, site: Site, w: Tensor, w_ff: Tensor, grad: Tensor, update: Update) -> None:
        if site.ff:
            grad.masked_fill_(~site.held["mask"], 0)
