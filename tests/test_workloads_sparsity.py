"""Which operands become sparse, why others do not, and the ideal speedups that follow."""

import pytest

from codesign.errors import SpecError
from codesign.nm.format import NM
from workloads.catalog import load
from workloads.graph import Graph
from workloads.ops import Role, Sparsity, Stage, UpdateOp
from workloads.sparsity import METHODS, LayerSparsity, apply_method
from workloads.training import training_trace

NM_2_8 = NM(2, 8)
RATIOS = (NM(2, 8), NM(2, 4), NM(1, 4), NM(2, 16))

# Ideal speedup of BDWP over dense training in MACs, by hand: dense / (FF + BP at N/M + WU), where the first layer
# and the attention products are dense and everything else is sparse, a classifier of 10, 100 or 1000 classes too.
IDEAL = [
    ("resnet18", {}, (1.9151, 1.4675, 1.9151, 2.2598)),
    ("resnet50", {}, (1.9619, 1.4856, 1.9619, 2.3365)),
    ("resnet18-cifar", {"classes": 10}, (1.9958, 1.4984, 1.9958, 2.3929)),
    ("vgg16-cifar", {"classes": 10}, (1.9925, 1.4972, 1.9925, 2.3874)),
    ("vgg19-cifar", {"classes": 100}, (1.9941, 1.4978, 1.9941, 2.3901)),
    ("vit-base", {}, (1.9135, 1.4668, 1.9135, 2.2571)),
    ("vit-small-cifar", {"classes": 100}, (1.9456, 1.4793, 1.9456, 2.3095)),
    ("bert-base", {"seq_len": 128}, (1.9474, 1.48, 1.9474, 2.3125)),
]

# Here the classifier's classes are no multiple of M, so its BP is dense, and that shows in the fourth decimal.
DENSE_HEAD = {
    ("resnet18", NM(2, 16)): 2.2593,
    ("resnet50", NM(2, 16)): 2.3357,
    ("vgg19-cifar", NM(2, 8)): 1.9940,
    ("vgg19-cifar", NM(2, 16)): 2.3899,
}


def speedup(trace, also_sparse=frozenset(), nm=None):
    """Dense MACs over the MACs left; `also_sparse` operations are counted at `nm` although they are dense."""
    left = 0.0
    for op in trace.gemms():
        ratio = op.sparsity.nm if op.sparsity else nm if op.name in also_sparse else NM(1, 1)
        left += op.dense_macs * ratio.n / ratio.m
    return sum(op.dense_macs for op in trace.gemms()) / left


@pytest.mark.parametrize(("name", "options", "ideal"), IDEAL)
def test_ideal_speedup(name, options, ideal):
    dense = load(name, batch=1, **options)
    for nm, expected in zip(RATIOS, ideal, strict=True):
        sparse, report = apply_method(dense, "bdwp", nm)
        heads = {f"{entry.layer}.{entry.stage.value}" for entry in report if "multiple" in entry.reason}
        assert heads <= {"fc.bp", "head.bp"}
        assert speedup(sparse, heads, nm) == pytest.approx(expected, abs=6e-5)
        assert speedup(sparse) == pytest.approx(DENSE_HEAD.get((name, nm), expected), abs=6e-5)


def test_what_each_method_prunes():
    dense = load("vgg16-cifar", batch=1, classes=16)
    inner = {
        "dense": {},
        "bdwp": {"ff": Sparsity("b", NM_2_8), "bp": Sparsity("b", NM_2_8)},
        "srste": {"ff": Sparsity("b", NM_2_8)},
        "sdgp": {"bp": Sparsity("a", NM_2_8)},
        "sdwp": {"bp": Sparsity("b", NM_2_8)},
    }
    prunes = {"dense": 0, "bdwp": 2, "srste": 1, "sdgp": 0, "sdwp": 1}
    assert set(METHODS) == set(inner)
    for method, expected in inner.items():
        trace, report = apply_method(dense, method, NM_2_8)
        assert trace.method == method
        for op in trace.gemms():
            is_first = op.layer == "conv1_1"
            assert op.sparsity == (None if is_first else expected.get(op.stage.value)), op.name
        for op in trace.ops:
            if isinstance(op, UpdateOp):
                pruned = op.layer != "conv1_1" and not op.layer.endswith(".bn")
                assert op.prunes == (NM_2_8,) * (prunes[method] if pruned else 0)
        passes = sum(op.stage is not Stage.WU for op in dense.gemms())
        assert len(report) == passes
        assert all(bool(entry.reason) == (entry.nm is None) == (entry.pruned is None) for entry in report)


def reasons(graph, method="bdwp", nm=NM_2_8, **options):
    _, report = apply_method(training_trace(graph, "t"), method, nm, **options)
    return {(entry.layer, entry.stage.value): entry.reason for entry in report}


def small_graph():
    g = Graph(2)
    x = g.conv(g.input(8, 8, 8), 24, 3, "stem", padding=1)
    x = g.conv(x, 24, 3, "depthwise", padding=1, groups=24)
    x = g.conv(x, 48, 3, "grouped", padding=1, groups=4)
    x = g.conv(x, 32, 3, "strided", stride=2, padding=1)
    x = g.linear(g.flatten(x), 10, "head")
    g.loss(x)
    return g


def test_reasons():
    assert reasons(small_graph()) == {
        ("stem", "ff"): "first layer",
        ("depthwise", "ff"): "depthwise convolution",
        ("depthwise", "bp"): "depthwise convolution",
        ("grouped", "ff"): "Cin of a group is 6, not a multiple of 8",
        ("grouped", "bp"): "Cout of a group is 12, not a multiple of 8",
        ("strided", "ff"): "",
        ("strided", "bp"): "",
        ("head", "ff"): "",
        ("head", "bp"): "Cout is 10, not a multiple of 8",
    }
    assert reasons(small_graph(), first_dense=False)["stem", "ff"] == ""
    assert reasons(small_graph(), nm=NM(2, 6))["grouped", "ff"] == ""
    assert set(reasons(small_graph(), nm=NM(8, 8)).values()) == {"8:8 keeps everything"}
    srste = reasons(small_graph(), "srste")
    assert srste["strided", "bp"] == "srste does not prune this pass"
    assert srste["stem", "ff"] == "first layer"
    assert set(reasons(small_graph(), "dense", None).values()) == {"dense does not prune this pass"}


def test_a_patch_embedding_stays_dense_even_if_the_first_layer_may_be_pruned():
    _, report = apply_method(load("vit-tiny", batch=1), "bdwp", NM_2_8, first_dense=False)
    assert report[0] == LayerSparsity("patch_embed", Stage.FF, reason="Cin is 3, not a multiple of 8")


def test_strided_backward_pass_is_sparse_in_every_phase():
    trace, _ = apply_method(training_trace(small_graph(), "t"), "bdwp", NM_2_8)
    op = next(op for op in trace.gemms(Stage.BP) if op.layer == "strided")
    assert len(op.gemms) == 4
    assert op.sparsity == Sparsity("b", NM_2_8)
    assert all(gemm.k % 8 == 0 for gemm in op.gemms)


def test_attention_stays_dense_and_bert_has_no_dense_first_layer():
    trace, report = apply_method(load("bert-base", batch=1, seq_len=8), "bdwp", NM_2_8)
    assert all(entry.pruned is Role.WEIGHT for entry in report)
    for op in trace.gemms():
        assert (op.sparsity is not None) == (op.b is Role.WEIGHT)


def test_a_tied_weight_is_pruned_where_it_is_updated():
    trace, report = apply_method(load("gpt2-small", batch=1, seq_len=8), "bdwp", NM_2_8)
    head = {entry.stage: entry for entry in report if entry.layer == "lm_head"}
    assert head[Stage.FF].nm == NM_2_8
    assert head[Stage.BP].reason == "Cout is 50257, not a multiple of 8"
    assert next(op for op in trace.ops if op.name == "wte.update").prunes == (NM_2_8,)


def test_pure_and_repeatable():
    dense = load("resnet18-cifar", batch=1, classes=16)
    before = dense.to_json()
    once, _ = apply_method(dense, "bdwp", NM_2_8)
    assert dense.to_json() == before
    assert apply_method(once, "bdwp", NM_2_8)[0] == once
    assert apply_method(once, "dense", None)[0] == dense


def test_unknown_method_and_missing_ratio():
    trace = load("mlp", batch=1)
    with pytest.raises(
        SpecError, match="unknown method 'bdpw', did you mean \"bdwp\"; expected one of: dense, bdwp"
    ):
        apply_method(trace, "bdpw", NM_2_8)
    with pytest.raises(SpecError, match="'sdgp' needs an N:M ratio"):
        apply_method(trace, "sdgp", None)
