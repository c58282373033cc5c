"""The training iteration derived from a forward graph: order, dependences, conservation of work."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.errors import SpecError
from workloads.catalog import load
from workloads.graph import Graph
from workloads.ops import GemmOp, Role, Stage, UpdateOp, VectorOp
from workloads.training import training_trace

NETWORKS = [
    "resnet18",
    "resnet50-cifar",
    "resnet9",
    "vgg16-cifar",
    "vit-tiny-cifar",
    "bert-base",
    "gpt2-small",
    "mlp",
]


def ancestors(trace, forward_only=False):
    """Every operation that each operation waits for, directly or not, by name."""
    above = {}
    for op in trace.ops:
        deps = [dep for dep in op.deps if not forward_only or dep.endswith(".ff")]
        above[op.name] = set(deps).union(*(above[dep] for dep in deps))
    return above


def weight_layers(trace):
    return [op.layer for op in trace.gemms(Stage.FF) if op.b is Role.WEIGHT]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_gradient_waits_for_every_layer_downstream_and_for_no_other(name):
    """Oracle: the forward dependences alone say which layers lie downstream of a layer."""
    trace = load(name, batch=1)
    forward, full = ancestors(trace, forward_only=True), ancestors(trace)
    layers = weight_layers(trace)
    for layer in layers:
        downstream = {f"{other}.bp" for other in layers if f"{layer}.ff" in forward[f"{other}.ff"]}
        for stage in ("wu", "bp"):
            if f"{layer}.{stage}" in full:
                waited = {
                    dep for dep in full[f"{layer}.{stage}"] if dep.endswith(".bp") and dep[:-3] in layers
                }
                assert waited == downstream, f"{layer}.{stage}"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_backward_operation_waits_for_the_loss_and_its_saved_tensors(name):
    trace = load(name, batch=1)
    above = ancestors(trace)
    for op in trace.ops:
        if (
            op.name.endswith((".bp", ".wu", ".bias", ".grad", ".update", ".bp_a", ".bp_b"))
            and op.layer != "loss"
        ):
            assert {"loss.ff", "loss.bp"} <= above[op.name]
        if op.stage is Stage.WU:
            layer = next((o for o in trace.ops if o.name == f"{op.layer}.ff"), None)
            assert layer is not None
            assert set(layer.deps) <= above[op.name], "the input of the layer"


@pytest.mark.parametrize("name", NETWORKS)
def test_order_of_the_backward_pass(name):
    trace = load(name, batch=1)
    position = {op.name: index for index, op in enumerate(trace.ops)}
    backward = [op for op in trace.ops if not op.name.endswith(".ff")]
    assert trace.ops[len(trace.ops) - len(backward) :] == tuple(backward), "forward first"
    assert backward[0].name == "loss.bp"
    for op in trace.ops:
        if isinstance(op, GemmOp) and op.stage is Stage.WU:
            assert position[op.name] > position.get(f"{op.layer}.bp", -1)
            if any(layer.name == op.layer and layer.params for layer in trace.layers):
                assert trace.ops[position[op.name] + 1].name == f"{op.layer}.update"


@pytest.mark.parametrize("name", NETWORKS)
def test_each_parameter_is_updated_once(name):
    trace = load(name, batch=1)
    updates = Counter(op.layer for op in trace.ops if isinstance(op, UpdateOp))
    elements = {op.layer: op.elements for op in trace.ops if isinstance(op, UpdateOp)}
    assert set(updates.values()) == {1}
    assert elements == {layer.name: layer.params for layer in trace.layers if layer.params}


@pytest.mark.parametrize("name", NETWORKS)
def test_backward_macs_equal_forward_macs(name):
    trace = load(name, batch=2)
    macs = {op.name: op.dense_macs for op in trace.gemms()}
    first = {layer.name for layer in trace.layers if layer.first}
    for op in trace.gemms(Stage.FF):
        if op.b is Role.WEIGHT:
            assert macs[f"{op.layer}.wu"] == op.dense_macs
            assert macs.get(f"{op.layer}.bp", 0) == (0 if op.layer in first else op.dense_macs)
        else:
            assert macs[f"{op.layer}.bp_a"] == macs[f"{op.layer}.bp_b"] == op.dense_macs


def conv_graph(size, cin, cout, kernel, stride, padding, dilation=1, groups=1, batch=2):
    g = Graph(batch)
    x = g.input(cin, size, size, trains=True)
    g.conv(x, cout, kernel, "c", stride=stride, padding=padding, dilation=dilation, groups=groups)
    return g


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 2),
    st.integers(1, 3),
    st.integers(6, 12),
)
@settings(deadline=None, max_examples=300)
def test_stride_phases_against_counting(kernel_h, kernel_w, stride, padding, dilation, size):
    """Oracle: the taps that reach each input pixel, counted one by one, fall into classes by phase."""
    if (max(kernel_h, kernel_w) - 1) * dilation + 1 > size + 2 * padding:
        return
    trace = training_trace(conv_graph(size, 4, 6, (kernel_h, kernel_w), stride, padding, dilation), "t")
    ff, bp = next(trace.gemms(Stage.FF)), next(trace.gemms(Stage.BP))
    assert bp.dense_macs == ff.dense_macs
    by_phase = Counter(
        ((th * dilation - padding) % stride, (tw * dilation - padding) % stride)
        for th in range(kernel_h)
        for tw in range(kernel_w)
    )
    assert sorted(gemm.taps for gemm in bp.gemms) == sorted(by_phase.values())
    for gemm in bp.gemms:
        assert (gemm.i, gemm.k, gemm.j) == (ff.gemms[0].i, 6 * gemm.taps, 4)


def test_strided_convolution_by_hand():
    # 3 x 3, stride 2, 8 x 8 -> 4 x 4, batch 2: phases of 2 x 2, 2 x 1, 1 x 2 and 1 x 1 taps, 32 rows each.
    trace = training_trace(conv_graph(8, 16, 32, 3, 2, 1), "t")
    bp = next(trace.gemms(Stage.BP))
    assert [(g.i, g.k, g.j, g.taps) for g in bp.gemms] == [
        (32, 128, 16, 4),
        (32, 64, 16, 2),
        (32, 64, 16, 2),
        (32, 32, 16, 1),
    ]
    assert [(g.window.taps_h, g.window.taps_w) if g.window else None for g in bp.gemms] == [
        (2, 2),
        (2, 1),
        (1, 2),
        None,
    ]
    assert {(g.window.in_h, g.window.out_h, g.window.stride) for g in bp.gemms if g.window} == {(4, 4, 1)}


def test_phases_without_taps_vanish():
    # 1 x 1, stride 2: three of the four phases of input pixels get no gradient.
    bp = next(training_trace(conv_graph(8, 16, 32, 1, 2, 0), "t").gemms(Stage.BP))
    assert [(g.i, g.k, g.j, g.window) for g in bp.gemms] == [(32, 32, 16, None)]


def test_grouped_and_depthwise_convolutions():
    trace = training_trace(conv_graph(8, 16, 32, 3, 1, 1, groups=4), "t")
    ff, bp, wu = trace.gemms()
    assert [(g.i, g.k, g.j, g.count) for op in (ff, bp, wu) for g in op.gemms] == [
        (128, 36, 8, 4),
        (128, 72, 4, 4),
        (36, 128, 8, 4),
    ]
    assert trace.params == 32 * 4 * 9
    depthwise = training_trace(conv_graph(8, 16, 16, 3, 1, 1, groups=16), "t")
    assert next(depthwise.gemms(Stage.FF)).gemms[0].count == 16
    with pytest.raises(SpecError, match="groups 3 must divide"):
        conv_graph(8, 16, 32, 3, 1, 1, groups=3)


def test_enormous_strides_are_refused():
    with pytest.raises(SpecError, match="65536 products, at most 4096"):
        training_trace(conv_graph(512, 3, 8, 256, 256, 0), "t")
    with pytest.raises(SpecError, match=r"kernel \[5000, 5000\] must be from 1 to 4096"):
        conv_graph(8000, 3, 8, 5000, 1, 0)


def vector_ops(trace, kind):
    return [op for op in trace.ops if isinstance(op, VectorOp) and op.kind == kind]


def test_residual_gradients_are_added():
    # The input of each of the 8 blocks feeds the block and the shortcut: the sum of two gradients.
    sums = vector_ops(load("resnet18", batch=2), "accumulate")
    assert len(sums) == 8
    first_block = sums[-1]
    elements = 2 * 64 * 56 * 56
    assert first_block.name == "maxpool.grad"
    assert (first_block.operations, first_block.read_elements, first_block.write_elements) == (
        elements,
        2 * elements,
        elements,
    )
    # One gradient through the block, the other straight from the sum at its end.
    assert first_block.deps == ("layer1.0.add.relu.bp", "layer1.0.conv1.bp")


def test_slices_of_one_tensor_need_no_sum_but_separate_projections_do():
    # ViT and GPT-2 split one tensor into q, k and v; only the two residuals of each of 12 blocks are summed.
    assert len(vector_ops(load("vit-tiny", batch=1), "accumulate")) == 24
    # BERT projects one tensor three times and adds it: four gradients, three additions.
    sums = vector_ops(load("bert-base", batch=1, seq_len=16), "accumulate")
    assert len(sums) == 24
    assert sorted({(op.operations, op.read_elements) for op in sums}) == [
        (16 * 768, 2 * 16 * 768),
        (3 * 16 * 768, 4 * 16 * 768),
    ]


def test_attention_products():
    # One head of 3 x 64: batch 2 x heads 3 products of 65 tokens; two backward products each.
    trace = load("vit-tiny-cifar", batch=2)
    ops = {op.name: op for op in trace.gemms()}
    shapes = {
        "scores.ff": (65, 64, 65),
        "scores.bp_a": (65, 65, 64),
        "scores.bp_b": (64, 65, 65),
        "context.ff": (65, 65, 64),
        "context.bp_a": (65, 64, 65),
        "context.bp_b": (65, 65, 64),
    }
    for name, (i, k, j) in shapes.items():
        op = ops[f"blocks.0.attn.{name}"]
        (gemm,) = op.gemms
        assert (gemm.i, gemm.k, gemm.j, gemm.count) == (i, k, j, 6)
        assert op.stage is (Stage.FF if name.endswith("ff") else Stage.BP)
    roles = {
        name: (ops[f"blocks.0.attn.context.{name}"].a, ops[f"blocks.0.attn.context.{name}"].b)
        for name in ("ff", "bp_a", "bp_b")
    }
    assert roles == {
        "ff": (Role.ACTIVATION, Role.ACTIVATION),
        "bp_a": (Role.GRADIENT, Role.ACTIVATION),
        "bp_b": (Role.ACTIVATION, Role.GRADIENT),
    }


def test_roles_and_pixel_axes_of_a_weight_layer():
    ff, bp, wu = training_trace(conv_graph(8, 16, 32, 3, 1, 1), "t").gemms()
    assert (ff.a, ff.b, ff.pixel_axis) == (Role.ACTIVATION, Role.WEIGHT, "i")
    assert (bp.a, bp.b, bp.pixel_axis) == (Role.GRADIENT, Role.WEIGHT, "i")
    assert (wu.a, wu.b, wu.pixel_axis) == (Role.ACTIVATION, Role.GRADIENT, "k")
    assert wu.gemms[0].window == ff.gemms[0].window


def test_tied_head_is_updated_with_the_embedding():
    trace = load("gpt2-small", batch=1, seq_len=32)
    ops = {op.name: op for op in trace.ops}
    assert "lm_head.update" not in ops
    assert "lm_head.wu" in ops["wte.bp"].deps
    assert set(ops["wte.update"].deps) == {"wte.bp", "lm_head.wu"}
    # Rows are added to the gradient that the head left: 32 x 768 read from each, 32 x 768 written, nothing cleared.
    assert (ops["wte.bp"].read_elements, ops["wte.bp"].write_elements) == (2 * 32 * 768, 32 * 768)
    # Without a tied head the whole gradient table is cleared first.
    bert = {op.name: op for op in load("bert-base", batch=1, seq_len=32).ops}
    assert bert["embeddings.bp"].write_elements == 3 * 32 * 768 + (30_522 + 512 + 2) * 768


def test_dead_branches_and_missing_parameters_have_no_backward_pass():
    g = Graph(2)
    x = g.input(8)
    y = g.vector("relu", x, "before")
    y = g.linear(y, 4, "used")
    g.linear(x, 4, "unused")
    g.loss(y)
    names = [op.name for op in training_trace(g, "t").ops]
    assert names == [
        "before.ff",
        "used.ff",
        "unused.ff",
        "loss.ff",
        "loss.bp",
        "used.bias",
        "used.wu",
        "used.update",
    ]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g, x: g.conv(x, 8, 9, "c"), "output shape .* is empty"),
        (lambda g, x: g.conv(g.flatten(x), 8, 1, "c"), "needs an image"),
        (lambda g, x: g.pool("maxpool", g.flatten(x), 2, "p"), "needs an image"),
        (lambda g, x: g.add(x, g.flatten(x), "a"), "cannot add"),
        (lambda g, x: g.matmul(x, x, "m"), "cannot multiply"),
        (lambda g, x: g.attention(*[g.view(x, (2, 64, 3))] * 3, 2, "a"), "2 heads must divide the width 3"),
        (lambda g, x: (g.linear(x, 4, "l"), g.linear(x, 4, "l")), "defined twice"),
        (lambda g, x: g.linear(x, 0, "l"), "is empty"),
        (lambda g, x: g.conv(x, 4, 3, "c", stride=0), "stride"),
        (lambda g, x: g.position(g.view(x, (2, 64, 3)), "p", rows=10), "10 rows"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(build, message):
    g = Graph(2)
    with pytest.raises(SpecError, match=message):
        build(g, g.input(3, 4, 16))
