"""What an accelerator executes: an ordered list of steps, each a repeated sequence of buffer-sized tiles.

A step belongs to one unit. Units run side by side, each executes its own steps in program order, and a step
starts loading once the steps it depends on have stored their results. Repetition is kept as run lengths
(`Block`), so a program stays small and its regularity stays visible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from hw_models.timing import Dataflow

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class Unit(StrEnum):
    """A unit that executes steps."""

    STCE = "stce"
    VECTOR = "vector"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class TileGemm:
    """The part of a GEMM that one tile computes: `i` x `k` times `k` x `j`, `count` times one after the other."""

    i: int
    k: int
    j: int
    count: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense products."""
        return self.i * self.k * self.j * self.count


@dataclass(frozen=True, slots=True)
class Tile:
    """One buffer-sized piece of work: load operands, compute, store the result.

    `load_a_bytes` and `load_b_bytes` are 0 when the operand is still in its buffer, `store_bytes` is 0 while
    partial sums stay on chip. `gemm` is the STCE's work; `work` is the vector unit's scalar operations or the
    parameters that WUVE updates. `sort_before_groups` and `sort_after_groups` pass through SORE before or
    after the computation.
    """

    load_a_bytes: int = 0
    load_b_bytes: int = 0
    store_bytes: int = 0
    gemm: TileGemm | None = None
    work: int = 0
    sort_before_groups: int = 0
    sort_after_groups: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """The same tile `count` times in a row."""

    tile: Tile
    count: int


@dataclass(frozen=True, slots=True)
class Block:
    """A sequence of runs, the whole `repeats` times in a row."""

    runs: tuple[Run, ...]
    repeats: int = 1

    @property
    def body_tiles(self) -> int:
        """Tiles of one repetition."""
        return sum(run.count for run in self.runs)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the offline scheduler chose for a GEMM, and what it expects of it.

    `order` names the buffer-level loops from the outside in; the reduction loop is always innermost, so partial
    sums never leave the chip. `together` whole products share a tile. `resident` lists operands that are read
    from DRAM exactly once. `transposed` says that the array computes Y^T because the sparse operand was A. Tile
    sizes are those of the first product of the operation, in the (possibly transposed) array's view.
    """

    dataflow: Dataflow
    order: str
    i: int
    k: int
    j: int
    together: int
    resident: tuple[str, ...]
    transposed: bool
    predicted_cycles: int
    predicted_array_cycles: int
    predicted_dram_cycles: int


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on one unit.

    `n` of `m` values of each group are multiplied (dense: n = m = the array's dense group). `sort_m` is the
    group size that SORE sorts, if the step sorts. `prefetch_b` says that operand B (a weight) may be loaded
    before the dependences of the step are met. `macs` counts the multiply-accumulates left after pruning,
    `dense_macs` those before; padding is in neither.
    """

    name: str
    layer: str
    stage: str
    kind: str
    unit: Unit
    deps: tuple[int, ...]
    blocks: tuple[Block, ...]
    n: int = 0
    m: int = 0
    sort_m: int = 0
    prefetch_b: bool = False
    macs: int = 0
    dense_macs: int = 0
    choice: Choice | None = None

    def tile_counts(self) -> Iterator[tuple[Tile, int]]:
        """Every distinct run's tile with the number of times that it is executed."""
        for block in self.blocks:
            for run in block.runs:
                yield run.tile, run.count * block.repeats

    def sequence(self) -> list[Tile]:
        """Every tile in execution order."""
        return [
            tile
            for block in self.blocks
            for tile in [tile for run in block.runs for tile in [run.tile] * run.count] * block.repeats
        ]

    @property
    def read_bytes(self) -> int:
        """Bytes that the step reads from DRAM."""
        return sum((tile.load_a_bytes + tile.load_b_bytes) * count for tile, count in self.tile_counts())

    @property
    def write_bytes(self) -> int:
        """Bytes that the step writes to DRAM."""
        return sum(tile.store_bytes * count for tile, count in self.tile_counts())

    @property
    def tiles(self) -> int:
        """Tiles that the step executes."""
        return sum(block.body_tiles * block.repeats for block in self.blocks)


@dataclass(frozen=True)
class Program:
    """The steps of one training iteration in issue order."""

    name: str
    batch: int
    method: str
    steps: tuple[Step, ...]

    def to_json(self) -> str:
        """Serialise; `from_json` is the inverse."""
        return _adapter().dump_json(self).decode()

    @staticmethod
    def from_json(text: str | bytes) -> Program:
        """Parse a serialised program. Raises pydantic.ValidationError."""
        return _adapter().validate_json(text)


@cache
def _adapter() -> TypeAdapter[Program]:
    from pydantic import TypeAdapter

    return TypeAdapter(Program)
