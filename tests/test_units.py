"""Unit conversions, against hand arithmetic and exact rational arithmetic."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign import units


@pytest.mark.parametrize(("bits", "expected"), [(0, 0), (1, 1), (8, 1), (9, 2), (72, 9), (36 * 1024, 4608)])
def test_bits_round_up_to_whole_bytes(bits: int, expected: int) -> None:
    assert units.bits_to_bytes(bits) == expected


@given(st.integers(0, 1 << 70))
def test_bytes_survive_the_way_through_bits(byte_count: int) -> None:
    assert units.bits_to_bytes(units.bytes_to_bits(byte_count)) == byte_count


def test_exact_takes_the_decimal_that_was_written() -> None:
    assert units.exact(0.8) == Fraction(4, 5)
    assert Fraction(0.8) != Fraction(4, 5)  # what the binary float would give
    assert units.exact(1e-5) == Fraction(1, 100_000)
    assert units.exact(7) == 7


def test_bandwidth_of_ddr4_2400() -> None:
    # One 64-bit channel: 2400e6 x 8 B = 19.2 GB/s; four of them at 80 %: 4 x 19.2 x 0.8 = 61.44 GB/s.
    assert units.bytes_per_second(2400, 64) == 19_200_000_000
    assert units.bytes_per_second(2400, 64, channels=4, efficiency=0.8) == 61_440_000_000


def test_transfer_at_an_inexact_ratio() -> None:
    # 61.44 GB/s at 200 MHz is 307.2 B a cycle: 307 B fit in one cycle, 308 B do not; 1536 B take 5 cycles exactly.
    ratio = units.cycles_per_byte(Fraction(61_440_000_000), 200_000_000)
    assert ratio == Fraction(5, 1536)
    cycles = {
        byte_count: units.transfer_cycles(byte_count, ratio) for byte_count in (0, 1, 307, 308, 1536, 1537)
    }
    assert cycles == {0: 0, 1: 1, 307: 1, 308: 2, 1536: 5, 1537: 6}


@settings(deadline=None)
@given(
    byte_count=st.integers(0, 1 << 60),
    rate_mtps=st.integers(1, 100_000),
    channels=st.integers(1, 64),
    efficiency_percent=st.integers(1, 100),
    clock_hz=st.integers(10**6, 5 * 10**9),
)
def test_transfer_never_loses_a_byte(
    byte_count: int, rate_mtps: int, channels: int, efficiency_percent: int, clock_hz: int
) -> None:
    bandwidth = units.bytes_per_second(rate_mtps, 64, channels, efficiency_percent / 100)
    assert bandwidth == Fraction(rate_mtps * 10**6 * 8 * channels * efficiency_percent, 100)
    cycles = units.transfer_cycles(byte_count, units.cycles_per_byte(bandwidth, clock_hz))
    assert cycles == math.ceil(byte_count * clock_hz / bandwidth)


@pytest.mark.parametrize(
    ("nanoseconds", "clock_hz", "expected"),
    [
        (0, 200_000_000, 0),
        (100, 200_000_000, 20),  # 5 ns a cycle
        (100.1, 200_000_000, 21),
        (122.2, 200_000_000, 25),  # 24.44
        (0.3, 10_000_000_000, 3),  # a float product would be 2.9999999999999996 or 3.0000000000000004
    ],
)
def test_nanoseconds_are_covered_by_whole_cycles(nanoseconds: float, clock_hz: int, expected: int) -> None:
    assert units.nanoseconds_to_cycles(nanoseconds, clock_hz) == expected


def test_conversions_for_readers() -> None:
    assert units.cycles_to_seconds(300_000_000, 200_000_000) == 1.5
    assert units.cycles_to_microseconds(200, 200_000_000) == 1.0
    assert units.picojoules_to_joules(2.5e12) == 2.5
    assert units.joules_to_picojoules(0.001) == 1e9
