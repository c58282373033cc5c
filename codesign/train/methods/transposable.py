"""Transposable masks (Hubara et al., "Accelerated Sparse Neural Training: A Provable and Efficient Method to Find N:M
Transposable Masks", NeurIPS 2021): one mask that is N:M along both axes serves both passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from codesign.nm.format import NM
from codesign.train.methods.base import PeriodicMethod, Site
from workloads.ops import Role, Stage
from workloads.sparsity import COUPLED, METHODS


@dataclass(frozen=True, kw_only=True)
class Transposable(PeriodicMethod):
    """w_ff = w_bp = w under a mask that is renewed every `refresh_steps` steps.

    The mask is the paper's greedy 2-approximation: in each M x M block (and kernel position), entries are taken from
    the largest down as long as their row and their column hold fewer than N. Some rows may end up with less than N.
    """

    refresh_steps: int = 40

    name: ClassVar[str] = "transposable"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["transposable"]
    coupled: ClassVar[bool] = "transposable" in COUPLED

    def renew(self, site: Site, w: Tensor) -> None:
        site.held = {"mask": transposable_mask(w, site.ff)} if site.ff else {}

    def forward_weight(self, site: Site, w: Tensor) -> Tensor:
        return w.masked_fill(~site.held["mask"], 0) if site.ff else w


def transposable_mask(w: Tensor, nm: NM) -> Tensor:
    """Bool mask of `w`, at most N of M along axis 0 and along axis 1; both must be multiples of M.

    Ties are taken in the order of rows, then columns.
    """
    m = nm.m
    rows, columns, taps = w.shape[0], w.shape[1], w[0, 0].numel()
    tiled = w.detach().abs().reshape(rows // m, m, columns // m, m, taps).permute(0, 2, 4, 1, 3)
    blocks = tiled.reshape(-1, m * m)  # (blocks, M x M)
    kept = torch.zeros_like(blocks, dtype=torch.bool)
    in_row, in_column = (blocks.new_zeros((len(blocks), m), dtype=torch.int16) for _ in range(2))
    order = blocks.argsort(dim=1, descending=True, stable=True)
    for rank in range(m * m):
        entry = order[:, rank : rank + 1]
        row, column = entry // m, entry % m
        free = (in_row.gather(1, row) < nm.n) & (in_column.gather(1, column) < nm.n)
        kept.scatter_(1, entry, free)
        in_row.scatter_add_(1, row, free.short())
        in_column.scatter_add_(1, column, free.short())
    return kept.view(tiled.shape).permute(0, 3, 1, 4, 2).reshape(w.shape)
