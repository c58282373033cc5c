"""FP16 and BF16 conversions: one contract for numpy, compiled loops and torch, against outside types."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codesign.compute import bounds, half_kernels, reference
from codesign.compute.formats import Format
from codesign.compute.threads import use_threads
from codesign.errors import FormatError

EVERY_PATTERN = np.arange(1 << 16, dtype=np.uint16)
OUTSIDE_TYPES = {Format.FP16: np.float16, Format.BF16: ml_dtypes.bfloat16}


class InTorch:
    """Torch's casts; only what becomes of a NaN is not torch's to say."""

    @staticmethod
    def widen(bits, fmt):
        return torch.from_numpy(bits.view(np.int16)).view(getattr(torch, fmt)).float().numpy()

    @staticmethod
    def narrow(values, fmt):
        bits = torch.from_numpy(values).to(getattr(torch, fmt)).view(torch.int16).numpy().view(np.uint16)
        return np.where(np.isnan(values), np.uint16(fmt.nan_bits), bits)


REALISATIONS = pytest.mark.parametrize("real", [reference, half_kernels, InTorch])
FORMATS = pytest.mark.parametrize("fmt", Format)


def expected_narrow(values, fmt):
    with np.errstate(all="ignore"):
        bits = values.astype(OUTSIDE_TYPES[fmt]).view(np.uint16)
    return np.where(np.isnan(values), np.uint16(fmt.nan_bits), bits)


def around(patterns, fmt):
    """float32 patterns of the numbers of `fmt`, of the ties between them, and of what lies next to either."""
    exact = patterns.view(OUTSIDE_TYPES[fmt]).astype(np.float32).view(np.uint32).astype(np.int64)
    ties = exact + (1 << 12 if fmt is Format.FP16 else 1 << 15)
    near = np.concatenate([center + step for center in (exact, ties) for step in (-1, 0, 1)])
    return np.clip(near, 0, (1 << 32) - 1).astype(np.uint32).view(np.float32)


@REALISATIONS
@FORMATS
class TestConversions:
    def test_widening_is_exact_for_every_pattern(self, real, fmt):
        wide = real.widen(EVERY_PATTERN, fmt)
        outside = EVERY_PATTERN.view(OUTSIDE_TYPES[fmt]).astype(np.float32)
        np.testing.assert_array_equal(wide, outside)
        numbers = ~np.isnan(outside)
        np.testing.assert_array_equal(wide.view(np.uint32)[numbers], outside.view(np.uint32)[numbers])

    def test_narrowing_rounds_to_nearest_even_around_every_pattern(self, real, fmt):
        values = around(EVERY_PATTERN, fmt)
        np.testing.assert_array_equal(real.narrow(values, fmt), expected_narrow(values, fmt))

    def test_narrowing_undoes_widening(self, real, fmt):
        numbers = EVERY_PATTERN[~np.isnan(EVERY_PATTERN.view(OUTSIDE_TYPES[fmt]).astype(np.float32))]
        np.testing.assert_array_equal(real.narrow(real.widen(numbers, fmt), fmt), numbers)

    def test_by_hand(self, real, fmt):
        # FP16: 65520 is half a step beyond the largest number, 2^-25 half of the smallest; 2049 is a tie
        # BF16: 257 and 259 are ties; 2^-134 is half of the smallest; the largest FP32 rounds up to infinity
        cases = {
            Format.FP16: {65519.0: 0x7BFF, 65520.0: 0x7C00, 2.0**-25: 0, 2.0**-24.9: 1, 2049.0: 0x6800, -0.0: 0x8000},
            Format.BF16: {257.0: 0x4380, 259.0: 0x4382, 2.0**-134: 0, 3.4028235e38: 0x7F80, -np.inf: 0xFF80},
        }[fmt]  # fmt: skip
        values = np.array(list(cases), np.float32)
        assert real.narrow(values, fmt).tolist() == list(cases.values())

    @given(values=hnp.arrays(np.uint32, st.integers(0, 70)))
    @settings(deadline=None, max_examples=50)
    def test_any_float32(self, real, fmt, values):
        values = values.view(np.float32)
        narrowed = real.narrow(values, fmt)
        np.testing.assert_array_equal(narrowed, expected_narrow(values, fmt))
        finite = np.isfinite(values)
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(real.widen(narrowed, fmt).astype(np.float64) - values)[finite]
        assert (error <= bounds.rounding_bound(values, fmt)[finite]).all()


@pytest.mark.parametrize("real", [reference, half_kernels])
def test_numbers_of_numpy_types_and_any_memory_order(real):
    halves = np.arange(24, dtype=np.float16).reshape(4, 6)
    for view in (halves, halves.T, halves[:, ::2], halves[0, 0], halves[:0]):
        wide = real.widen(view, Format.FP16)
        np.testing.assert_array_equal(wide, view.astype(np.float32))
        np.testing.assert_array_equal(real.narrow(wide, Format.FP16), view.view(np.uint16))
    brains = np.arange(5).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(real.widen(brains, Format.BF16), [0, 1, 2, 3, 4])


def test_several_threads_give_the_same():
    values = np.random.default_rng(0).standard_normal(1_000_003).astype(np.float32)
    with use_threads(5):
        bits = half_kernels.narrow(values, Format.FP16)
    np.testing.assert_array_equal(bits.view(np.float16), values.astype(np.float16))


@pytest.mark.parametrize("real", [reference, half_kernels])
def test_refusals(real):
    with pytest.raises(FormatError, match="type float16: expected bfloat16, or their bit patterns as uint16"):
        real.widen(np.zeros(3, np.float16), Format.BF16)
    with pytest.raises(FormatError, match="type float64: expected float32"):
        real.narrow(np.zeros(3), Format.FP16)
