"""S-STE (Hu et al., "S-STE: Continuous Pruning Function for Efficient 2:4 Sparse Pre-Training", NeurIPS 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from codesign.nm.format import NM
from codesign.nm.torch_ops import mask
from codesign.train.methods.base import Method, Site
from workloads.ops import Role, Stage
from workloads.sparsity import METHODS


@dataclass(frozen=True, kw_only=True)
class SSTE(Method):
    """w_ff = w_bp = beta s, s = sign(w) max(|w| - t, 0), t the largest magnitude that its group prunes.

    s changes continuously with w. beta = <w, s> / <s, s>, which makes beta s the nearest to w, is fixed when the
    layer becomes sparse.
    """

    name: ClassVar[str] = "sste"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["sste"]

    def renew(self, site: Site, w: Tensor) -> None:
        site.held = {}
        if site.ff:
            s = soft_threshold(w, site.ff, site.cin_axis)
            energy = s.square().sum()
            site.held = {"beta": ((w * s).sum() / energy).masked_fill(energy == 0, 1)}

    def forward_weight(self, site: Site, w: Tensor) -> Tensor:
        return soft_threshold(w, site.ff, site.cin_axis) * site.held["beta"] if site.ff else w


def soft_threshold(w: Tensor, nm: NM, axis: int) -> Tensor:
    """s: magnitudes less the (M - N)-th smallest of their group, at least 0; signs as in `w`."""
    pruned = w.abs().masked_fill(mask(w, nm, axis), 0)
    grouped = (*w.shape[:axis], -1, nm.m, *w.shape[axis + 1 :])
    threshold = pruned.reshape(grouped).amax(axis + 1, keepdim=True)
    return (w.sign().reshape(grouped) * (w.abs().reshape(grouped) - threshold).clamp(min=0)).reshape(w.shape)
