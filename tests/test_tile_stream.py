"""The repetitions that a tile stream reports, against a naive search through the blocks of random steps."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import blocks

from hw_models.program import Block, Run, Step, Tile, Unit
from hw_models.tile_stream import NOWHERE, Region, TileStream

X, Y = Tile(load_a_bytes=1), Tile(load_a_bytes=2)


def _step(*parts: Block) -> Step:
    return Step("step", "layer", "ff", "random", Unit.VECTOR, (), parts)


def _stretches(step: Step) -> list[Region]:
    """Every run and every repeated block, with its place in the sequence. A repeated run is one long run."""
    found, start = [], 0
    for block in step.blocks:
        end = start + block.body_tiles * block.repeats
        if block.repeats > 1 or len(block.runs) == 1:
            found.append(Region(start, end, block.body_tiles if len(block.runs) > 1 else 1))
        while len(block.runs) > 1 and start < end:
            for run in block.runs:
                found.append(Region(start, start + run.count, 1))
                start += run.count
        start = end
    return found


@st.composite
def _steps_and_positions(draw: Any) -> tuple[Step, int, int]:
    step = _step(*draw(st.lists(blocks(Unit.VECTOR, most_tiles=60), min_size=1, max_size=4)))
    first = draw(st.integers(0, step.tiles - 1))
    reach = draw(st.sampled_from((0, 1, 2, 8, step.tiles)))
    return step, first, min(step.tiles - 1, first + draw(st.integers(0, reach)))


@settings(deadline=None, max_examples=400)
@given(_steps_and_positions())
def test_a_region_is_the_smallest_true_repetition(case: tuple[Step, int, int]) -> None:
    step, first, last = case
    stream = TileStream(step)
    around = [region for region in _stretches(step) if region.start <= first and last < region.end]
    smallest = min(around, key=lambda region: region.end - region.start, default=NOWHERE)
    region = stream.region(first, last)
    assert region == smallest
    assert stream.tiles == step.sequence()
    for position in range(region.start, region.end - region.period):
        assert stream.tiles[position] is stream.tiles[position + region.period]


def test_regions_by_hand() -> None:
    # Positions:  0 1 2 | 3 4 | 5 6 | 7 8 | 9
    # Tiles:      X X X | Y X | Y X | Y X | Y
    one_run = Block((Run(X, 1),), repeats=3)
    stream = TileStream(_step(one_run, Block((Run(Y, 1), Run(X, 1)), repeats=3), Block((Run(Y, 1),))))
    assert stream.region(0, 2) == Region(0, 3, 1)
    assert stream.region(2, 3) == NOWHERE  # across blocks
    assert stream.region(4, 4) == Region(4, 5, 1)
    assert stream.region(4, 5) == stream.region(3, 8) == Region(3, 9, 2)
    assert stream.region(9, 9) == Region(9, 10, 1)
    # Two runs that never repeat: nothing holds both.
    stream = TileStream(_step(Block((Run(X, 2), Run(Y, 5)))))
    assert stream.region(0, 1) == Region(0, 2, 1)
    assert stream.region(2, 6) == Region(2, 7, 1)
    assert stream.region(1, 2) == NOWHERE
