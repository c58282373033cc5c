"""The reference realisation of N:M, against hand-worked bytes and an oracle of Python lists and `sorted`."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codesign.errors import FormatError
from codesign.nm import reference
from codesign.nm.format import NM

Array = NDArray[Any]

RATIOS = [NM(1, 2), NM(2, 4), NM(1, 3), NM(5, 6), NM(2, 8), NM(2, 16), NM(8, 32), NM(4, 4), NM(1, 1)]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
# the leading 16 bits of 1, infinity and the quiet NaN
LEADING_BITS = {
    "float16": (0x3C00, 0x7C00, 0x7E00),
    "float32": (0x3F80, 0x7F80, 0x7FC0),
    "float64": (0x3FF0, 0x7FF0, 0x7FF8),
}


def bits(w: Array) -> Array:
    """Bit patterns, so that NaN equals itself and -0 differs from +0."""
    return np.ascontiguousarray(w).view(f"u{w.dtype.itemsize}")


def special_patterns(dtype: np.dtype[Any]) -> list[int]:
    """Zeros, extremes, and for floats 1, infinity, NaN payloads and subnormals; either sign."""
    width = 8 * dtype.itemsize
    magnitudes = [0, 1, 2 ** (width - 1) - 1]
    for leading in LEADING_BITS.get(dtype.name, ()):
        magnitudes += [leading << (width - 16), (leading << (width - 16)) + 1]
    return [sign << (width - 1) | magnitude for sign in (0, 1) for magnitude in magnitudes]


@st.composite
def tensors(draw: st.DrawFn) -> tuple[Array, NM, int]:
    """A tensor of any rank and type with many ties and special values, a ratio and a legal axis."""
    nm = draw(st.sampled_from(RATIOS))
    dtype = np.dtype(draw(st.sampled_from(FLOATS + INTEGERS)))
    shape = draw(st.lists(st.integers(1, 3), max_size=3))
    axis = draw(st.integers(0, len(shape)))
    shape.insert(axis, nm.m * draw(st.integers(0, 2)))
    patterns = st.sampled_from(special_patterns(dtype)) | st.integers(0, 2 ** (8 * dtype.itemsize) - 1)
    pool = np.array(draw(st.lists(patterns, min_size=1, max_size=40)), f"u{dtype.itemsize}")
    w = np.random.default_rng(draw(st.integers(0, 2**32))).choice(pool, shape).view(dtype)
    return w, nm, axis - draw(st.sampled_from([0, w.ndim]))


def oracle_mask(w: Array, nm: NM, axis: int) -> Array:
    """Group by group with Python numbers: NaN first, then the larger magnitude, then the lower index."""
    lines = np.moveaxis(w, axis, -1)
    keep = np.zeros(lines.shape, bool)
    for vector in np.ndindex(lines.shape[:-1]):
        line = lines[vector].tolist()
        for start in range(0, len(line), nm.m):
            members = range(start, start + nm.m)
            ranked = sorted(
                members, key=lambda i: (0, 0, i) if math.isnan(line[i]) else (1, -abs(line[i]), i)
            )
            for i in ranked[: nm.n]:
                keep[(*vector, i)] = True
    return np.moveaxis(keep, -1, axis)


def oracle_index_stream(kept: Array, nm: NM, axis: int) -> bytes:
    """One large Python integer, written as little-endian bytes."""
    lines = np.moveaxis(kept, axis, -1)
    stream = position = 0
    for vector in np.ndindex(lines.shape[:-1]):
        for i in np.flatnonzero(lines[vector]).tolist():
            stream |= (i % nm.m) << position
            position += math.ceil(math.log2(nm.m))
    return b"" if nm.n == nm.m else stream.to_bytes(math.ceil(position / 8), "little")


@given(tensors())
@settings(deadline=None)
def test_mask_agrees_with_the_oracle(case: tuple[Array, NM, int]) -> None:
    w, nm, axis = case
    kept = reference.mask(w, nm, axis)
    np.testing.assert_array_equal(kept, oracle_mask(w, nm, axis))
    grouped = np.moveaxis(kept, axis, -1).reshape(-1, nm.m)
    assert (grouped.sum(-1) == nm.n).all()


@given(tensors())
@settings(deadline=None)
def test_prune_keeps_bits_and_clears_the_rest(case: tuple[Array, NM, int]) -> None:
    w, nm, axis = case
    pruned = reference.prune(w, nm, axis)
    assert pruned.dtype == w.dtype
    np.testing.assert_array_equal(bits(pruned), bits(w) * oracle_mask(w, nm, axis))  # +0 is the pattern 0
    np.testing.assert_array_equal(bits(reference.prune(pruned, nm, axis)), bits(pruned))


@given(tensors())
@settings(deadline=None)
def test_packed_streams_hold_what_the_format_says(case: tuple[Array, NM, int]) -> None:
    w, nm, axis = case
    kept = oracle_mask(w, nm, axis)
    compact = reference.pack(w, nm, axis)
    assert compact.index_stream.tobytes() == oracle_index_stream(kept, nm, axis)
    values = np.moveaxis(w, axis, -1)[
        np.moveaxis(kept, axis, -1)
    ]  # C order: ascending index within each group
    assert compact.values.tobytes() == values.tobytes()


@given(tensors())
@settings(deadline=None)
def test_unpack_inverts_pack(case: tuple[Array, NM, int]) -> None:
    w, nm, axis = case
    dense = reference.unpack(reference.pack(w, nm, axis))
    assert (dense.dtype, dense.shape) == (w.dtype, w.shape)
    np.testing.assert_array_equal(bits(dense), bits(reference.prune(w, nm, axis)))


@given(tensors())
@settings(deadline=None)
def test_sizes_are_those_of_the_arrays(case: tuple[Array, NM, int]) -> None:
    w, nm, axis = case
    compact = reference.pack(w, nm, axis)
    k, value_bits = w.shape[axis], 8 * w.dtype.itemsize
    vectors = math.prod(np.delete(w.shape, axis).tolist())
    assert nm.value_bytes(k, vectors, value_bits) == compact.values.nbytes
    assert nm.index_bytes(k, vectors) == compact.index_stream.nbytes
    assert nm.compact_bytes(k, vectors, value_bits) == compact.values.nbytes + compact.index_stream.nbytes


@given(tensors(), st.data())
@settings(deadline=None)
def test_other_axes_may_be_permuted(case: tuple[Array, NM, int], data: st.DataObject) -> None:
    w, nm, axis = case
    order = data.draw(st.permutations(range(w.ndim)))
    axis_after = order.index(axis % w.ndim)
    after = reference.prune(w.transpose(order), nm, axis_after)
    np.testing.assert_array_equal(bits(after), bits(reference.prune(w, nm, axis).transpose(order)))


@given(tensors())
@settings(deadline=None)
def test_memory_order_does_not_matter(case: tuple[Array, NM, int]) -> None:
    w, nm, axis = case
    strided = np.zeros((*w.shape, 2), w.dtype)[..., 1]
    strided[...] = w
    expected = reference.pack(w, nm, axis)
    for same in (np.asfortranarray(w), strided):
        compact = reference.pack(same, nm, axis)
        assert compact.values.tobytes() == expected.values.tobytes()
        assert compact.index_stream.tobytes() == expected.index_stream.tobytes()


def test_hand_packed_bytes() -> None:
    w = np.array([[1, -3, 2, 0], [0, 5, 0, -5]], np.float16)
    compact = reference.pack(w, NM(2, 4), axis=1)
    assert reference.indices(compact).tolist() == [[[1, 2]], [[1, 3]]]
    assert compact.values.tolist() == [[[-3, 2]], [[5, -5]]]
    # 2-bit indices 1, 2, 1, 3, the first in the lowest bits: 0b11_01_10_01
    assert compact.index_stream.tolist() == [0b11_01_10_01]


def test_indices_cross_bytes_and_end_padding_is_zero() -> None:
    w = np.zeros(24, np.float32)
    w[[6, 7, 8 + 1, 8 + 5, 16 + 0, 16 + 7]] = 1
    # 3-bit indices 6, 7 | 1, 5 | 0, 7 from the lowest bit: 0b111_000_101_001_111_110 = 0x03_8A_7E
    assert reference.pack(w, NM(2, 8), axis=0).index_stream.tolist() == [0x7E, 0x8A, 0x03]


@pytest.mark.parametrize(
    ("group", "kept"),
    [
        ([1, -1, 1, 1], [0, 1]),  # ties keep the lowest index, whatever the sign
        ([0, 0, 0, 0], [0, 1]),
        ([0, 0, 0, 3], [0, 3]),  # fewer non-zeros than N: the first zero is stored
        ([math.inf, 9, math.nan, -math.inf], [0, 2]),  # NaN above infinity; infinities tie
        ([math.nan, -math.nan, math.nan, math.inf], [0, 1]),
        ([2.0**-149, -(2.0**-148), 0, 0], [0, 1]),  # subnormals are not flushed
    ],
)
def test_selection_rule(group: list[float], kept: list[int]) -> None:
    w = np.array(group, np.float32)
    assert np.flatnonzero(reference.mask(w, NM(2, 4), axis=0)).tolist() == kept


def test_signed_zeros_tie_and_a_kept_one_keeps_its_sign() -> None:
    for w in (np.array([-0.0, 0.0]), np.array([0.0, -0.0])):
        assert reference.mask(w, NM(1, 2), axis=0).tolist() == [True, False]
    pruned = reference.prune(np.array([-0.0, -0.0, 5.0, -1.0]), NM(2, 4), axis=0)
    assert np.signbit(pruned).tolist() == [False, False, False, True]  # pruned -0 becomes +0
    pruned = reference.prune(np.array([-0.0, -0.0, 5.0, 0.0]), NM(2, 4), axis=0)
    assert np.signbit(pruned).tolist() == [True, False, False, False]


def test_bfloat16_agrees_with_its_exact_widening() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    patterns = np.random.default_rng(1).permutation(np.arange(2**16, dtype=np.uint16))
    widened = (patterns.astype(np.uint32) << 16).view(np.float32)  # bfloat16 is the upper half of float32
    w, nm = patterns.view(ml_dtypes.bfloat16), NM(2, 8)
    np.testing.assert_array_equal(reference.mask(w, nm, 0), reference.mask(widened, nm, 0))
    np.testing.assert_array_equal(
        bits(reference.unpack(reference.pack(w, nm, 0))), patterns * reference.mask(w, nm, 0)
    )


def test_convolution_groups_lie_along_the_named_channels() -> None:
    w = np.random.default_rng(7).standard_normal((16, 8, 3, 3)).astype(np.float16)  # (O, I, kh, kw)
    forward = reference.mask(w, NM(2, 8), axis=1)
    assert (forward.sum(1) == 2).all()  # of 8 input channels, for each filter and kernel position
    backward = reference.mask(w, NM(2, 8), axis=0)
    assert (backward.reshape(2, 8, 8, 3, 3).sum(1) == 2).all()  # of 8 neighbouring output channels
    for o, kh, kw in product(range(16), range(3), range(3)):
        kept = np.flatnonzero(forward[o, :, kh, kw])
        assert set(kept) == set(np.abs(w[o, :, kh, kw]).argsort()[-2:])


def test_streams_do_not_depend_on_folding_kernel_positions() -> None:
    w = np.random.default_rng(3).standard_normal((5, 8, 3, 3)).astype(np.float16)  # (O, I, kh, kw)
    folded = w.transpose(0, 2, 3, 1).reshape(5, 3 * 3 * 8)  # channels innermost
    conv, gemm = reference.pack(w, NM(2, 8), axis=1), reference.pack(folded, NM(2, 8), axis=1)
    assert conv.values.tobytes() == gemm.values.tobytes()
    assert conv.index_stream.tobytes() == gemm.index_stream.tobytes()


@pytest.mark.parametrize("nm", RATIOS)
@pytest.mark.parametrize("length", [0, 1, 3, 31, 33])
def test_padding_extends_by_zeros_that_lose_to_entries(nm: NM, length: int) -> None:
    w = -np.zeros((2, length, 3), np.float32)  # even a negative zero is kept before padding
    padded = reference.pad(w, nm, axis=-2)
    assert padded.shape == (2, nm.padded(length), 3)
    np.testing.assert_array_equal(bits(padded[:, :length]), bits(w))
    assert not bits(padded[:, length:]).any()
    tail = length % nm.m
    if tail:
        assert (reference.mask(padded, nm, axis=1)[:, length - tail : length].sum(1) == min(tail, nm.n)).all()


@pytest.mark.parametrize("operation", [reference.mask, reference.prune, reference.pack])
def test_ragged_length_is_refused(operation: Any) -> None:
    with pytest.raises(
        FormatError, match=r"N:M ratio 2:8: reduction length 12: expected a multiple of M = 8"
    ):
        operation(np.ones((8, 12)), NM(2, 8), 1)


@pytest.mark.parametrize("operation", [reference.mask, reference.prune, reference.pack, reference.pad])
@pytest.mark.parametrize(("shape", "axis"), [((8, 8), 2), ((8, 8), -3), ((), 0)])
def test_wrong_axis_is_refused(operation: Any, shape: tuple[int, ...], axis: int) -> None:
    with pytest.raises(
        FormatError, match=rf"reduction axis {axis}: expected .* for a tensor of rank {len(shape)}"
    ):
        operation(np.ones(shape), NM(2, 8), axis)


@pytest.mark.parametrize("dtype", ["bool", "complex64", ">f4", ">i4", "longdouble", "object", "S4"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(
        FormatError, match=r"N:M tensor of type .*: expected float16, bfloat16, float32, float64"
    ):
        reference.prune(np.zeros(8, dtype), NM(2, 8), 0)


def compact_with(indices: list[int], nm: NM, width: int) -> reference.Compact:
    """One vector whose index stream holds `indices` of `width` bits, right or wrong."""
    stream = sum(index << place * width for place, index in enumerate(indices))
    groups = len(indices) // nm.n
    data = np.frombuffer(stream.to_bytes(-(-len(indices) * width // 8), "little"), np.uint8)
    return reference.Compact(np.ones((1, groups, nm.n), np.float16), data, (1, groups * nm.m), 1, nm)


def test_a_legal_stream_from_outside_is_read() -> None:
    compact = compact_with([0, 5, 1, 2], NM(2, 6), width=3)
    assert reference.unpack(compact).tolist() == [[1, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 5, 1, 6], r"index 6: expected less than M = 6"),
        ([7, 7, 1, 2], r"index 7: expected less than M = 6"),
        ([0, 5, 2, 1], r"indices \[2, 1\] of vector 0, group 1: expected ascending"),
        ([3, 3, 1, 2], r"indices \[3, 3\] of vector 0, group 0: expected ascending"),
    ],
)
def test_corrupt_indices_are_refused(indices: list[int], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        reference.unpack(compact_with(indices, NM(2, 6), width=3))


@pytest.mark.parametrize("nm", [NM(2, 6), NM(6, 6)])
def test_streams_of_wrong_shape_are_refused(nm: NM) -> None:
    good = reference.pack(np.ones((3, 12), np.float16), nm, 1)
    longer = np.append(good.index_stream, np.uint8(0))
    with pytest.raises(
        FormatError, match=r"index stream of shape .*: expected \(\d,\) of uint8; pack it again"
    ):
        reference.unpack(replace(good, index_stream=longer))
    with pytest.raises(FormatError, match=r"values of shape \(3, 1, \d\): expected \(3, 2, \d\)"):
        reference.unpack(replace(good, values=good.values[:, :1]))
    with pytest.raises(FormatError, match=r"reduction axis 2: expected"):
        reference.unpack(replace(good, axis=2))
    with pytest.raises(FormatError, match=r"reduction length 13: expected a multiple"):
        reference.unpack(replace(good, shape=(3, 13)))


def test_truncated_or_miscast_streams_are_refused() -> None:
    good = reference.pack(np.ones((3, 12), np.float16), NM(2, 6), 1)  # 12 indices of 3 bits: 5 bytes
    streams: list[Array] = [
        good.index_stream[:-1],
        good.index_stream[np.newaxis],
        good.index_stream.astype(np.int16),
    ]
    for stream in streams:
        with pytest.raises(FormatError, match=r"index stream .*: expected \(5,\) of uint8"):
            reference.unpack(replace(good, index_stream=stream))


def test_padding_bits_must_be_zero() -> None:
    good = reference.pack(np.ones((3, 12), np.float16), NM(2, 6), 1)  # 36 bits used of 40
    stream = good.index_stream.copy()
    stream[-1] |= 0x10
    with pytest.raises(FormatError, match=r"padding bits at the end of the index stream are not zero"):
        reference.unpack(replace(good, index_stream=stream))
