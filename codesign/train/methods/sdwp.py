"""The backward half of BDWP: the forward pass is dense (Fang et al., TCAD 2023, compare it as SDWP)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from codesign.nm.torch_ops import prune
from codesign.train.methods.base import Method, Site
from workloads.ops import Role, Stage
from workloads.sparsity import METHODS


@dataclass(frozen=True, kw_only=True)
class SDWP(Method):
    """w_ff = w, w_bp = w pruned along Cout."""

    name: ClassVar[str] = "sdwp"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["sdwp"]

    def backward_weight(self, site: Site, w: Tensor, w_ff: Tensor) -> Tensor:
        return prune(w, site.bp, site.cout_axis) if site.bp else w
