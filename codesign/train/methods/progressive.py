"""Progressive gradient flow (Bambhaniya et al., "Progressive Gradient Flow for Robust N:M Sparsity Training in
Transformers", 2024): sparsity comes in steps, so that gradients reach pruned weights for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from codesign.nm.format import NM
from codesign.nm.torch_ops import prune
from codesign.train.methods.base import Method, Site
from workloads.ops import Role, Stage
from workloads.sparsity import METHODS


@dataclass(frozen=True, kw_only=True)
class ProgressiveGradientFlow(Method):
    """w_ff = w_bp, with t steps since the schedule's start:

    - `decay="linear"`, `"exponential"` (MDGF): w (m + (1 - m) d), where d = max(0, 1 - beta t) or exp(-beta t).
    - `decay="structure"` (SDGF): w pruned at (M-1):M, then M/2:M, M/4:M, ... and at last N:M, each stage lasting
      `stage_steps` steps.

    Both `beta` and `stage_steps` depend on the length of the run.
    """

    decay: Literal["linear", "exponential", "structure"] = "linear"
    beta: float = 1e-4
    stage_steps: int = 1000

    name: ClassVar[str] = "progressive"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["progressive"]

    @classmethod
    def options_for(cls, steps: int) -> dict[str, Any]:
        return {"beta": 2 / steps, "stage_steps": max(1, steps // 8)}  # assumed: N:M by half of the run

    def __post_init__(self) -> None:
        self.require(
            self.decay in ("linear", "exponential", "structure"), "decay", "linear, exponential, structure"
        )
        self.require(self.beta >= 0, "beta", "at least 0")
        self.require(self.stage_steps >= 1, "stage_steps", "at least 1")

    @property
    def needs_steps(self) -> bool:
        return True

    def ratio(self, nm: NM, step: int) -> NM:
        scheduled = self.schedule.ratio(nm, step)
        if self.decay != "structure" or scheduled != nm:
            return scheduled
        stages = stage_ratios(nm)
        return stages[min((step - self.schedule.start_step) // self.stage_steps, len(stages) - 1)]

    def is_nm(self, site: Site) -> bool:
        return self.decay == "structure" or not site.ff or float(site.held["flow"]) == 0

    def renew(self, site: Site, w: Tensor) -> None:
        if self.decay != "structure":
            site.held = {"flow": torch.tensor(self._flow(site), dtype=w.dtype, device=w.device)}

    def after_step(self, site: Site, w: Tensor) -> None:
        self.renew(site, w)

    def forward_weight(self, site: Site, w: Tensor) -> Tensor:
        if not site.ff:
            return w
        kept = prune(w, site.ff, site.cin_axis)
        return kept if self.decay == "structure" else kept + (w - kept) * site.held["flow"]

    def _flow(self, site: Site) -> float:
        """d, the share of the pruned weights that is still there."""
        passed = self.beta * max(0, site.step - self.schedule.start_step)
        return max(0.0, 1 - passed) if self.decay == "linear" else exp(-passed)


def stage_ratios(nm: NM) -> list[NM]:
    """(M-1):M, then M/2:M, M/4:M, ... as long as they keep more than N, then N:M."""
    kept, halves = [nm.m - 1], nm.m // 2
    while halves > nm.n:
        kept.append(halves)
        halves //= 2
    return [NM(n, nm.m) for n in dict.fromkeys(kept) if n > nm.n] + [nm]
