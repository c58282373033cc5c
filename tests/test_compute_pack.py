"""Packing, unpacking and SORE: one contract for numpy, compiled loops and torch, bit for bit."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.compute import pack_kernels, reference_engines, sore_kernels, stream_kernels
from codesign.compute.threads import use_threads
from codesign.errors import FormatError
from codesign.nm import reference, torch_ops
from codesign.nm.format import FLOAT_KEYS, NM
from codesign.nm.reference import Compact

RATIOS = [NM.parse(text) for text in ("1:2", "2:4", "1:3", "2:8", "8:32", "8:9", "2:2", "1:1", "2:130")]
TYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}


def numbers(generator, name, shape):
    """Of a few values, so that many tie: zeros, ones, infinities, NaNs of two payloads, subnormals, either sign."""
    key, unsigned = FLOAT_KEYS[name], np.dtype(f"u{TYPES[name](0).itemsize}")
    one = int(np.ones(1, TYPES[name]).view(unsigned)[0])
    magnitudes = np.array([0, 1, one, one + 1, key.nan_key - 1, key.nan_key, key.magnitude_mask])
    pool = np.concatenate([magnitudes, magnitudes + key.magnitude_mask + 1]).astype(unsigned)
    chosen = generator.choice(pool[: generator.integers(1, len(pool) + 1)], shape)
    return chosen.view(TYPES[name])


@st.composite
def tensors(draw):
    """A tensor in any memory order, a ratio, and an axis along which it fits."""
    name, nm = draw(st.sampled_from(sorted(TYPES))), draw(st.sampled_from(RATIOS))
    # less and more than a chunk of 16 and a tile of 128 side by side, and such that several groups share a tile
    shape = draw(st.lists(st.sampled_from((1, 2, 3, 9, 17, 70, 130)), max_size=2))
    axis = draw(st.integers(0, len(shape)))
    shape.insert(axis, nm.m * draw(st.integers(0, 3)))
    w = numbers(np.random.default_rng(draw(st.integers(0, 2**32))), name, shape)
    order = draw(st.permutations(range(len(shape))))
    return np.ascontiguousarray(w.transpose(order)).transpose(np.argsort(order)), nm, axis


def assert_same(compact, expected):
    assert compact.values.dtype == expected.values.dtype
    assert compact.values.shape == expected.values.shape
    assert compact.values.tobytes() == expected.values.tobytes()
    np.testing.assert_array_equal(compact.index_stream, expected.index_stream)
    assert (compact.shape, compact.axis, compact.nm) == (expected.shape, expected.axis, expected.nm)


@given(tensors())
@settings(deadline=None, max_examples=150)
def test_packing_and_unpacking_agree_with_the_oracle(case):
    w, nm, axis = case
    expected = reference.pack(w, nm, axis)
    assert_same(pack_kernels.pack(w, nm, axis), expected)
    np.testing.assert_array_equal(stream_kernels.indices(expected), reference.indices(expected))
    assert stream_kernels.unpack(expected).tobytes() == reference.unpack(expected).tobytes()


@pytest.mark.parametrize("inner", [(), (1,), (5,), (9,), (16,), (200,)], ids=str)
@pytest.mark.parametrize("name", TYPES)
def test_many_groups_in_a_row(name, inner):
    """More kept values of a vector than are written together, and a number that is no multiple of it."""
    w = numbers(np.random.default_rng(2), name, (3, 8 * 37, *inner))
    for text in ("2:8", "1:4", "3:8"):
        nm = NM.parse(text)
        expected = reference.pack(w, nm, 1)
        assert_same(pack_kernels.pack(w, nm, 1), expected)
        np.testing.assert_array_equal(stream_kernels.indices(expected), reference.indices(expected))


@given(
    st.sampled_from(sorted(TYPES)), st.sampled_from(RATIOS), st.integers(0, 3), st.integers(0, 3),
    st.sampled_from([(), (1,), (3, 3), (13, 11)]), st.integers(0, 2**32),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_both_orientations_at_once(name, nm, outputs, inputs, taps, seed):
    w = numbers(np.random.default_rng(seed), name, (nm.m * outputs, nm.m * inputs, *taps))
    forward, backward = pack_kernels.pack_both(w, nm)
    assert_same(forward, reference.pack(w, nm, 1))
    assert_same(backward, reference.pack(w, nm, 0))


@pytest.mark.parametrize("name", TYPES)
def test_several_threads_and_bit_patterns(name):
    w = numbers(np.random.default_rng(1), name, (160, 88, 3, 3))
    bits = w.view(f"u{w.itemsize}")
    with use_threads(3):
        pair = pack_kernels.pack_both(bits, NM(2, 8), dtype=name)
        for axis, compact in zip((1, 0), pair, strict=True):
            expected = reference.pack(w, NM(2, 8), axis)
            assert compact.values.tobytes() == expected.values.tobytes()
            np.testing.assert_array_equal(compact.index_stream, expected.index_stream)
            assert_same(pack_kernels.pack(w, NM(2, 8), axis), expected)
            assert stream_kernels.unpack(expected).tobytes() == reference.unpack(expected).tobytes()


@pytest.mark.parametrize("pack", [reference.pack, pack_kernels.pack])
def test_streams_by_hand(pack):
    # 2:4 keeps 3 and -4 (places 1, 2), then the first two of four equals (places 0, 1), in 2 bits each
    compact = pack(np.array([1, 3, -4, 2, 5, 5, 5, 5], np.float32), NM(2, 4), 0)
    assert compact.values.reshape(-1).tolist() == [3, -4, 5, 5]
    assert compact.index_stream.tolist() == [1 | 2 << 2 | 0 << 4 | 1 << 6]


class Sorters:
    """Realisations of SORE: (groups, M) to values and indices (groups, N)."""

    @staticmethod
    def torch(groups, nm):
        """From the mask of torch; the kept places are where it is set."""
        bits = torch.from_numpy(np.array(groups.view(f"i{groups.itemsize}")))
        kept = torch_ops.mask(bits.view(getattr(torch, groups.dtype.name)), nm, 1).numpy()
        return groups[kept].reshape(-1, nm.n), np.nonzero(kept)[1].reshape(-1, nm.n)

    @staticmethod
    def packing(groups, nm):
        compact = reference.pack(groups, nm, 1)
        return compact.values.reshape(-1, nm.n), reference.indices(compact).reshape(-1, nm.n)


@pytest.mark.parametrize("sore", [reference_engines.sore, sore_kernels.sore, Sorters.torch])
class TestSore:
    @pytest.mark.parametrize("name", TYPES)
    @pytest.mark.parametrize("nm", RATIOS, ids=str)
    def test_keeps_what_the_format_says(self, sore, nm, name):
        groups = numbers(np.random.default_rng(nm.m), name, (40, nm.m))
        values, places = sore(groups, nm)
        expected_values, expected_places = Sorters.packing(groups, nm)
        np.testing.assert_array_equal(places, expected_places)
        assert values.tobytes() == expected_values.tobytes()

    @given(st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, np.inf, np.nan]), min_size=5, max_size=5))
    @settings(deadline=None)
    def test_every_order_of_arrival(self, sore, arrivals):
        groups = np.array([arrivals], np.float16)
        values, places = sore(groups, NM(2, 5))
        expected = Sorters.packing(groups, NM(2, 5))
        np.testing.assert_array_equal(places, expected[1])
        assert values.tobytes() == expected[0].tobytes()

    def test_by_hand(self, sore):
        # 3 leaves when 5 comes, the second 5 displaces 4, the third does not displace the first two
        values, places = sore(np.array([[3, 4, -5, 5, 5, 1]], np.float32), NM(2, 6))
        assert (values.tolist(), places.tolist()) == ([[-5, 5]], [[2, 3]])


def test_corrupt_streams_are_refused_as_by_the_oracle():
    good = reference.pack(np.arange(48, dtype=np.float32).reshape(3, 16), NM(2, 8), 1)
    # 12 indices of 3 bits are 36 bits in 5 bytes: 4 bits of padding
    assert good.index_stream.size == 5
    streams = {
        "padding bits": good.index_stream | np.array([0, 0, 0, 0, 0x10], np.uint8),
        "expected ascending": np.zeros(5, np.uint8),
        r"index stream of shape \(4,\)": good.index_stream[:-1],
    }
    for message, stream in streams.items():
        for decode in (stream_kernels.indices, stream_kernels.unpack, reference.indices):
            with pytest.raises(FormatError, match=message):
                decode(Compact(good.values, stream, good.shape, good.axis, good.nm))
    with pytest.raises(FormatError, match="expected less than M = 5"):
        stream_kernels.indices(Compact(np.zeros((1, 1, 1)), np.array([7], np.uint8), (5,), 0, NM(1, 5)))
    with pytest.raises(FormatError, match=r"values of shape \(3, 2, 1\)"):
        stream_kernels.indices(Compact(good.values[..., :1], good.index_stream, good.shape, 1, good.nm))


@pytest.mark.parametrize(
    ("w", "nm", "axis", "message"),
    [
        (np.zeros((8, 12), np.float32), NM(2, 8), 1, "reduction length 12: expected a multiple of M = 8"),
        (np.zeros((8, 8), np.float32), NM(2, 8), 2, "reduction axis 2: expected -2 to 1"),
        (np.zeros((8, 8), np.int32), NM(2, 8), 0, "type int32: expected float16, bfloat16 or float32"),
        (np.zeros(300, np.float32), NM(1, 300), 0, "1:300: expected groups of at most 256"),
    ],
)
def test_refusals(w, nm, axis, message):
    with pytest.raises(FormatError, match=message):
        pack_kernels.pack(w, nm, axis)


def test_sore_refuses_groups_of_another_length():
    with pytest.raises(FormatError, match=r"groups of shape \(2, 7\), type float32: expected \(groups, 8\)"):
        sore_kernels.sore(np.zeros((2, 7), np.float32), NM(2, 8))
