"""A list of GEMMs without a network around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from workloads.graph import Graph


class RawGemm(NamedTuple):
    """`rows` x `inputs` times `inputs` x `outputs`; the batch is part of `rows`."""

    name: str
    rows: int
    inputs: int
    outputs: int


def raw_gemms(gemms: Sequence[RawGemm]) -> Graph:
    """Each GEMM as a linear layer without bias, one after the other; all of them have FF, BP, WU and an update.

    What lies between them is unknown, so it costs nothing, and there is no loss.
    """
    g = Graph(batch=1)
    x = g.input(trains=True)
    for gemm in gemms:
        x = g.linear(g.order(x, (gemm.rows, gemm.inputs)), gemm.outputs, gemm.name, bias=False)
    return g
