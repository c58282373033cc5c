"""Bidirectional weight pruning (Fang et al., "Efficient N:M Sparse DNN Training Using Algorithm, Architecture, and
Dataflow Co-Design", TCAD 2023): each pass has an N:M weight of its own, along its own reduction axis."""

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
class BDWP(Method):
    """w_ff = w pruned along Cin, w_bp = w pruned along Cout, both from the dense weight; dw is dense."""

    name: ClassVar[str] = "bdwp"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["bdwp"]

    def forward_weight(self, site: Site, w: Tensor) -> Tensor:
        return prune(w, site.ff, site.cin_axis) if site.ff else w

    def backward_weight(self, site: Site, w: Tensor, w_ff: Tensor) -> Tensor:
        return prune(w, site.bp, site.cout_axis) if site.bp else w
