"""Unbiased N:M pruning of gradients with minimal variance (Chmiel et al., "Minimum Variance Unbiased N:M Sparsity
for the Neural Gradients", ICLR 2023).

An estimate that keeps entry a_i with probability p_i as a_i / p_i is unbiased, and its variance sums to
sum a_i^2 (1 / p_i - 1). Under sum p_i = N and p_i <= 1 that is least for p_i proportional to |a_i|, entries that
would exceed 1 being kept for certain. For 1:2 this is the paper's p_i = |a_i| / (|a_1| + |a_2|). Any draw of N
entries with these marginal probabilities attains it; systematic sampling is one: a comb of unit pitch with a random
offset is laid over the stacked probabilities and picks where its teeth fall.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from codesign.nm.format import NM


def prune_unbiased(g: Tensor, nm: NM, channel_axis: int) -> Tensor:
    """Random tensor with expectation `g` (shape and type too), at most N of M entries not zero.

    Groups lie along the reduction axis of the weight gradient: all axes but `channel_axis`, flattened in order and
    padded with zeros at the end. Draws from torch's default generator.
    """
    if nm.dense:
        return g
    vectors = g.movedim(channel_axis, 0)
    flat = vectors.flatten(1).float()  # (Cout, samples x pixels)
    padded = functional.pad(flat, (0, nm.padded(flat.shape[1]) - flat.shape[1]))
    estimate = _sample(padded.unflatten(1, (-1, nm.m)), nm.n)  # type: ignore[no-untyped-call]
    pruned = estimate.flatten(1)[:, : flat.shape[1]].reshape(vectors.shape)
    return pruned.movedim(0, channel_axis).to(g.dtype)


def keep_probabilities(a: Tensor, n: int) -> Tensor:
    """p_i for groups along the last axis; entries of value 0 have p_i = 0. Sums to N, or to the entries not zero."""
    magnitude = a.abs()
    certain = torch.zeros_like(a, dtype=torch.bool)
    for _ in range(n):  # each round finds at least one more entry that is certain, or none is left
        rest = magnitude.masked_fill(certain, 0)
        free = n - certain.sum(-1, keepdim=True)
        total = rest.sum(-1, keepdim=True)
        certain = certain | ((magnitude * free >= total) & (magnitude > 0))
    rest = magnitude.masked_fill(certain, 0)
    free = (n - certain.sum(-1, keepdim=True)).clamp(min=0)
    share = rest * free / rest.sum(-1, keepdim=True).clamp(min=torch.finfo(a.dtype).tiny)
    return torch.where(certain, torch.ones_like(share), share)


def _sample(a: Tensor, n: int) -> Tensor:
    p = keep_probabilities(a, n)
    certain = p >= 1
    stacked = p.masked_fill(certain, 0).cumsum(-1)
    offset = torch.rand(a.shape[:-1], device=a.device, dtype=a.dtype).unsqueeze(-1)
    free = n - certain.sum(-1, keepdim=True)
    teeth = (stacked + offset).floor().minimum(free)  # rounding must not add a tooth
    before = torch.cat([torch.zeros_like(teeth[..., :1]), teeth[..., :-1]], -1)
    picked = certain | (teeth > before) | a.isnan()
    return torch.where(picked, a / p.clamp(min=torch.finfo(a.dtype).tiny), torch.zeros_like(a))
