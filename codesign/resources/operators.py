"""Floating-point operators in the implementation that one chooses, and the widths that an architecture needs."""

from __future__ import annotations

from codesign.errors import SpecError
from codesign.resources.tables import OperatorRow, tables
from codesign.resources.usage import Usage
from codesign.spec_errors import nearest, shorten


class Operators:
    """Multipliers, adders and conversions of one implementation.

    - `fabric`: own RTL, adders in LUTs.
    - `dsp`: own multipliers, adders on two DSPs. The default.
    - `vitis`: what Vitis HLS picks.

    `operators.yaml` gives the reason of each. Raises SpecError for any other.
    """

    def __init__(self, implementation: str) -> None:
        choices = tables().implementations
        if implementation not in choices:
            raise SpecError(
                f"no operators {shorten(repr(implementation))}{nearest(implementation, choices)}; "
                f"expected one of: {', '.join(choices)}"
            )
        self._choice = choices[implementation]

    def multiply(self, bits: int, latency_cycles: int = 1) -> Usage:
        """A multiplier of 16 or 32 bits, at least as deep as its table row."""
        return self._row(f"fp{bits}_mul", self._choice.multiplier).at_latency(latency_cycles)

    def add(self, bits: int, latency_cycles: int = 1) -> Usage:
        """An adder of 16 or 32 bits, at least as deep as its table row."""
        return self._row(f"fp{bits}_add", self._choice.adder).at_latency(latency_cycles)

    def multiply_add(self, bits: int) -> Usage:
        """A multiplier and an adder behind it."""
        return self.multiply(bits) + self.add(bits)

    def convert(self, from_bits: int, to_bits: int) -> Usage:
        """A conversion between formats; nothing if they are the same."""
        return Usage() if from_bits == to_bits else tables().pieces[f"fp{from_bits}_to_fp{to_bits}"].usage

    @staticmethod
    def _row(operator: str, implementation: str) -> OperatorRow:
        return tables().operators[operator][implementation]
