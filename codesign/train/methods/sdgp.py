"""Structured sparse back-propagation (McDanel et al., "Accelerating DNN Training with Structured Data Gradient
Pruning", ICPR 2022): the output gradient is pruned for the input gradient only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from codesign.nm.torch_ops import prune
from codesign.train.methods.base import Method, Site
from workloads.ops import Role, Stage
from workloads.sparsity import METHODS

EPSILON = 1e-4


@dataclass(frozen=True, kw_only=True)
class SDGP(Method):
    """p(g) = g pruned over consecutive output channels; weights and dw are dense.

    `maxnorm` rescales every (sample, channel) of p(g) by the ratio of its L1 norms before and after pruning.
    """

    maxnorm: bool = False

    name: ClassVar[str] = "sdgp"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["sdgp"]

    def input_gradient_operand(self, site: Site, g: Tensor, channel_axis: int) -> Tensor:
        if not site.bp:
            return g
        pruned = prune(g, site.bp, channel_axis)
        return _rescaled(pruned, g, channel_axis) if self.maxnorm else pruned


def _rescaled(pruned: Tensor, g: Tensor, channel_axis: int) -> Tensor:
    pixels = [axis for axis in range(1, g.dim()) if axis != channel_axis % g.dim()]
    before, after = (t.abs().sum(pixels, keepdim=True) if pixels else t.abs() for t in (g, pruned))
    return pruned * (before / (after + EPSILON))
