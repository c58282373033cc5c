"""Figures of energy tables: a value or range with unit, node, source, and how well founded it is.

- `measured`: obtained by running a published tool or circuit;
- `published`: read in the source that is named;
- `derived`: arithmetic on such figures, stated with them;
- `memory`: quoted from memory, the source was not at hand;
- `assumed`: a judgement of this project.

The status is that of the nominal value; the source says where lower and upper values come from if they differ.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from codesign.energy.ranges import Range
from codesign.spec_errors import got
from hw_models.block_specs import Spec

STATUSES = ("imported", "measured", "published", "derived", "memory", "assumed")
"""From the best founded to the least; `imported` figures, from a user's ERT, come without one."""

Status = Literal["measured", "published", "derived", "memory", "assumed"]


def weakest(*statuses: str) -> str:
    """Status of what follows from figures of these statuses."""
    return max(statuses, key=STATUSES.index)


def _range(value: Any) -> Range:
    """A number, or [low, nominal, high]. Raises ValueError, which pydantic reports with the location."""
    numbers = value if isinstance(value, list) else [value] * 3
    if len(numbers) != 3 or any(type(number) not in (int, float) for number in numbers):
        raise ValueError(f"got {got(value)}, expected a number or a list [low, nominal, high]")
    if not 0 <= numbers[0] <= numbers[1] <= numbers[2] < 1e15:
        raise ValueError(f"got {numbers}, expected 0 <= low <= nominal <= high < 1e15")
    return Range(*map(float, numbers))


class Figure(Spec):
    """A figure with where it comes from; subclasses fix the unit."""

    value: Annotated[Range, PlainValidator(_range)] = Field(description="The value, or [low, nominal, high].")
    unit: str = Field(description="Unit of the value.")
    node: str = Field(max_length=100, description="Process node or device that the value holds for.")
    status: Status = Field(description="How well founded the nominal value is.")
    source: str = Field(min_length=1, max_length=1000, description="Where the value comes from.")


class Energy(Figure):
    """Energy of one action."""

    unit: Literal["pJ"]


class EnergyPerBit(Figure):
    """Energy of an action on one bit."""

    unit: Literal["pJ/bit"]


class Power(Figure):
    """A power."""

    unit: Literal["W"]


class Ratio(Figure):
    """A factor."""

    unit: Literal["1"]
