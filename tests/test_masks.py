"""N:M masks in torch, compiled and from torch operations, against the numpy oracle, bit for bit."""

import importlib
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.errors import FormatError
from codesign.nm import kernels, reference, torch_ops
from codesign.nm.format import FLOAT_KEYS, NM

torch.set_num_threads(2)

RATIOS = [NM.parse(text) for text in ("1:2", "2:4", "1:3", "5:6", "2:8", "7:8", "4:16", "8:32", "4:4", "1:1")]
TYPES = {"float16": (np.float16, np.uint16), "bfloat16": (ml_dtypes.bfloat16, np.uint16)}
TYPES |= {"float32": (np.float32, np.uint32), "float64": (np.float64, np.uint64)}


def from_bits(bits, name):
    """A tensor of the float type `name` that shares the memory of an unsigned array, whatever its memory order."""
    signed = torch.from_numpy(bits.view(f"i{bits.itemsize}"))
    return signed.view(getattr(torch, name))


def special_bits(name):
    """Zeros, ones, infinities, NaNs with two payloads and a subnormal, of both signs."""
    key, (dtype, unsigned) = FLOAT_KEYS[name], TYPES[name]
    one = int(np.ones(1, dtype).view(unsigned)[0])
    magnitudes = [0, 1, one, one + 1, key.nan_key - 1, key.nan_key, key.magnitude_mask]
    sign = key.magnitude_mask + 1
    return np.array(magnitudes + [sign | magnitude for magnitude in magnitudes], unsigned)


@st.composite
def cases(draw, most_groups=3):
    """Bit patterns with many ties and special values, in any memory order; the type's name, ratio and axis."""
    name, nm = draw(st.sampled_from(sorted(TYPES))), draw(st.sampled_from(RATIOS))
    # slices of 1, of less and more than a chunk of 16 and a tile of 64, and such that several groups share a tile
    shape = draw(st.lists(st.sampled_from((1, 2, 3, 9, 17, 40, 70)), max_size=2))
    axis = draw(st.integers(0, len(shape)))
    shape.insert(axis, nm.m * draw(st.integers(0, most_groups)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    unsigned = TYPES[name][1]
    pool = np.concatenate([special_bits(name), random.integers(0, np.iinfo(unsigned).max, 40, unsigned)])
    bits = random.choice(pool[: draw(st.integers(1, len(pool)))], shape)
    order = draw(st.permutations(range(len(shape))))
    return np.ascontiguousarray(bits.transpose(order)).transpose(np.argsort(order)), name, nm, axis


def assert_agrees(bits, name, nm, axis):
    oracle, w = bits.view(TYPES[name][0]), from_bits(bits, name)
    kept, pruned = torch_ops.mask(w, nm, axis), torch_ops.prune(w, nm, axis)
    np.testing.assert_array_equal(kept.numpy(), reference.mask(oracle, nm, axis))
    expected = np.ascontiguousarray(reference.prune(oracle, nm, axis)).view(bits.dtype)
    np.testing.assert_array_equal(
        pruned.view(getattr(torch, f"int{8 * bits.itemsize}")), expected.view(f"i{bits.itemsize}")
    )


@given(cases())
@settings(deadline=None, max_examples=150)
def test_compiled_loop_agrees_with_the_oracle(case):
    assert_agrees(*case)


@given(cases())
@settings(deadline=None, max_examples=150)
def test_torch_operations_agree_with_the_oracle(case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_ops, "_is_plain", lambda w: False)
        assert_agrees(*case)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("axis", [0, 1, -3, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_convolution_weights(name, axis, memory_format):
    random = np.random.default_rng(7)
    shape = (32, 16, 3, 8) if axis == 3 else (32, 16, 3, 3)
    bits = random.choice(special_bits(name), shape)
    w = from_bits(bits, name).contiguous(memory_format=memory_format)
    kept, pruned = torch_ops.mask(w, NM(2, 8), axis), torch_ops.prune(w, NM(2, 8), axis)
    np.testing.assert_array_equal(kept.numpy(), reference.mask(bits.view(TYPES[name][0]), NM(2, 8), axis))
    assert kept.is_contiguous(memory_format=memory_format)
    assert pruned.is_contiguous(memory_format=memory_format)


def test_ties_keep_the_lowest_index():
    w = torch.tensor([[1.0, -1.0, 1.0, 2.0], [0.0, -0.0, 0.0, 0.0]])
    kept = torch_ops.mask(w, NM(2, 4), 1)
    assert kept.tolist() == [[True, False, False, True], [True, True, False, False]]


def test_a_view_and_an_expanded_tensor():
    w = torch.randn(5, 16, 6)[1:, ::2, 3]
    for tensor in (w, w[0].expand(3, 8)):
        np.testing.assert_array_equal(
            torch_ops.mask(tensor, NM(3, 8), 1), reference.mask(tensor.numpy(), NM(3, 8), 1)
        )


def test_result_needs_no_gradient_and_leaves_the_weight_alone():
    w = torch.nn.Parameter(torch.randn(8, 8))
    before = w.detach().clone()
    for nm in (NM(2, 8), NM(8, 8)):
        pruned = torch_ops.prune(w, nm, 0)
        assert not pruned.requires_grad
        pruned.zero_()
    assert torch.equal(w, before)


def test_meta_tensors_and_compiled_graphs_use_torch_operations(monkeypatch):
    def refuse(*_):
        raise AssertionError("memory of a traced tensor was read")

    w = torch.randn(16, 24).round()
    expected = torch_ops.prune(w, NM(2, 8), 1)
    monkeypatch.setattr(kernels, "mask", refuse)
    monkeypatch.setattr(kernels, "prune", refuse)
    assert torch_ops.mask(w.to("meta"), NM(2, 8), 1).shape == w.shape
    traced = torch.compile(lambda w: torch_ops.prune(w, NM(2, 8), 1), backend="aot_eager", fullgraph=True)
    assert torch.equal(traced(w), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", TYPES)
def test_on_a_cuda_device(name):
    w = from_bits(np.random.default_rng(1).choice(special_bits(name), (64, 32, 3, 3)), name)
    for axis in (0, 1):
        assert torch.equal(torch_ops.mask(w.cuda(), NM(2, 8), axis).cpu(), torch_ops.mask(w, NM(2, 8), axis))


@pytest.mark.parametrize(
    ("w", "axis", "message"),
    [
        (torch.zeros(8, 12), 1, "2:8: reduction length 12: expected a multiple of M = 8"),
        (torch.zeros(8, 8), 2, "reduction axis 2: expected -2 to 1 for a tensor of rank 2"),
        (torch.zeros(8, 8, dtype=torch.int32), 1, "type int32: expected float16, bfloat16, float32, float64"),
        (torch.tensor(1.0), 0, "reduction axis 0"),
    ],
)
@pytest.mark.parametrize("operation", [torch_ops.mask, torch_ops.prune])
def test_refusals(operation, w, axis, message):
    with pytest.raises(FormatError, match=message):
        operation(w, NM(2, 8), axis)


def test_without_a_writable_cache_directory_the_loop_still_compiles():
    script = """
import numba.core.caching as caching
caching.CacheImpl._locator_classes = []
import torch
from codesign.nm import torch_ops
from codesign.nm.format import NM
print(torch_ops.mask(torch.tensor([[1.0, 3.0, 2.0, 0.0]]), NM(1, 4), 1).tolist())
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[[False, True, False, False]]"


def test_the_benchmark_compares_masks_that_agree(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    mask_speed = importlib.import_module("mask_speed")
    weights = mask_speed.convolution_weights()
    assert (
        sum(w.numel() for w in weights) == 11_166_912 - 64 * 3 * 7 * 7
    )  # torchvision's resnet18, less the stem
    w = weights[4]
    kept = torch_ops.mask(w, NM(2, 8), 1)
    assert torch.equal(mask_speed.argsort_mask(w, NM(2, 8)).bool(), kept)
    assert torch.equal(mask_speed.topk_mask(w, NM(2, 8)).bool(), kept)
