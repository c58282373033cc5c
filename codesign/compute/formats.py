"""The 16-bit storage formats FP16 and BF16. This text is normative.

Sixteen-bit numbers travel as their bit patterns, uint16, because numpy has no BF16 and numba no FP16. Operands are
*widened* to FP32 before they are used, results *narrowed* when they are stored:

- Widening is exact; a NaN stays a NaN.
- Narrowing rounds to nearest, ties to even, subnormals included. What reaches half a step beyond the largest finite
  number becomes infinity.
- Narrowing turns every NaN into the one `nan_bits`. Its sign and payload are nobody's promise: an invalid operation
  gives a negative NaN on x86 and a positive one on Arm and in FPGA cores.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import FormatError

Bits = NDArray[np.uint16]
Float32 = NDArray[np.float32]


class Format(StrEnum):
    """A 16-bit format, by its name in numpy and torch."""

    FP16 = "float16"
    BF16 = "bfloat16"

    @property
    def fraction_bits(self) -> int:
        """Stored bits of the significand."""
        return 10 if self is Format.FP16 else 7

    @property
    def exponent_bias(self) -> int:
        """What the stored exponent is above the true one."""
        return 15 if self is Format.FP16 else 127

    @property
    def nan_bits(self) -> int:
        """The quiet NaN without sign and payload."""
        return 0x7E00 if self is Format.FP16 else 0x7FC0

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of rounding to a normal number."""
        return 2.0 ** -(self.fraction_bits + 1)

    @property
    def overflow(self) -> float:
        """The smallest magnitude that becomes infinity."""
        return (2 - self.unit_roundoff) * 2.0**self.exponent_bias

    @property
    def smallest_subnormal(self) -> float:
        """Distance of the numbers around zero."""
        return 2.0 ** (1 - self.exponent_bias - self.fraction_bits)


def bits_of(values: NDArray[Any], fmt: Format) -> Bits:
    """The patterns of `values`, which are patterns already or numpy's own numbers of `fmt`. FormatError otherwise."""
    if values.dtype == np.uint16:
        return values
    if values.dtype.name == fmt:
        return values.view(np.uint16)
    raise FormatError(f"numbers of type {values.dtype}: expected {fmt}, or their bit patterns as uint16")


def float32_of(values: NDArray[Any]) -> Float32:
    """`values` if they are float32. Raises FormatError for another type."""
    if values.dtype != np.float32:
        raise FormatError(f"operand of type {values.dtype}: expected float32; widen 16-bit numbers first")
    return values
