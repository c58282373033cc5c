"""The constants of the model, read from `operators.yaml`: rows with values, status and source."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from codesign.resources.usage import RESOURCES, Range, Status, Usage
from codesign.strict_yaml import load, validate
from hw_models.block_specs import Spec

FILE = Path(__file__).parent / "operators.yaml"

Pair = tuple[NonNegativeFloat, NonNegativeFloat]
Shape = tuple[PositiveInt, PositiveInt]


class Constant(Spec):
    """Anything with a status and a source."""

    status: Status
    source: str = Field(min_length=1)

    @property
    def basis(self) -> frozenset[Status]:
        """The status as the basis of a usage."""
        return frozenset({self.status})


class Value(Constant):
    """One number."""

    value: PositiveInt


class Row(Constant):
    """Resources of one piece, [low, high] each."""

    lut: Pair = (0, 0)
    ff: Pair = (0, 0)
    dsp: Pair = (0, 0)
    bram36: Pair = (0, 0)
    uram288: Pair = (0, 0)

    @model_validator(mode="after")
    def _check_order(self) -> Row:
        for resource in RESOURCES:
            low, high = getattr(self, resource)
            if low > high:
                raise ValueError(f"{resource} is [{low}, {high}], expected [low, high]")
        return self

    @property
    def usage(self) -> Usage:
        """The row as a usage."""
        return Usage(*(Range(*getattr(self, resource)) for resource in RESOURCES), basis=self.basis)


class OperatorRow(Row):
    """A pipelined floating-point operator."""

    latency_cycles: PositiveInt

    def at_latency(self, latency_cycles: int) -> Usage:
        """Usage with a pipeline of this depth: a deeper one has at most proportionally more flip-flops."""
        low, high = self.ff
        deeper = Range(low, ceil(high * max(latency_cycles, self.latency_cycles) / self.latency_cycles))
        return Usage(Range(*self.lut), deeper, *(self.usage[r] for r in RESOURCES[2:]), basis=self.basis)


class Choice(Spec):
    """Which row of each operator an implementation uses, and why one would choose it."""

    multiplier: str
    adder: str
    reason: str


class Memory(Constant):
    """A memory block: the (depth, width) that it can take."""

    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)]

    def blocks(self, depth: int, width_bits: int) -> int:
        """Fewest blocks of one shape that hold `depth` words of `width_bits`, side by side and stacked."""
        return min(-(-depth // d) * -(-width_bits // w) for d, w in self.shapes)


class Memories(Spec):
    """Block memories of the device family."""

    bram36: Memory
    bram36_half: Memory
    uram288: Memory
    uram_data_bits: Value


class Fabric(Spec):
    """What LUTs can do."""

    mux_inputs_per_lut: Value
    small_mux_bits_per_lut: Value
    compare_bits_per_lut: Value
    shift_register_bits: Value
    ram_bits_per_lut: Value
    slice_luts: Value


class Curve(Constant):
    """Measured points (x, y), x ascending, y never falling."""

    points: Annotated[tuple[tuple[PositiveInt, NonNegativeInt], ...], Field(min_length=2)]

    def at(self, x: int) -> Fraction:
        """Linear between the points; beyond them the nearest segment goes on."""
        segments = list(pairwise(self.points))
        (x0, y0), (x1, y1) = next((s for s in segments if x <= s[1][0]), segments[-1])
        return y0 + Fraction((x - x0) * (y1 - y0), x1 - x0)


class Units(Spec):
    """What a unit's lane contains."""

    wuve_multiply_adds: Value
    vector_multiply_adds: Value
    function_multiply_adds: Value
    function_table_words: Value
    function_table_coefficients: Value
    dma_fifo_words: Value
    bank_word_bits: Value


class Tables(Spec):
    """The whole of `operators.yaml`."""

    implementations: dict[str, Choice]
    operators: dict[str, dict[str, OperatorRow]]
    pieces: dict[str, Row]
    units: Units
    fabric: Fabric
    mux_16bit_luts: Curve
    memories: Memories


@lru_cache(maxsize=1)
def tables() -> Tables:
    """The packaged constants."""
    return validate(load(FILE), Tables)
