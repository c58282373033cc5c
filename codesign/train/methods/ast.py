"""AST (Huang et al., "Pruning Large Language Models with Semi-Structural Adaptive Sparse Training", AAAI 2025):
retrain a dense model under masks that follow the weights while the masked weights fade. See
`codesign.train.distillation` for its loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, distributed

from codesign.nm.torch_ops import mask
from codesign.train.methods.base import PeriodicMethod, Site, Update
from workloads.ops import Role, Stage
from workloads.sparsity import METHODS


@dataclass(frozen=True, kw_only=True)
class AST(PeriodicMethod):
    """w_ff = w_bp = w under a mask that is renewed every `refresh_steps` steps.

    - `score`: what is compared within a group: |w|, or |w| times the L2 norm of its input channel since the last
      mask ("wanda", after Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024;
      |w| as long as no input was seen). Processes of a distributed run add up their norms.
    - `decay_rate`: masked weights lose lr x decay_rate of themselves in each step, outside the optimizer's momentum;
      the rate rises linearly from 0 over `ramp_steps` steps. Both depend on the length of the run.
    """

    refresh_steps: int = 10
    score: Literal["magnitude", "wanda"] = "magnitude"
    decay_rate: float = 2e-4
    ramp_steps: int = 1000

    name: ClassVar[str] = "ast"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["ast"]

    distillation_share: ClassVar[float | None] = 2 / 3

    @classmethod
    def options_for(cls, steps: int) -> dict[str, Any]:
        return {"ramp_steps": steps // 2}  # assumed

    def __post_init__(self) -> None:
        PeriodicMethod.__post_init__(self)
        self.require(self.score in ("magnitude", "wanda"), "score", "magnitude, wanda")

    def renew(self, site: Site, w: Tensor) -> None:
        energy = site.held.get("input_energy")
        site.held = {}
        if site.ff:
            score = w if energy is None or not energy.any() else w.abs() * _input_norm(energy, site, w)
            site.held["mask"] = mask(score, site.ff, site.cin_axis)
            if self.score == "wanda":
                channels = w.shape[site.cin_axis] * site.groups
                site.held["input_energy"] = torch.zeros(channels, device=w.device)

    def observe(self, site: Site, x: Tensor, channel_axis: int) -> None:
        if "input_energy" in site.held:
            channels_first = x.movedim(channel_axis, 0).flatten(1)
            site.held["input_energy"].add_(channels_first.float().square().sum(1))

    def forward_weight(self, site: Site, w: Tensor) -> Tensor:
        return w.masked_fill(~site.held["mask"], 0) if site.ff else w

    def before_step(self, site: Site, w: Tensor, w_ff: Tensor, grad: Tensor, update: Update) -> None:
        if site.ff:
            rate = self.decay_rate * min(1.0, site.step / max(1, self.ramp_steps))
            w.sub_(w - w_ff, alpha=update.lr * rate)


def _input_norm(energy: Tensor, site: Site, w: Tensor) -> Tensor:
    """L2 norm of the input channel that each entry of `w` is multiplied with; broadcasts with `w`."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(energy)
    norm = energy.sqrt().to(w.dtype).view(site.groups, -1)  # (groups, Cin of a group)
    if site.groups > 1:
        norm = norm.repeat_interleave(w.shape[site.cout_axis] // site.groups, 0)  # (Cout, Cin of a group)
    shape = [1] * w.dim()
    shape[site.cin_axis] = norm.shape[1]
    if site.groups > 1:
        shape[site.cout_axis] = norm.shape[0]
    return norm.view(shape)
