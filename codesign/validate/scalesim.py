"""The bare array against SCALE-Sim 3.0.0: dense GEMMs, to the cycle, and N:M weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codesign.nm.format import NM
from codesign.validate.bare_array import Gemm, bare_cycles, bare_parts
from codesign.validate.row import Comparison, Row, beside, equal
from codesign.validate.scalesim_tool import NAME, Layer, cycles
from hw_models.timing import Dataflow, FillPolicy

TEXT = """\
Both count cycles of the array alone: one weight an element, one MAC a cycle, operators of one cycle, no memory
limit. Ours is `hw_models/timing.py` with these parameters; `codesign validate --gemm MxKxN --rows R --cols C
--dataflow ws|os --fill every_tile|hidden` prints it for any GEMM. SCALE-Sim reports the index of the last cycle, so
one is added to its figure.

**Fill policy.** SCALE-Sim lets every array tile pay its fill, load and drain, which is the policy `every_tile`: a
tile costs 2R + C + M - 2 cycles weight stationary, R + C + K - 2 output stationary. The packaged architectures use
`hidden`: registers are doubled, the next tile's weights shift in while the present one streams, and its activations
follow on its heels. Then only the first load and the last skew stay visible, and whatever a tile is too short to
hide (2R - 1 cycles of load and skew against M streamed rows). The longer the stream, the smaller the difference;
the rows show both ends.

**Output drain.** In SCALE-Sim the results of an output-stationary tile leave their elements at once. In our array
they shift out through their column, R cycles a tile, as wires allow; the register-stepped oracle and the RTL do the
same. The dense rows leave that drain out, the row "with drain" shows it.

**N:M.** SCALE-Sim (layer-wise, `OptimizedMapping: false`) treats N:M weights as a dense GEMM with K N/M rows: it
takes the *first* N of every M in *every* column, so one activation serves a whole row of elements. That count we
reproduce to the cycle. Masks of a trained network differ from column to column, so the elements of a row need
different activations: ours get the whole group and pick by index, and work through its N weights one after the
other. A tile then covers M times as many rows of B, streams N cycles a row, and waits N cycles an element for the
sum from above, so its MAC cycles are the same and its loads and skews are not: fewer tiles that take longer.
SCALE-Sim counts no cost for picking.
"""

ARRAYS = ((4, 4), (8, 16), (32, 32))
GEMMS = ((1, 1, 1), (7, 5, 3), (64, 96, 40), (33, 70, 129), (256, 128, 64))
SHORT_AND_LONG = GEMMS[-2:]
SPARSE = (NM(2, 4), NM(1, 4), NM(2, 8), NM(2, 16))
SPARSE_GEMM, SPARSE_ARRAY = (128, 256, 64), (16, 16)

EVERY_TILE, HIDDEN = FillPolicy.EVERY_TILE, FillPolicy.HIDDEN

FILL_NOTE = "fill policy hidden: tiles overlap"
DRAIN_NOTE = "sums shift out through the column, R cycles a tile"
GROUP_NOTE = "an element works through a group: other tiles, the same MACs"


def run(tools: Path) -> Iterator[Row]:
    """A row for each GEMM and dataflow, then the differences. Raises ToolMissingError."""
    for rows, cols in ARRAYS:
        for dataflow in Dataflow:
            theirs = cycles([Layer(gemm) for gemm in GEMMS], rows, cols, dataflow, tools)
            for gemm, reported in zip(GEMMS, theirs, strict=True):
                ours = bare_cycles(gemm, rows, cols, dataflow, EVERY_TILE)
                yield equal(_what(gemm, rows, cols, dataflow), NAME, reported, ours, "cycles")
                if gemm in SHORT_AND_LONG:
                    yield from _differences(gemm, reported, rows, cols, dataflow)
    yield from _sparse(tools)


def _differences(gemm: Gemm, reported: int, rows: int, cols: int, dataflow: Dataflow) -> Iterator[Row]:
    """The GEMM again with what SCALE-Sim leaves out."""
    what = _what(gemm, rows, cols, dataflow)
    if dataflow is Dataflow.OS:
        drained = bare_parts(gemm, rows, cols, dataflow, EVERY_TILE).total
        yield beside(f"{what}, with drain", NAME, reported, drained, "cycles", DRAIN_NOTE)
    hidden = bare_cycles(gemm, rows, cols, dataflow, HIDDEN)
    yield beside(f"{what}, hidden", NAME, reported, hidden, "cycles", FILL_NOTE)


def _sparse(tools: Path) -> Iterator[Row]:
    rows, cols = SPARSE_ARRAY
    m, k, n = SPARSE_GEMM
    theirs = cycles([Layer(SPARSE_GEMM, nm) for nm in SPARSE], rows, cols, Dataflow.WS, tools)
    for nm, reported in zip(SPARSE, theirs, strict=True):
        what = f"{_what(SPARSE_GEMM, rows, cols, Dataflow.WS)}, {nm}"
        compressed = bare_cycles((m, k * nm.n // nm.m, n), rows, cols, Dataflow.WS, EVERY_TILE)
        yield equal(f"{what}, one mask for all columns", NAME, reported, compressed, "cycles")
        grouped = bare_parts(SPARSE_GEMM, rows, cols, Dataflow.WS, EVERY_TILE, nm).total
        yield beside(f"{what}, a mask a column", NAME, reported, grouped, "cycles", GROUP_NOTE)


def _what(gemm: Gemm, rows: int, cols: int, dataflow: Dataflow) -> str:
    return f"GEMM {'x'.join(map(str, gemm))}, {dataflow.upper()} on {rows}x{cols}"


COMPARISON = Comparison("SCALE-Sim: cycles of the array", TEXT, run)
