"""A figure with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """A lower, a nominal and an upper value of one quantity."""

    low: float
    nominal: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Range:
        """A value without stated uncertainty."""
        return cls(value, value, value)

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.nominal + other.nominal, self.high + other.high)

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.nominal * factor, self.high * factor)

    def __truediv__(self, divisor: float) -> Range:
        return Range(self.low / divisor, self.nominal / divisor, self.high / divisor)


ZERO = Range.exactly(0.0)
