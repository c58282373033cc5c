"""The only place where one unit becomes another.

Whatever ends in a cycle or byte count is exact: integers and `Fraction`, rounded up at the end, because part
of a cycle or byte occupies a whole one. Only what is shown to a reader (seconds, joules) is a float.
"""

from __future__ import annotations

from fractions import Fraction

_BITS_PER_BYTE = 8


def bits_to_bytes(bits: int) -> int:
    """Whole bytes that hold `bits`."""
    return -(-bits // _BITS_PER_BYTE)


def bytes_to_bits(byte_count: int) -> int:
    """Bits in `byte_count` bytes."""
    return byte_count * _BITS_PER_BYTE


def exact(value: float) -> Fraction:
    """The number that was written: 0.8 is 4/5, not the nearest binary fraction."""
    return Fraction(repr(value))


def bytes_per_second(rate_mtps: int, width_bits: int, channels: int = 1, efficiency: float = 1) -> Fraction:
    """Bandwidth of `channels` buses of `width_bits` at `rate_mtps` million transfers a second each."""
    bits_per_second = rate_mtps * 10**6 * width_bits * channels * exact(efficiency)
    return bits_per_second / _BITS_PER_BYTE


def cycles_per_byte(bandwidth_bytes_per_second: Fraction, clock_hz: int) -> Fraction:
    """Clock cycles in which one byte passes, as an exact ratio."""
    return clock_hz / bandwidth_bytes_per_second


def transfer_cycles(byte_count: int, ratio: Fraction) -> int:
    """Whole cycles in which `byte_count` bytes pass, at `ratio` cycles per byte."""
    return -(-byte_count * ratio.numerator // ratio.denominator)


def nanoseconds_to_cycles(nanoseconds: float, clock_hz: int) -> int:
    """Whole cycles that cover `nanoseconds`."""
    return -(-exact(nanoseconds) * clock_hz // 10**9)


def cycles_to_seconds(cycles: int, clock_hz: int) -> float:
    """Seconds that `cycles` take."""
    return cycles / clock_hz


def cycles_to_microseconds(cycles: int, clock_hz: int) -> float:
    """Microseconds that `cycles` take."""
    return cycles * 10**6 / clock_hz


def picojoules_to_joules(picojoules: float) -> float:
    """Joules in `picojoules`."""
    return picojoules / 10**12


def joules_to_picojoules(joules: float) -> float:
    """Picojoules in `joules`."""
    return joules * 10**12
