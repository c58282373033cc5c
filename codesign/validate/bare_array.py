"""A GEMM on the bare dense array, which is what other simulators count: no memory, no pipelines, no groups.

One weight, one sum and one MAC a cycle in each processing element, operators of one cycle, ports of any width.
Under `every_tile` each array tile pays its load, fill and drain: with a tile of T streamed rows (WS) or a reduction
of T (OS) that is 2R + C + T - 2 and R + C + T - 2 cycles. Under `hidden` registers are doubled and only the first
load, the last fill and what a short tile cannot hide are left.

Everything comes from `hw_models.timing`, but for one thing. There the sums of an OS tile shift out through their
column, R cycles; here they leave their elements at once, because the others count no cycles for that.
"""

from __future__ import annotations

import re

from codesign.errors import SpecError
from codesign.nm.format import NM
from hw_models.timing import ArrayCycles, ArrayParams, Dataflow, FillPolicy, gemm_cycles

_GEMM = re.compile(r"([1-9]\d{0,7})x([1-9]\d{0,7})x([1-9]\d{0,7})")

DENSE = NM(1, 1)

_WIDE = 1 << 16
"""Port values a cycle: more than any group has."""

Gemm = tuple[int, int, int]
"""M, K, N: rows of the product, the reduction, columns of the product."""


def parse_gemm(text: str) -> Gemm:
    """MxKxN as numbers. Raises SpecError."""
    if not (match := _GEMM.fullmatch(text)):
        raise SpecError(
            f"--gemm {text[:40]!r}: expected MxKxN with sizes from 1 to 99999999, such as 64x128x32"
        )
    m, k, n = map(int, match.groups())
    return m, k, n


def bare_array(rows: int, cols: int, fill: FillPolicy) -> ArrayParams:
    """The array. Raises SpecError for a size below 1."""
    return ArrayParams(
        rows=rows,
        cols=cols,
        interleave_depth=1,
        multiplier_latency_cycles=0,
        accumulator_latency_cycles=1,
        activation_port_values=_WIDE,
        double_weights=True,
        double_accumulators=True,
        fill_policy=fill,
    )


def bare_parts(
    gemm: Gemm, rows: int, cols: int, dataflow: Dataflow, fill: FillPolicy, nm: NM = DENSE
) -> ArrayCycles:
    """Cycles of `hw_models.timing`: OS sums shift out, groups of N:M are worked through. Raises SpecError."""
    return gemm_cycles(bare_array(rows, cols, fill), dataflow, *gemm, nm.n, nm.m)


def bare_cycles(gemm: Gemm, rows: int, cols: int, dataflow: Dataflow, fill: FillPolicy) -> int:
    """Cycles until the last result is there. Raises SpecError."""
    parts = bare_parts(gemm, rows, cols, dataflow, fill)
    if dataflow is Dataflow.WS:
        return parts.total
    tiles = parts.mac // gemm[1]  # each issues K MACs
    fills = tiles if fill is FillPolicy.EVERY_TILE else 1
    return parts.mac + fills * (rows + cols - 2)
