"""Amounts of FPGA resources with their uncertainty, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

RESOURCES = ("lut", "ff", "dsp", "bram36", "uram288")


class Status(StrEnum):
    """How a constant is known, from the firmest to the weakest; `operators.yaml` says what each means."""

    MEASURED = "measured"
    PUBLISHED = "published"
    DERIVED = "derived"
    MEMORY = "memory"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Range:
    """An interval that holds the true amount; ends add up as if all constants erred the same way."""

    low: float = 0
    high: float = 0

    @classmethod
    def exactly(cls, amount: float) -> Range:
        """An amount without uncertainty."""
        return cls(amount, amount)

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    def __mul__(self, count: float) -> Range:
        return Range(self.low * count, self.high * count)

    def __truediv__(self, amount: float) -> Range:
        return Range(self.low / amount, self.high / amount)

    def __or__(self, other: Range) -> Range:
        """The smallest interval around both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


NONE = Range()


@dataclass(frozen=True, slots=True)
class Usage:
    """LUTs, flip-flops, DSP48E2 slices, 36 Kib block RAMs (in halves) and 288 Kib UltraRAMs (counts).

    `basis` holds the status of every constant that went in.
    """

    lut: Range = NONE
    ff: Range = NONE
    dsp: Range = NONE
    bram36: Range = NONE
    uram288: Range = NONE
    basis: frozenset[Status] = field(default_factory=frozenset, kw_only=True)

    def __getitem__(self, resource: str) -> Range:
        """One of `RESOURCES` by name."""
        amount: Range = getattr(self, resource)
        return amount

    def __add__(self, other: Usage) -> Usage:
        return _combine((self[r] + other[r] for r in RESOURCES), self.basis | other.basis)

    def __mul__(self, count: int) -> Usage:
        return _combine((self[r] * count for r in RESOURCES), self.basis if count else frozenset())

    def __or__(self, other: Usage) -> Usage:
        """Either of two implementations: the smallest intervals around both."""
        return _combine((self[r] | other[r] for r in RESOURCES), self.basis | other.basis)

    def as_dict(self) -> dict[str, Any]:
        """Plain data: [low, high] of each resource, and the basis, firmest first."""
        amounts = {r: [_plain(self[r].low), _plain(self[r].high)] for r in RESOURCES}
        return {**amounts, "basis": [str(status) for status in Status if status in self.basis]}


def total(usages: Iterable[Usage]) -> Usage:
    """The sum of all."""
    return sum(usages, Usage())


def _combine(amounts: Iterable[Range], basis: frozenset[Status]) -> Usage:
    return Usage(*amounts, basis=basis)


def _plain(amount: float) -> float:
    return int(amount) if amount == int(amount) else amount
