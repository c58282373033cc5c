"""Footprint of im2col operands against sets of pixels, and the trace through JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.errors import TraceError
from codesign.nm.format import NM
from workloads.catalog import load
from workloads.ops import Gemm, GemmOp, Role, Stage, UpdateOp, VectorOp, Window
from workloads.sparsity import apply_method
from workloads.trace import Layer, Trace


@st.composite
def sliding(draw):
    """One image axis: (input, output, taps, stride, padding), every window at least partly inside."""
    taps, stride = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    padding = draw(st.integers(0, taps - 1))
    size = draw(st.integers(max(1, taps - 2 * padding), 14))
    return size, (size + 2 * padding - taps) // stride + 1, taps, stride, padding


def touched(axis, outputs):
    """Pixels of one axis that the windows at `outputs` read."""
    size, _, taps, stride, padding = axis
    return {o * stride - padding + t for o in outputs for t in range(taps)} & set(range(size))


def brute_force(rows_axis, columns_axis, gemm_pixels):
    """Pixels that whole rows of GEMM pixels, from the first of an image on, read from images of their own."""
    out_h, out_w = rows_axis[1], columns_axis[1]
    pixels = set()
    for row in range(-(-gemm_pixels // out_w)):
        image, y = divmod(row, out_h)
        pixels |= {
            (image, v, h) for v in touched(rows_axis, [y]) for h in touched(columns_axis, range(out_w))
        }
    return len(pixels)


def window(rows_axis, columns_axis):
    (in_h, out_h, taps_h, stride, _), (in_w, out_w, taps_w, _, _) = rows_axis, columns_axis
    return Window(in_h, in_w, out_h, out_w, taps_h, taps_w, stride)


def same_stride(axes):
    return axes[0][3] == axes[1][3]


@given(st.tuples(sliding(), sliding()).filter(same_stride), st.integers(1, 200))
@settings(deadline=None, max_examples=300)
def test_stored_pixels_match_a_set_of_pixels(axes, gemm_pixels):
    stored = window(*axes).stored_pixels(gemm_pixels)
    exact = brute_force(*axes, gemm_pixels)
    assert stored >= exact
    if axes[0][4] == axes[1][4] == 0:
        assert stored == exact


@given(sliding(), st.integers(1, 3))
@settings(deadline=None, max_examples=200)
def test_padding_only_adds_pixels_that_a_window_in_the_middle_would_read(axis, images):
    # With padding the first rows read less than rows in the middle; the footprint is that of the middle, at most
    # `padding` pixels more at each edge.
    size, out, _, _, padding = axis
    pixels = window(axis, axis).stored_pixels(images * out * out)
    exact = brute_force(axis, axis, images * out * out)
    edge = len(touched(axis, range(out)))
    assert exact == images * edge**2
    assert pixels <= images * min(size, edge + 2 * padding) ** 2


def test_a_elements_of_a_padded_convolution_by_hand():
    # 3 x 3, padding 1, 8 x 8 image, 16 channels. Two output rows (16 GEMM pixels) read 4 input rows of 8 pixels.
    gemm = Gemm(64, 9 * 16, 32, taps=9, window=Window(8, 8, 8, 8, 3, 3))
    assert gemm.a_elements(16, 9 * 16, "i") == 4 * 8 * 16
    assert gemm.a_elements(16, 9 * 8, "i") == 4 * 8 * 8
    assert gemm.a_elements(9, 9 * 16, "i") == 4 * 8 * 16  # a started row counts whole
    transposed = Gemm(9 * 16, 64, 32, taps=9, window=gemm.window)
    assert transposed.a_elements(9 * 16, 16, "k") == 4 * 8 * 16
    assert Gemm(64, 16, 32).a_elements(10, 7, "i") == 70


@pytest.mark.parametrize("name", ["resnet18-cifar", "vit-tiny-cifar", "gpt2-small", "gemm:64x32x16"])
def test_json_round_trip(name):
    sparse, _ = apply_method(load(name), "bdwp", NM(2, 8))
    text = sparse.to_json()
    assert Trace.from_json(text) == sparse
    assert sparse.sha256 == Trace.from_json(text).sha256 != load(name).sha256
    assert sparse.to_json() == text


def sample():
    return json.loads(apply_method(load("resnet9", batch=1), "bdwp", NM(2, 8))[0].to_json())


def test_from_json_refuses_what_does_not_fit():
    assert Trace.from_json(json.dumps(sample())).batch == 1

    def fails(match, change):
        data = sample()
        change(data)
        with pytest.raises(TraceError, match=match):
            Trace.from_json(json.dumps(data))

    fails("surplus", lambda d: d.update(surplus=1))
    fails("ops.0", lambda d: d["ops"][0].update(sparsty=None))
    fails(r"ops\.0", lambda d: d["ops"][0]["gemms"][0].update(i="64"))
    fails(r"size 0", lambda d: d["ops"][0]["gemms"][0].update(i=0))
    fails(r"'prep.ff' has 0 products", lambda d: d["ops"][0].update(gemms=[]))
    fails(r"has 16777217 products", lambda d: d["ops"][0]["gemms"][0].update(count=(1 << 24) + 1))
    fails("there are no operations", lambda d: d.update(ops=[]))
    fails(r"size -3", lambda d: d["ops"][0]["gemms"][0]["window"].update(stride=-3))
    fails(
        r"prep\.bn\.ff.*does not come before",
        lambda d: d["ops"].reverse() or d["ops"].insert(0, d["ops"].pop(-2)),
    )
    fails("appears twice", lambda d: d["ops"].append(d["ops"][0]))
    fails("batch 0", lambda d: d.update(batch=0))
    fails("adagrad", lambda d: d.update(optimizer="adagrad"))
    fails("updates layer 'fc'", lambda d: d.update(layers=[x for x in d["layers"] if x["name"] != "fc"]))
    for text in (b"", b"{", b"[]", b"\xff\xfe"):
        with pytest.raises(TraceError):
            Trace.from_json(text)


def test_operations_of_each_type_survive_json():
    layer = Layer("l", "linear", 20, 20, 4, 5, tied_to="")
    ops = (
        GemmOp("g", "l", Stage.FF, (Gemm(3, 4, 5),), Role.ACTIVATION, Role.WEIGHT),
        VectorOp("v", "l", Stage.FF, "relu", 15, 15, 15, ("g",)),
        UpdateOp("u", "l", 20, ("v",), (NM(2, 4), NM(1, 4))),
    )
    trace = Trace("t", 3, (layer,), ops)
    assert Trace.from_json(trace.to_json()).ops == ops
