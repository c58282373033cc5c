"""The ratio N:M, its sizes and its magnitude keys, against hand arithmetic and a stream packed bit by bit."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codesign.errors import FormatError
from codesign.nm import reference
from codesign.nm.format import FLOAT_KEYS, NM

ROOT = Path(__file__).parent.parent

# ratio, bits of an index, bits of the indices of a group, bits of a group with 16-bit values
GROUP_BITS = [
    ("1:2", 1, 1, 17),  # 1 x (16 + 1)
    ("2:4", 2, 4, 36),  # 2 x (16 + 2)
    ("1:4", 2, 2, 18),  # 1 x (16 + 2)
    ("4:8", 3, 12, 76),  # 4 x (16 + 3)
    ("2:8", 3, 6, 38),  # 2 x (16 + 3)
    ("1:8", 3, 3, 19),  # 1 x (16 + 3)
    ("8:16", 4, 32, 160),  # 8 x (16 + 4)
    ("4:16", 4, 16, 80),  # 4 x (16 + 4)
    ("2:16", 4, 8, 40),  # 2 x (16 + 4)
    ("1:16", 4, 4, 20),  # 1 x (16 + 4)
    ("8:32", 5, 40, 168),  # 8 x (16 + 5)
    ("4:32", 5, 20, 84),  # 4 x (16 + 5)
    ("1:3", 2, 2, 18),  # M need not be a power of two: ceil(log2 3) = 2
    ("2:33", 6, 12, 44),  # 2 x (16 + 6)
    ("8:8", 3, 0, 128),  # dense: an index would have 3 bits, none is stored
    ("1:1", 0, 0, 16),
]

ratios = st.integers(1, 40).flatmap(lambda m: st.builds(NM, st.integers(1, m), st.just(m)))


@pytest.mark.parametrize(("text", "index_bits", "group_index_bits", "group_bits"), GROUP_BITS)
def test_bits_of_one_group(text: str, index_bits: int, group_index_bits: int, group_bits: int) -> None:
    nm = NM.parse(text)
    assert (nm.index_bits, nm.group_index_bits, nm.group_bits(16)) == (
        index_bits,
        group_index_bits,
        group_bits,
    )


def test_sizes_of_a_resnet_layer() -> None:
    # 3x3 convolution, 512 -> 512 channels, 2:8 forward: k = 512 x 9, one vector for each output channel
    nm = NM(2, 8)
    assert nm.groups(4608) == 576
    assert nm.kept(4608) == 1152
    assert nm.value_bytes(4608, 512, 16) == 1_179_648  # 1152 x 512 x 2 bytes
    assert nm.index_bytes(4608, 512) == 221_184  # 1152 x 512 x 3 bits / 8
    assert nm.compact_bytes(4608, 512, 16) == 1_400_832
    assert nm.compact_bits(4608, 512, 16) == 1_400_832 * 8  # nothing to pad
    assert NM(8, 8).compact_bytes(4608, 512, 16) == 4_718_592  # 4608 x 512 x 2 bytes, no indices


def test_each_stream_is_padded_once_at_its_end() -> None:
    nm = NM(2, 8)
    assert nm.index_bytes(8, 1) == 1  # 6 bits
    assert nm.index_bytes(8, 9) == 7  # 54 bits; padding each vector would take 9 bytes
    assert nm.index_bytes(8 * 9, 1) == 7  # the same groups, kernel positions folded into k
    assert nm.value_bytes(8, 3, 4) == 3  # 6 values of 4 bits
    assert nm.value_bytes(8, 1, 1) == 1  # 2 bits
    assert nm.compact_bytes(8, 1, 1) == 2  # 2 bits and 6 bits do not share a byte
    assert nm.compact_bits(8, 1, 1) == 8


@given(nm=ratios, groups=st.integers(0, 50), vectors=st.integers(0, 20), value_bits=st.integers(1, 64))
@settings(deadline=None)
def test_sizes_equal_those_of_a_string_of_bits(nm: NM, groups: int, vectors: int, value_bits: int) -> None:
    entries = groups * vectors * nm.n
    width = 0 if nm.n == nm.m else len(f"{nm.m - 1:b}")  # digits of the largest index
    values, indices = "v" * value_bits * entries, "i" * width * entries
    k = groups * nm.m
    assert nm.compact_bits(k, vectors, value_bits) == len(values) + len(indices)
    assert nm.value_bytes(k, vectors, value_bits) == len(range(0, len(values), 8))
    assert nm.index_bytes(k, vectors) == len(range(0, len(indices), 8))
    assert nm.compact_bytes(k, vectors, value_bits) == len(range(0, len(values), 8)) + len(
        range(0, len(indices), 8)
    )


@given(nm=ratios, k=st.integers(0, 500))
@settings(deadline=None)
def test_padded_is_the_next_length_without_a_ragged_tail(nm: NM, k: int) -> None:
    padded = nm.padded(k)
    assert k <= padded < k + nm.m
    assert nm.groups(padded) * nm.m == padded


@pytest.mark.parametrize("k", [1, 7, 12, 4607, -1, -8])
@pytest.mark.parametrize("nm", [NM(2, 8), NM(8, 8)])
def test_ragged_or_negative_length_is_refused(nm: NM, k: int) -> None:
    expected = rf"N:M ratio {nm}: reduction length {k}: expected a multiple of M = 8.*pad it"
    for size in (nm.groups, nm.kept, lambda k: nm.index_bytes(k, 1), lambda k: nm.compact_bytes(k, 1, 16)):
        with pytest.raises(FormatError, match=expected):
            size(k)


@given(nm=ratios)
@settings(deadline=None)
def test_text_round_trips(nm: NM) -> None:
    assert NM.parse(str(nm)) == nm
    assert NM.parse(f" {nm}\n") == nm


@pytest.mark.parametrize(
    "text", ["", "2", "2:", ":8", "2/8", "2:8:1", "-2:8", "2.0:8", "a:b", "2 :8", "12345:8", "٢:8"]
)
def test_malformed_text_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match=r"expected two integers such as 2:8 \(N kept of M\)"):
        NM.parse(text)


@pytest.mark.parametrize(("n", "m"), [(0, 8), (9, 8), (-1, 8), (0, 0), (1, 0), (1, -2)])
def test_impossible_ratio_is_refused(n: int, m: int) -> None:
    with pytest.raises(FormatError, match=rf"N:M ratio {n}:{m}: expected 1 <= N <= M"):
        NM(n, m)


def test_ratio_is_immutable_hashable_and_ordered() -> None:
    nm = NM(2, 8)
    with pytest.raises(AttributeError):
        nm.n = 4  # type: ignore[misc]
    assert {NM(2, 8): "found"}[nm] == "found"
    assert sorted([NM(4, 8), NM(2, 8), NM(2, 4)]) == [NM(2, 4), NM(2, 8), NM(4, 8)]
    assert [NM(1, 1).dense, NM(8, 8).dense, NM(7, 8).dense] == [True, True, False]


INFINITIES = {
    "float16": struct.pack("<e", math.inf),
    "bfloat16": struct.pack("<f", math.inf)[2:],  # the upper half of a float32
    "float32": struct.pack("<f", math.inf),
    "float64": struct.pack("<d", math.inf),
}


@pytest.mark.parametrize("name", FLOAT_KEYS)
def test_float_key_constants_follow_from_infinity(name: str) -> None:
    infinity = INFINITIES[name]
    key = FLOAT_KEYS[name]
    assert key.magnitude_mask == 2 ** (8 * len(infinity) - 1) - 1
    assert key.nan_key == int.from_bytes(infinity, "little") + 1


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # widening a signalling NaN
def test_keys_rank_every_float16_as_its_value() -> None:
    w = np.arange(2**16, dtype=np.uint16).view(np.float16)
    assert_keys_rank_as(reference.magnitude_keys(w), np.abs(w.astype(np.float64)))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # widening a signalling NaN
def test_keys_rank_every_bfloat16_as_its_value() -> None:
    patterns = np.arange(2**16, dtype=np.uint64)
    widened = (patterns << 16).astype(np.uint32).view(np.float32)
    key = FLOAT_KEYS["bfloat16"]
    keys = np.minimum(patterns & key.magnitude_mask, key.nan_key)
    assert_keys_rank_as(keys, np.abs(widened.astype(np.float64)))


def assert_keys_rank_as(keys: NDArray[np.uint64], magnitudes: NDArray[np.float64]) -> None:
    """Keys and magnitudes fall into the same classes in the same order; NaNs are one class above all."""
    distinct, rank = np.unique(magnitudes[~np.isnan(magnitudes)], return_inverse=True)
    expected = np.full(len(magnitudes), len(distinct))
    expected[~np.isnan(magnitudes)] = rank
    np.testing.assert_array_equal(np.unique(keys, return_inverse=True)[1], expected)


def test_keys_of_integers_are_absolute_values() -> None:
    assert reference.magnitude_keys(np.array([-128, -1, 0, 127], np.int8)).tolist() == [128, 1, 0, 127]
    assert reference.magnitude_keys(np.array([-(2**63), 2**63 - 1])).tolist() == [2**63, 2**63 - 1]
    assert reference.magnitude_keys(np.array([2**64 - 1, 0], np.uint64)).tolist() == [2**64 - 1, 0]


def test_import_is_cheap() -> None:
    program = "import sys, codesign.nm.format; print({'numpy', 'torch', 'numba', 'simpy'} & set(sys.modules))"
    loaded = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True)
    assert loaded.strip() == "set()"
