"""`sparsify` and what surrounds it: reports, checkpoints, optimizers, AMP, compilation, DDP, schedules."""

import copy
import io
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from codesign.errors import SpecError
from codesign.nm import torch_ops
from codesign.nm.format import NM
from codesign.train import (
    AST,
    BDWP,
    METHODS,
    SDGP,
    SRSTE,
    SSTE,
    Dense,
    ProgressiveGradientFlow,
    Schedule,
    Transposable,
    finalize,
    follow,
    load_sparsity_state,
    sparse_layers,
    sparsify,
    sparsity_state,
)
from workloads.models import build
from workloads.ops import Role, Stage

torch.set_num_threads(2)

NM_2_8 = NM(2, 8)


def network():
    """A small network in which every kind of layer occurs."""
    torch.manual_seed(11)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 32, 3, padding=1, groups=2, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def sparse_network(config=None, **options):
    model, _ = sparsify(network(), config or BDWP(), **options)
    return model


def batch(seed=0, images=4):
    return torch.randn(images, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def train(model, optimizer, steps, seed=0):
    for step in range(steps):
        optimizer.zero_grad()
        model(batch(seed + step)).square().mean().backward()
        optimizer.step()


def parameters(model):
    return [p.detach().clone() for p in model.parameters()]


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


# --- what becomes sparse, and what is reported -----------------------------------------------------------------


def rows(report):
    return {(row.layer, row.stage): row.reason or (row.pruned, row.nm) for row in report}


def test_report_of_bdwp():
    model, report = sparsify(network(), BDWP())
    sparse = (Role.WEIGHT, NM_2_8)
    assert rows(report) == {
        ("0", Stage.FF): "first layer",
        ("0", Stage.BP): "first layer",
        ("3", Stage.FF): "depthwise convolution",
        ("3", Stage.BP): "depthwise convolution",
        ("4", Stage.FF): sparse,
        ("4", Stage.BP): sparse,
        ("8", Stage.FF): sparse,
        ("8", Stage.BP): "Cout is 10, not a multiple of 8",
    }
    assert [name for name, _ in sparse_layers(model)] == ["4", "8"]


def test_channels_of_a_group_that_do_not_divide():
    _, report = sparsify(nn.Conv2d(24, 32, 3, groups=2), BDWP(first_dense=False))
    assert rows(report) == {
        ("", Stage.FF): "Cin of a group is 12, not a multiple of 8",
        ("", Stage.BP): (Role.WEIGHT, NM_2_8),
    }
    _, report = sparsify(nn.Linear(12, 16), Transposable(first_dense=False))  # both passes or none
    assert set(rows(report).values()) == {"Cin is 12, not a multiple of 8"}


def test_report_without_first_layer_rule_with_head_filter_overrides_and_mvue():
    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(5)))
    config = BDWP(first_dense=False, head_dense=True, mvue=NM(2, 4))
    overrides = {"1": None, "[12]": NM(1, 4), "3": NM(4, 4)}
    _, report = sparsify(model, config, lambda name, _: name != "0", overrides)
    reasons = {row.layer: (row.reason, row.nm) for row in report if row.stage is Stage.FF}
    assert reasons == {
        "0": ("excluded by the filter", None),
        "1": ("excluded by an override", None),
        "2": ("", NM(1, 4)),
        "3": ("4:4 keeps everything", None),
        "4": ("last layer", None),
    }
    weight_updates = [row for row in report if row.stage is Stage.WU]
    assert [(row.pruned, row.nm) for row in weight_updates if row.nm] == [(Role.GRADIENT, NM(2, 4))] * 2


@pytest.mark.parametrize("name", METHODS)
def test_every_method_reports_the_passes_that_it_prunes(name):
    config = METHODS[name](first_dense=False)
    _, report = sparsify(nn.Sequential(nn.Linear(16, 16)), config)
    assert {row.stage: row.pruned for row in report if row.pruned} == config.prunes
    for row in report:
        assert row.reason in ("", f"{name} does not prune this pass")


class OwnForward(nn.Linear):
    def forward(self, x):
        return super().forward(2 * x)


def test_layers_that_cannot_be_sparse():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.ModuleDict(
            {
                "embedding": nn.Embedding(5, 16),
                "plain": nn.Linear(16, 16),
                "own": OwnForward(16, 16),
                "attention": nn.MultiheadAttention(16, 2),
                "normed": nn.utils.parametrizations.weight_norm(nn.Linear(16, 16)),
                "lazy": nn.LazyLinear(16),
                "complex": nn.Linear(16, 16, dtype=torch.complex64),
            }
        )
    _, report = sparsify(model, BDWP())
    assert {row.layer: row.reason for row in report if row.stage is Stage.FF} == {
        "plain": "",  # the embedding comes first
        "own": "OwnForward has a forward of its own",
        "attention.out_proj": "MultiheadAttention uses its weight without calling it",
        "normed": "its weight is computed from other parameters",
        "lazy": "its weight has no shape yet",
        "complex": "its weight is torch.complex64",
    }


def test_dense_changes_nothing():
    model, report = sparsify(network(), Dense())
    assert not sparse_layers(model)
    assert all(row.nm is None for row in report)


def test_mistakes_are_refused_before_anything_changes():
    model = network()
    with pytest.raises(SpecError, match=r"override 'blocks\.\*' matches no layer; layers: 0, 3, 4, 8"):
        sparsify(model, BDWP(), overrides={"blocks.*": None})
    assert not sparse_layers(model)
    sparsify(model, BDWP())
    with pytest.raises(SpecError, match="layer '4' is sparse already"):
        sparsify(model, BDWP())


# --- everything that holds a model keeps working ----------------------------------------------------------------


def test_state_dict_keys_parameters_and_optimizer_survive():
    model = network()
    keys, before, optimizer = list(model.state_dict()), list(model.parameters()), sgd(model)
    sparsify(model, BDWP())
    assert list(model.state_dict()) == keys
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))
    w = model[4].weight.detach().clone()
    train(model, optimizer, 2)
    assert (model[4].weight != w).all()
    network().load_state_dict(model.state_dict())
    finalize(model)
    assert list(model.state_dict()) == keys
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))


def test_deepcopy_and_pickle_give_independent_sparse_models():
    model = sparse_network()
    y = model.eval()(batch())
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    for twin in (copy.deepcopy(model), torch.load(stream, weights_only=False)):
        assert [type(m) for m in twin] == [type(m) for m in model]
        assert torch.equal(twin(batch()), y)
        with torch.no_grad():
            twin[4].weight.neg_()
        assert not torch.equal(twin(batch()), y)
        assert torch.equal(model(batch()), y)


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_is_the_same_run(name):
    def start():
        model = sparse_network(METHODS[name]())
        optimizer = sgd(model)
        follow(model, optimizer)
        return model, optimizer

    model, optimizer = start()
    train(model, optimizer, 3)
    state = copy.deepcopy((model.state_dict(), optimizer.state_dict(), sparsity_state(model)))
    train(model, optimizer, 2, seed=50)
    resumed, resumed_optimizer = start()
    resumed.load_state_dict(state[0])
    resumed_optimizer.load_state_dict(state[1])
    load_sparsity_state(resumed, state[2])
    train(resumed, resumed_optimizer, 2, seed=50)
    assert all(torch.equal(a, b) for a, b in zip(parameters(model), parameters(resumed), strict=True))


def test_state_of_another_model_is_refused():
    state = sparsity_state(sparse_network())
    with pytest.raises(SpecError, match="differ in layer '4'"):
        load_sparsity_state(sparse_network(overrides={"4": None}), state)


def test_changed_weights_are_noticed():
    model = sparse_network().eval()
    layer = model[4]
    changes = [
        lambda: layer.weight.data.__setitem__(0, 3.0) or model.load_state_dict(model.state_dict()),
        lambda: model.load_state_dict(network().state_dict()),
        lambda: setattr(layer, "weight", nn.Parameter(torch.randn_like(layer.weight))),
        lambda: model.double(),
        lambda: torch.nn.init.ones_(layer.weight),
    ]
    for change in changes:
        layer.forward_weight()
        change()
        assert torch.equal(layer.forward_weight(), torch_ops.prune(layer.weight, NM_2_8, 1))


def test_evaluation_in_inference_mode_does_not_spoil_training():
    model = sparse_network()
    with torch.inference_mode():
        model(batch())
    model(batch()).sum().backward()
    assert model[4].weight.grad is not None


def test_finalized_model_is_plain_and_computes_the_same():
    model = sparse_network().eval()
    y = model(batch())
    assert type(finalize(model)[4]) is nn.Conv2d
    assert not {"method", "site", "derived"} & set(vars(model[4]))
    assert (model[4].weight == 0).sum() == model[4].weight.numel() * 6 // 8
    torch.testing.assert_close(model(batch()), y)


def test_encoder_layers_use_the_sparse_weights_in_evaluation():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()
    sparsify(model, BDWP(first_dense=False))
    assert [name for name, _ in sparse_layers(model)][:2] == ["layers.0.linear1", "layers.0.linear2"]
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        y = model(x)
        torch.testing.assert_close(y, finalize(model)(x))


# --- pruned once for each optimizer step --------------------------------------------------------------------------


def test_accumulation_prunes_once_a_step(monkeypatch):
    calls = []
    prune = torch_ops.prune
    monkeypatch.setattr("codesign.train.methods.bdwp.prune", lambda *a: calls.append(a) or prune(*a))
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 24))
    sparsify(model, BDWP(first_dense=False))
    optimizer = sgd(model)
    for step in range(1, 4):
        for _ in range(5):
            model(torch.randn(4, 16, requires_grad=True)).sum().backward()
            with torch.no_grad():
                model(torch.randn(4, 16))
        assert len(calls) == 2 * 2 * step  # two layers, two passes
        optimizer.step()


def test_the_backward_weight_is_not_computed_without_need(monkeypatch):
    calls = []
    prune = torch_ops.prune
    monkeypatch.setattr("codesign.train.methods.bdwp.prune", lambda *a: calls.append(a[2]) or prune(*a))
    layer, _ = sparsify(nn.Linear(16, 16), BDWP(first_dense=False))
    layer(torch.randn(4, 16)).sum().backward()  # the input needs no gradient
    layer.eval()
    with torch.no_grad():
        layer(torch.randn(4, 16))
    assert calls == [1]


# --- precision, memory format, compilation ----------------------------------------------------------------------


def test_autocast_agrees_with_torch():
    model = sparse_network()
    plain = finalize(copy.deepcopy(model))
    for m in (model, plain):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = m(batch())
        assert y.dtype == torch.bfloat16
        y.float().square().mean().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(batch()), plain(batch()))
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())
    # the last layer's dense dw depends on no w_bp
    torch.testing.assert_close(model[8].weight.grad, plain[8].weight.grad)


@pytest.mark.parametrize(
    "config", [BDWP(), SDGP(maxnorm=True), BDWP(mvue=NM(2, 4))], ids=["bdwp", "sdgp", "mvue"]
)
def test_backward_inside_autocast(config):
    model = sparse_network(config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(batch()).float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_channels_last():
    model, x = sparse_network(), batch().requires_grad_()
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    other_x = batch().contiguous(memory_format=torch.channels_last).requires_grad_()
    for m, v in ((model, x), (other, other_x)):
        m(v).square().mean().backward()
    assert other[4].forward_weight().is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(other_x.grad, x.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(other[4].weight.grad, model[4].weight.grad, rtol=1e-4, atol=1e-6)


COMPILED = {
    "bdwp": BDWP(),
    "sdgp": SDGP(maxnorm=True),
    "srste": SRSTE(),
    "transposable": Transposable(nm=NM(2, 4), refresh_steps=2),
    "sste": SSTE(),
    "progressive": ProgressiveGradientFlow(beta=0.3),
    "ast": AST(score="wanda", refresh_steps=2, decay_rate=1.0, ramp_steps=2),
}


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("aot_eager", "bdwp"),
        *(pytest.param("aot_eager", name, marks=pytest.mark.slow) for name in COMPILED if name != "bdwp"),
        *(pytest.param("inductor", name, marks=pytest.mark.slow) for name in ("bdwp", "sdgp")),
    ],
)
def test_compile_in_one_graph(backend, name):
    config = COMPILED[name]
    torch._dynamo.reset()
    model, twin = sparse_network(config), sparse_network(config)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    optimizers = sgd(model), sgd(twin)
    for m, optimizer in zip((model, twin), optimizers, strict=True):
        follow(m, optimizer)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(4):  # masks follow the weights
            for m, optimizer in zip((compiled, twin), optimizers, strict=True):
                train(m, optimizer, 1, seed=step)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compiled(batch()).dtype == torch.bfloat16


DDP = """
import sys, torch, torch.distributed as dist
from torch import nn
from codesign.train import SRSTE, follow, sparsify
torch.set_num_threads(1)
rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(0)
model, _ = sparsify(nn.Sequential(nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(64, 8)), SRSTE(first_dense=False))
ddp = nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
follow(model, optimizer)
x = torch.randn(3, 4, 8, 4, 4)
for step in range(3):
    optimizer.zero_grad()
    ddp(x[step][2 * rank : 2 * rank + 2]).square().mean().backward()
    optimizer.step()
alone, _ = sparsify(nn.Sequential(nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(64, 8)), SRSTE(first_dense=False))
torch.manual_seed(0)
for layer in (alone[0], alone[2]):
    layer.reset_parameters()
optimizer = torch.optim.SGD(alone.parameters(), 0.1)
follow(alone, optimizer)
for step in range(3):
    optimizer.zero_grad()
    alone(x[step]).square().mean().backward()
    optimizer.step()
for p, q in zip(model.parameters(), alone.parameters(), strict=True):
    torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_train_like_one(tmp_path):
    command = [sys.executable, "-c", DDP]
    ranks = [subprocess.Popen([*command, str(rank), str(tmp_path / "store")]) for rank in (0, 1)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_cuda_device_as_on_the_cpu():
    model = sparse_network()
    on_device = copy.deepcopy(model).cuda()
    for m, x in ((model, batch()), (on_device, batch().cuda())):
        m(x).square().mean().backward()
    assert torch.equal(on_device[4].forward_weight().cpu(), model[4].forward_weight())
    torch.testing.assert_close(on_device[4].weight.grad.cpu(), model[4].weight.grad, rtol=1e-2, atol=1e-4)


# --- following the optimizer, schedules --------------------------------------------------------------------------


def test_a_method_that_needs_steps_refuses_to_train_without():
    model = sparse_network(SRSTE())
    model.eval()(batch())
    with pytest.raises(SpecError, match=r"'4': srste must see the optimizer's steps; call .*follow"):
        model.train()(batch())
    follow(model, sgd(model))
    model(batch())
    with pytest.raises(SpecError, match="must see"):
        copy.deepcopy(model)(batch())  # its weights are not in the optimizer


def test_following_twice_or_the_wrong_optimizer_is_refused():
    model = sparse_network()
    optimizer = sgd(model)
    follow(model, optimizer)
    with pytest.raises(SpecError, match="layer '4' is followed already"):
        follow(model, optimizer)
    with pytest.raises(SpecError, match="holds no weight of a sparse layer"):
        follow(model, sgd(network()))
    follow(network(), sgd(network()))  # nothing to follow


def test_decay_is_scaled_with_the_gradient_of_a_fused_optimizer():
    model = sparse_network(SRSTE(decay_rate=0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, fused=True)
    follow(model, optimizer)
    optimizer.grad_scale = torch.tensor(8.0)  # as GradScaler does
    w = model[4].weight
    w.grad = torch.zeros_like(w)
    kept = model[4].forward_weight().clone()
    pruned = w.detach() - kept
    optimizer.step()
    torch.testing.assert_close(w.detach(), kept + 0.5 * pruned)


def test_tied_weights_decay_once_and_all_count():
    first, second = nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False)
    second.weight = first.weight
    model, _ = sparsify(nn.Sequential(first, second), SRSTE(first_dense=False, decay_rate=1.0))
    w, optimizer = first.weight, torch.optim.SGD(model.parameters(), lr=1.0)
    follow(model, optimizer)
    w.grad = torch.zeros_like(w)
    expected = first.forward_weight().clone()
    optimizer.step()
    torch.testing.assert_close(w.detach(), expected)
    assert [layer.site.step for _, layer in sparse_layers(model)] == [1, 1]


def test_schedule_ratios():
    ramp = Schedule(start_step=4, full_step=10, dense_step=20)
    kept = [ramp.ratio(NM_2_8, step).n for step in range(22)]
    assert kept == [8, 8, 8, 8, 8, 7, 6, 5, 4, 3] + [2] * 10 + [8, 8]
    assert Schedule.of_fractions(1000, 0.25, 0.75) == Schedule(250, 750)
    assert Schedule.of_fractions(1000, dense=0.9) == Schedule(0, 0, 900)  # sparse, then dense fine-tuning
    assert Schedule.of_fractions(1000, 0.1) == Schedule(100, 100)  # dense warm-up
    assert Schedule().constant


@pytest.mark.parametrize("points", [(-1, 0, None), (5, 4, None), (1, 2, 1)])
def test_schedules_out_of_order_are_refused(points):
    with pytest.raises(SpecError, match="0 <= start_step <= full_step <= dense_step"):
        Schedule(*points)
    with pytest.raises(SpecError, match="start <= full <= dense"):
        Schedule.of_fractions(10, 0.5, 0.6, 0.55)


def test_training_on_a_schedule():
    model = sparse_network(BDWP(schedule=Schedule(1, 3, 4)))
    follow(model, optimizer := sgd(model))
    kept = []
    for step in range(5):
        kept.append((model[4].forward_weight() != 0).float().mean().item())
        train(model, optimizer, 1, seed=step)
    assert kept == [1, 1, 5 / 8, 2 / 8, 1]


def test_a_finalized_model_computes_what_it_did_although_its_head_was_the_embedding():

    torch.manual_seed(3)
    model, report = sparsify(build("gpt-nano", vocab=64, seq_len=16), BDWP())
    assert any(row.layer == "lm_head" and row.nm for row in report)
    ids = torch.randint(64, (2, 16))
    expected, keys = model(ids), list(model.state_dict())
    embedding = model.wte.weight.detach().clone()
    finalize(model)
    assert torch.equal(model(ids), expected)
    assert torch.equal(model.wte.weight, embedding)
    assert list(model.state_dict()) == keys
