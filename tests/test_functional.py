"""Products of a layer in the order of their schedule: which order that is, and that the products are torch's."""

import numpy as np
import pytest
import torch
from strategies import SAT
from torch.nn import functional

from codesign.compute.formats import Format
from codesign.compute.order import Order
from codesign.compute.pack_kernels import pack
from codesign.compute.stream_kernels import unpack
from codesign.errors import TraceError
from codesign.functional import ScheduledOrders, products_of, stored
from codesign.nm.format import NM
from codesign.schedule import schedule
from workloads.catalog import load
from workloads.ops import Stage
from workloads.recording import LayerGeometry
from workloads.sparsity import apply_method

NM28 = NM(2, 8)
RNG = np.random.default_rng(5)
SMALL = SAT.with_overrides(
    {"buffers.weight.capacity_bytes": 65536, "buffers.activation.capacity_bytes": 65536}
)


def tensor(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("flow", ["ws", "os"])
@pytest.mark.parametrize("arch", [SAT, SMALL], ids=["sat", "small buffers"])
def test_orders_are_those_of_the_program(flow, arch):
    """The program, which the event model executes, has the same dataflow and cuts k at the same places."""
    arch = arch.with_overrides({"array.dataflows": [flow], "optimizations.fixed_dataflow": flow})
    trace, _ = apply_method(load("resnet18-cifar", batch=8), "bdwp", NM28)
    orders = ScheduledOrders.of(arch, trace)
    cut = 0
    for step, op in zip(schedule(trace, arch).steps, trace.ops, strict=True):
        if step.choice is None:
            continue
        first, *others = orders.orders(op.layer, op.stage)
        assert len(others) == len(op.gemms) - 1
        group = step.m
        assert first == (Order.ws(32, group, step.choice.k) if flow == "ws" else Order.os(step.choice.k))
        pieces = {tile.gemm.k for tile, _ in step.tile_counts()}
        cut += len(op.gemms) == 1 and pieces != {op.gemms[0].k}
    assert cut > 0 or arch is SAT


def test_the_small_architecture_cuts_reductions():
    trace, _ = apply_method(load("resnet18-cifar", batch=8), "bdwp", NM28)
    orders = ScheduledOrders.of(SMALL, trace).orders("layer4.1.conv2", Stage.FF)
    assert 0 < orders[0].tile_k < 512 * 9


@pytest.mark.parametrize("name", ["resnet18", "resnet50-cifar", "vit-tiny-cifar"])
def test_reductions_are_those_of_the_trace(name):
    """Length and taps of every product of every layer, stride phases included."""
    trace = load(name, batch=2)
    ops = {(op.layer, op.stage): op for op in trace.gemms()}
    layers = {layer.name: layer for layer in trace.layers if layer.kind in ("conv", "linear")}
    checked = 0
    for layer in layers.values():
        forward = ops[layer.name, Stage.FF].gemms[0]
        if layer.kind == "linear":
            products = products_of(
                LayerGeometry(kind="linear"), (forward.i, layer.cin), (layer.cout, layer.cin)
            )
        else:
            window = forward.window
            size = (window.in_h, window.out_h, window.stride) if window else None
            if size is None:  # 1 x 1
                continue
            stride, kernel = window.stride, window.taps_h
            padding = (kernel - 1) // 2 if size[0] // stride == size[1] and kernel > stride else 0
            geometry = LayerGeometry(
                kind="conv", stride=[stride] * 2, padding=[padding] * 2, dilation=[1, 1], groups=1
            )
            x, w = (2, layer.cin, size[0], size[0]), (layer.cout, layer.cin, kernel, kernel)
            products = products_of(geometry, x, w)
        for stage in (Stage.FF, Stage.BP, Stage.WU):
            if (layer.name, stage) in ops:
                gemms = ops[layer.name, stage].gemms
                folded = [(gemm.k, gemm.taps if stage is not Stage.WU else 1) for gemm in gemms]
                assert list(products.reductions(stage)) == folded, (layer.name, stage)
                checked += 1
    assert checked > 20


@pytest.mark.parametrize("sparse", [False, True])
def test_linear_products_are_those_of_autograd(sparse):
    x, w, g = tensor(3, 5, 16), tensor(24, 16), tensor(3, 5, 24)
    products = products_of(LayerGeometry(kind="linear"), x.shape, w.shape)
    check_products(products, x, w, g, sparse, lambda a, b: functional.linear(a, b))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_products_are_those_of_autograd(sparse, stride):
    x, w, g = tensor(2, 16, 7, 7), tensor(8, 8, 3, 3), tensor(2, 8, -(-7 // stride), -(-7 // stride))
    geometry = LayerGeometry(kind="conv", stride=[stride] * 2, padding=[1, 1], dilation=[1, 1], groups=2)
    products = products_of(geometry, x.shape, w.shape)
    sparse_w = NM(1, 4) if sparse else None
    check_products(
        products, x, w, g, sparse, lambda a, b: functional.conv2d(a, b, None, stride, 1, 1, 2), sparse_w
    )


def check_products(products, x, w, g, sparse, function, nm=NM28):
    w_ff, w_bp = (pack(w, nm, axis) if sparse else w for axis in (1, 0))
    dense_ff, dense_bp = (unpack(each) if sparse else w for each in (w_ff, w_bp))
    leaf = [torch.from_numpy(values.astype(np.float64)).requires_grad_() for values in (x, dense_ff)]
    y = function(*leaf)
    _, dw = torch.autograd.grad(y, leaf, torch.from_numpy(g.astype(np.float64)))
    leaf_bp = [torch.from_numpy(values.astype(np.float64)).requires_grad_() for values in (x, dense_bp)]
    (dx,) = torch.autograd.grad(function(*leaf_bp), leaf_bp[:1], torch.from_numpy(g.astype(np.float64)))
    for result, expected in (
        (products.forward(x, w_ff), y.detach()),
        (products.input_gradient(g, w_bp), dx),
        (products.weight_gradient(x, g), dw),
    ):
        np.testing.assert_allclose(result, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_what_memory_holds_has_sixteen_bits():
    values = tensor(1000)
    assert np.array_equal(stored(values, Format.FP16), values.astype(np.float16).astype(np.float32))


def test_layers_that_cannot_be_computed_are_refused():
    with pytest.raises(TraceError, match="expected a linear layer or a 2-D convolution"):
        products_of(LayerGeometry(kind="conv"), (2, 8, 16), (8, 8, 3))
    with pytest.raises(TraceError, match="has no bp product of recorded layer 'conv1'"):
        ScheduledOrders.of(SAT, load("resnet18", batch=1)).orders("conv1", Stage.BP)
