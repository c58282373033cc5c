"""Multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.graph import Graph


def mlp(batch: int, *, sizes: Sequence[int] = (784, 1024, 1024, 10)) -> Graph:
    """Linear layers from `sizes[0]` inputs to `sizes[-1]` classes, ReLU between them."""
    g = Graph(batch)
    x = g.input(sizes[0])
    for index, size in enumerate(sizes[1:], start=1):
        if index > 1:
            x = g.vector("relu", x, f"{x.name}.relu")
        x = g.linear(x, size, f"fc{index}")
    g.loss(x)
    return g
