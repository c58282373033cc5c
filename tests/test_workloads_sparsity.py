"""Which operands become sparse, why others do not, and the ideal speedups that follow."""

import copy
import re

import pytest
from torch import nn

from codesign.errors import SpecError, TraceError
from codesign.nm.format import NM
from codesign.train import METHODS as TRAINING_METHODS
from codesign.train import sparsify
from workloads.catalog import load
from workloads.graph import Graph
from workloads.ops import Role, Sparsity, Stage, UpdateOp
from workloads.sparsity import COUPLED, METHODS, LayerSparsity, apply_method, decide, mark
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
        "transposable": {"ff": Sparsity("b", NM_2_8), "bp": Sparsity("b", NM_2_8)},
        "bimask": {"ff": Sparsity("b", NM_2_8), "bp": Sparsity("b", NM_2_8)},
        "sste": {"ff": Sparsity("b", NM_2_8)},
        "progressive": {"ff": Sparsity("b", NM_2_8)},
        "asp": {"ff": Sparsity("b", NM_2_8)},
        "ast": {"ff": Sparsity("b", NM_2_8)},
        "cast": {"ff": Sparsity("b", NM_2_8)},
    }
    prunes = {method: sum(entry.operand == "b" for entry in inner[method].values()) for method in inner}
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


# --- coupled passes, and recorded decisions -----------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(COUPLED))
def test_coupled_passes_are_sparse_together_or_not_at_all(method):
    assert reasons(small_graph(), method) == {
        ("stem", "ff"): "first layer",
        ("depthwise", "ff"): "depthwise convolution",
        ("depthwise", "bp"): "depthwise convolution",
        ("grouped", "ff"): "Cin of a group is 6, not a multiple of 8",
        ("grouped", "bp"): "Cout of a group is 12, not a multiple of 8",
        ("strided", "ff"): "",
        ("strided", "bp"): "",
        ("head", "ff"): "Cout is 10, not a multiple of 8",
        ("head", "bp"): "Cout is 10, not a multiple of 8",
    }
    # the stem has no backward GEMM, and its 24 output channels forbid 2:16 all the same
    assert reasons(small_graph(), method, NM(2, 8), first_dense=False)["stem", "ff"] == ""
    narrow = Graph(2)
    narrow.loss(narrow.conv(narrow.input(16, 8, 8), 24, 3, "stem"))
    assert reasons(narrow, method, NM(2, 16), first_dense=False) == {
        ("stem", "ff"): "Cout is 24, not a multiple of 16"
    }


@pytest.mark.parametrize("method", METHODS)
def test_the_training_library_prunes_what_the_table_says(method):
    config = TRAINING_METHODS[method]
    assert config.prunes == METHODS[method]
    assert config.coupled == (method in COUPLED)
    assert set(TRAINING_METHODS) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_training_and_simulation_give_the_same_reasons(method):
    """An equal network in both, layer by layer; the stem's backward pass exists in training only."""
    model = nn.Sequential(
        nn.Conv2d(8, 24, 3, padding=1),
        nn.Conv2d(24, 24, 3, padding=1, groups=24),
        nn.Conv2d(24, 48, 3, padding=1, groups=4),
        nn.Conv2d(48, 32, 3, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    names = {"0": "stem", "1": "depthwise", "2": "grouped", "3": "strided", "5": "head"}
    for first_dense in (True, False):
        config = TRAINING_METHODS[method](nm=NM_2_8, first_dense=first_dense)
        _, rows = sparsify(copy.deepcopy(model), config)
        trained = {(names[row.layer], row.stage): (row.pruned, row.nm, row.reason) for row in rows}
        decided = decide(training_trace(small_graph(), "t"), method, NM_2_8, first_dense)
        simulated = {(row.layer, row.stage): (row.pruned, row.nm, row.reason) for row in decided}
        del trained["stem", Stage.BP]
        assert trained == simulated


def decision(layer, stage, pruned=Role.WEIGHT, nm=NM_2_8):
    return LayerSparsity(layer, stage, pruned, nm)


def test_recorded_decisions_of_every_stage():
    dense = training_trace(small_graph(), "t")
    decisions = (
        decision("strided", Stage.FF),
        LayerSparsity("strided", Stage.BP, reason="dense by the schedule"),
        decision("strided", Stage.WU, Role.GRADIENT, NM(2, 4)),
        decision("depthwise", Stage.WU, Role.GRADIENT, NM(1, 2)),
        decision("head", Stage.FF, nm=NM(2, 16)),
        decision("grouped", Stage.BP, Role.GRADIENT, NM(2, 4)),
        LayerSparsity("stem", Stage.BP, reason="first layer"),  # there is no such GEMM
    )
    trace = mark(dense, decisions, "mine")
    assert trace.method == "mine"
    assert {op.name: op.sparsity for op in trace.gemms() if op.sparsity} == {
        "strided.ff": Sparsity("b", NM_2_8),
        "strided.wu": Sparsity("b", NM(2, 4)),
        "depthwise.wu": Sparsity("b", NM(1, 2)),
        "head.ff": Sparsity("b", NM(2, 16)),
        "grouped.bp": Sparsity("a", NM(2, 4)),
    }
    assert {op.layer: op.prunes for op in trace.ops if isinstance(op, UpdateOp) and op.prunes} == {
        "strided": (NM_2_8,),
        "head": (NM(2, 16),),
    }
    assert mark(trace, (), "dense") == dense


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["resnet18-cifar", "gpt2-small"])
def test_deciding_and_marking_is_applying(name, method):
    trace = load(name, batch=1)
    decisions = decide(trace, method, NM_2_8)
    assert apply_method(trace, method, NM_2_8) == (mark(trace, decisions, method), decisions)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (decision("stride", Stage.FF), "layer 'stride', which does not exist, did you mean \"strided\""),
        (LayerSparsity("x", Stage.FF, reason="dense"), "layer 'x', which does not exist"),
        (
            decision("strided", Stage.WU),
            "layer 'strided' has a sparse weight in wu, but no operation with one",
        ),
        (
            decision("strided", Stage.FF, Role.GRADIENT),
            "has a sparse gradient in ff, but no operation with one",
        ),
        (decision("head", Stage.BP), "sparse weight in bp, but Cout is 10, not a multiple of 8"),
        (decision("depthwise", Stage.FF), "sparse weight in ff, but depthwise convolution"),
        (decision("strided", Stage.WU, Role.GRADIENT, NM(8, 8)), "in wu, but 8:8 keeps everything"),
    ],
)
def test_decisions_that_do_not_fit_the_trace(row, problem):
    trace = training_trace(small_graph(), "t")
    with pytest.raises(TraceError, match=f"^trace 't': .*{re.escape(problem)}; record it again$"):
        mark(trace, (decision("strided", Stage.FF), row), "bdwp")


def test_the_first_layer_has_no_bp_whatever_was_decided():
    trace = training_trace(small_graph(), "t")
    rows = (decision("strided", Stage.FF),)
    assert mark(trace, (*rows, decision("stem", Stage.BP)), "bdwp") == mark(trace, rows, "bdwp")


def test_a_repeated_use_of_a_weight_follows_its_owner():
    g = Graph(2)
    x = g.linear(g.input(16), 16, "stem")
    shared = g.linear(x, 16, "shared")
    x = g.linear(shared, 16, "shared#2", tied=shared, bias=False)
    x = g.linear(x, 12, "fc")
    x = g.linear(x, 16, "fc#2")  # another layer of that name, as in a file
    g.loss(x)
    trace, decisions = apply_method(training_trace(g, "t"), "bdwp", NM_2_8)
    assert {(row.layer, row.stage.value): str(row.nm or row.reason) for row in decisions} == {
        ("stem", "ff"): "first layer",
        ("shared", "ff"): "2:8",
        ("shared", "bp"): "2:8",
        ("fc", "ff"): "2:8",
        ("fc", "bp"): "Cout is 12, not a multiple of 8",
        ("fc#2", "ff"): "Cin is 12, not a multiple of 8",
        ("fc#2", "bp"): "2:8",
    }
    sparse = {op.name for op in trace.gemms() if op.sparsity}
    assert sparse == {"shared.ff", "shared.bp", "shared#2.ff", "shared#2.bp", "fc.ff", "fc#2.bp"}
    updates = {op.layer: op.prunes for op in trace.ops if isinstance(op, UpdateOp)}
    assert updates["shared"] == (NM_2_8, NM_2_8)
    gradients = mark(trace, (decision("shared", Stage.WU, Role.GRADIENT),), "mvue")
    assert {op.name for op in gradients.gemms() if op.sparsity} == {"shared.wu", "shared#2.wu"}
