"""Each training method against its written definition, on operands captured at the kernels and in pure autograd."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from codesign.errors import SpecError
from codesign.nm import reference
from codesign.nm.format import NM
from codesign.train import (
    ASP,
    AST,
    BDWP,
    METHODS,
    SDGP,
    SDWP,
    SRSTE,
    SSTE,
    BiMask,
    Dense,
    ProgressiveGradientFlow,
    Schedule,
    Transposable,
    distillation_loss,
    finalize,
    follow,
    sparsify,
)
from codesign.train.methods.mvue import keep_probabilities, prune_unbiased
from codesign.train.methods.progressive import stage_ratios
from codesign.train.methods.transposable import transposable_mask

torch.set_num_threads(2)

NM_2_8 = NM(2, 8)


def oracle_prune(w, nm, axis):
    """By the numpy oracle."""
    return torch.from_numpy(reference.prune(w.detach().numpy(), nm, axis))


class Captured(TorchDispatchMode):
    """Arguments of every matrix product and convolution, forward and backward."""

    NAMES = ("convolution", "convolution_backward", "mm", "addmm")

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in self.NAMES:
            self.calls.append((name, [a.clone() if isinstance(a, torch.Tensor) else a for a in args]))
        return func(*args, **(kwargs or {}))

    def named(self, name):
        return [args for called, args in self.calls if called == name]


def conv(groups=1, **options):
    torch.manual_seed(3)
    return nn.Conv2d(16 * groups, 32, 3, padding=1, groups=groups, **options)


def sparse_copy(layer, config):
    """A sparse copy of one layer."""
    twin = nn.Sequential(copy.deepcopy(layer))
    sparsify(twin, config)
    return twin[0]


def inputs(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5)).requires_grad_()


def gradients(layer, x, g):
    """y, dx and the parameters' gradients for the output gradient g."""
    layer.zero_grad()
    y = layer(x)
    (dx,) = torch.autograd.grad(y, x, g, retain_graph=True)
    y.backward(g, inputs=list(layer.parameters()))
    return y.detach(), dx, [p.grad.clone() for p in layer.parameters()]


def assert_close(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def autograd_formula(forward, x, w, bias, w_ff, w_bp, g):
    """Values and gradients of two weights for one layer, by stop-gradients alone: three dense products."""
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    y = forward(x.detach(), w_ff + (w - w.detach())) + (forward(x, w_bp) - forward(x, w_bp).detach())
    dx, dw = torch.autograd.grad(y, (x, w), g)
    db = g.sum([axis for axis in range(g.dim()) if axis != (1 if g.dim() == 4 else g.dim() - 1)])
    return (y + bias).detach(), dx, [dw, db]


CONVOLUTIONS = {
    "plain": {},
    "stride and dilation": {"stride": 2, "dilation": 2},
    "same": {"padding": "same", "kernel_size": 4},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "reflect": {"padding": (2, 1), "padding_mode": "reflect", "kernel_size": (5, 3)},
    "groups": {"groups": 2},
}


@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize(
    ("forward_sparse", "config"), [(True, BDWP(first_dense=False)), (False, SDWP(first_dense=False))]
)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_bdwp_and_sdwp_of_a_convolution(options, forward_sparse, config):
    layer = nn.Conv2d(32, 16, **({"kernel_size": 3} | options))
    x = inputs(2, 32, 9, 10)
    w = layer.weight
    w_ff = oracle_prune(w, NM_2_8, 1) if forward_sparse else w.detach()
    w_bp = oracle_prune(w, NM_2_8, 0)
    g = torch.randn_like(layer(x))
    expected = autograd_formula(
        lambda x, w: layer._conv_forward(x, w, None), x, w, layer.bias.view(-1, 1, 1), w_ff, w_bp, g
    )
    assert_close_all(gradients(sparse_copy(layer, config), x, g), expected)


def assert_close_all(actual, expected):
    assert_close(actual[:2], expected[:2])
    assert_close(actual[2], expected[2])


@pytest.mark.parametrize("shape", [(6, 24), (2, 5, 24)])
def test_bdwp_of_a_linear_layer(shape):
    layer, x = nn.Linear(24, 16), inputs(*shape)
    w = layer.weight
    g = torch.randn_like(layer(x))
    expected = autograd_formula(
        functional.linear, x, w, layer.bias, oracle_prune(w, NM_2_8, 1), oracle_prune(w, NM_2_8, 0), g
    )
    assert_close_all(gradients(sparse_copy(layer, BDWP(first_dense=False)), x, g), expected)


def test_bdwp_of_conv1d_with_and_without_batch():
    layer = nn.Conv1d(16, 24, 5, stride=2, padding=2)
    sparse = sparse_copy(layer, BDWP(first_dense=False))
    x = inputs(3, 16, 20)
    expected = functional.conv1d(x, oracle_prune(layer.weight, NM_2_8, 1), layer.bias, 2, 2)
    assert_close([sparse(x), sparse(x[1])], [expected, expected[1]])


class Conv1D(nn.Module):
    """As in transformers: weight (in, out)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], self.nf)


def test_bdwp_of_a_transformers_conv1d():
    layer, x = Conv1D(16, 24), inputs(2, 5, 24)
    w, g = layer.weight, torch.randn(2, 5, 16)
    expected = autograd_formula(
        torch.matmul, x, w, layer.bias, oracle_prune(w, NM_2_8, 0), oracle_prune(w, NM_2_8, 1), g
    )
    assert_close_all(gradients(sparse_copy(layer, BDWP(first_dense=False)), x, g), expected)


def test_other_modules_called_conv1d_are_no_candidates():
    wrapper = type("Conv1D", (nn.Module,), {})()
    wrapper.weight = nn.Parameter(torch.randn(16, 16, 3))
    _, report = sparsify(nn.Sequential(wrapper), BDWP(first_dense=False))
    assert report == ()


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (Transposable, {"refresh_steps": 0}, "transposable: refresh_steps is 0; expected at least 1"),
        (BiMask, {"candidates": 0}, "bimask: candidates is 0; expected at least 1"),
        (AST, {"score": "l2"}, "ast: score is 'l2'; expected magnitude, wanda"),
        (
            ProgressiveGradientFlow,
            {"decay": "cubic"},
            "decay is 'cubic'; expected linear, exponential, structure",
        ),
        (ProgressiveGradientFlow, {"stage_steps": 0}, "stage_steps is 0; expected at least 1"),
        (ProgressiveGradientFlow, {"beta": -1.0}, "beta is -1.0; expected at least 0"),
    ],
)
def test_illegal_options_are_refused(make, options, message):
    with pytest.raises(SpecError, match=message):
        make(**options)


# --- which operand of which product is pruned --------------------------------------------------------------------


def is_nm(t, nm, axis):
    """Whether `t` is N:M along `axis` and has about that many entries."""
    groups = t.movedim(axis, -1).unflatten(-1, (-1, nm.m))
    return bool(((groups != 0).sum(-1) <= nm.n).all()) and bool(t.any())


# for each method: is the forward weight N:M along Cin, are the weight and the gradient of BP N:M along Cout
OPERANDS = {
    "dense": (False, False, False),
    "bdwp": (True, True, False),
    "srste": (True, False, False),
    "sdgp": (False, False, True),
    "sdwp": (False, True, False),
    "transposable": (True, True, False),
    "bimask": (True, False, False),  # N:M along Cout only once that is permuted
    "sste": (True, False, False),
    "asp": (True, False, False),
    "ast": (True, False, False),
}


@pytest.mark.parametrize("name", OPERANDS)
def test_operands_of_a_convolution(name):
    layer, x = sparse_copy(conv(), METHODS[name](first_dense=False)), inputs(2, 16, 8, 8)
    layer.eval()  # methods with decay need no optimizer then
    with Captured() as captured:
        layer(x).square().sum().backward()
    ff_sparse, weight_sparse, gradient_sparse = OPERANDS[name]
    ((_, w_ff, *_),) = captured.named("convolution")
    assert is_nm(w_ff, NM_2_8, 1) == ff_sparse
    calls = captured.named("convolution_backward")
    g, _, w_bp, *_ = calls[0]
    assert (is_nm(w_bp, NM_2_8, 0), is_nm(g, NM_2_8, 1)) == (weight_sparse, gradient_sparse)
    if gradient_sparse:  # the product for dw has the dense gradient
        assert [args[-1] for args in calls] == [[True, False, False], [False, True, False]]
        assert calls[1][0].count_nonzero() == calls[1][0].numel()
    else:  # one call for both
        assert [args[-1] for args in calls] == [[True, True, True]]


@pytest.mark.parametrize("name", OPERANDS)
def test_operands_of_a_linear_layer(name):
    torch.manual_seed(0)
    layer = sparse_copy(nn.Linear(16, 24), METHODS[name](first_dense=False))
    layer.eval()
    with Captured() as captured:
        layer(inputs(40, 16)).square().sum().backward()
    ff_sparse, weight_sparse, gradient_sparse = OPERANDS[name]
    ((_, _, w_ff),) = captured.named("addmm")
    bp, wu = captured.named("mm")
    assert is_nm(w_ff, NM_2_8, 0) == ff_sparse  # (in, out)
    assert (is_nm(bp[1], NM_2_8, 0), is_nm(bp[0], NM_2_8, 1)) == (weight_sparse, gradient_sparse)
    assert wu[0].count_nonzero() == wu[0].numel()
    assert wu[1].count_nonzero() == wu[1].numel()


# --- single methods -----------------------------------------------------------------------------------------------


def test_srste_decays_the_pruned_weights_once_a_step():
    layer, x = conv(bias=False), inputs(2, 16, 6, 6)
    sparse = nn.Sequential(copy.deepcopy(layer))
    sparsify(sparse, SRSTE(first_dense=False, decay_rate=0.1))
    optimizer = torch.optim.SGD(sparse.parameters(), lr=0.5)
    follow(sparse, optimizer)
    for _ in range(2):  # accumulated gradients
        sparse(x).square().sum().mul(1e-3).backward()
    optimizer.step()
    w_ff = oracle_prune(layer.weight, NM_2_8, 1).requires_grad_()
    functional.conv2d(x, w_ff, padding=1).square().sum().mul(1e-3).backward()
    pruned = layer.weight * (w_ff == 0)
    torch.testing.assert_close(sparse[0].weight, layer.weight - 0.5 * (2 * w_ff.grad + 0.1 * pruned))


@pytest.mark.parametrize("maxnorm", [False, True])
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_sdgp(maxnorm, kind):
    layer, shape = (conv(), (2, 16, 6, 6)) if kind == "conv" else (nn.Linear(16, 24), (3, 7, 16))
    x = inputs(*shape)
    axis = 1 if kind == "conv" else 2
    g = torch.randn_like(layer(x))
    pruned = oracle_prune(g, NM_2_8, axis)
    if maxnorm:
        pixels = (2, 3) if kind == "conv" else (1,)
        pruned = pruned * g.abs().sum(pixels, True) / (pruned.abs().sum(pixels, True) + 1e-4)
    y, dx, grads = gradients(sparse_copy(layer, SDGP(first_dense=False, maxnorm=maxnorm)), x, g)
    expected_y, _, expected_grads = gradients(layer, x, g)
    _, expected_dx, _ = gradients(layer, x, pruned)
    assert_close([y, dx, *grads], [expected_y, expected_dx, *expected_grads])


def test_sdgp_groups_of_a_grouped_convolution():
    layer = sparse_copy(conv(groups=4), SDGP(first_dense=False))
    with Captured() as captured:
        layer(inputs(2, 64, 5, 5)).square().sum().backward()
    assert is_nm(captured.named("convolution_backward")[0][0], NM_2_8, 1)  # 32 channels in 4 groups of 8


# --- unbiased pruning of gradients -----------------------------------------------------------------------------


def test_mvue_probabilities():
    a = torch.tensor(
        [[1.0, -3.0, 0.0, 0.0], [1.0, 1.0, 1.0, 9.0], [2.0, 2.0, -2.0, 2.0], [0.0, 0.0, 5.0, 0.0]]
    )
    expected = [[1, 1, 0, 0], [1 / 3, 1 / 3, 1 / 3, 1], [0.5] * 4, [0, 0, 1, 0]]  # 2 a_i / sum, at most 1
    torch.testing.assert_close(keep_probabilities(a, 2), torch.tensor(expected, dtype=torch.float32))
    pair = torch.tensor([[1.0, -3.0]])
    torch.testing.assert_close(
        keep_probabilities(pair, 1), torch.tensor([[0.25, 0.75]])
    )  # |a_i| / (|a_1| + |a_2|)


@pytest.mark.parametrize("nm", [NM(1, 2), NM(2, 4), NM(3, 8)])
def test_mvue_is_unbiased_with_the_least_variance(nm):
    torch.manual_seed(1)
    group = torch.randn(nm.m)
    draws = 60_000
    g = group.repeat(draws).view(1, 1, -1)  # one sample, one channel
    samples = prune_unbiased(g, nm, 1).view(draws, nm.m)
    assert ((samples != 0).sum(1) <= nm.n).all()
    p = keep_probabilities(group[None], nm.n)[0]
    variance = group**2 * (1 / p - 1)  # of one entry kept with probability p as a / p
    error = (samples.mean(0) - group).abs() / (variance / draws).sqrt().clamp(min=1e-6)
    assert (error < 5).all()  # standard errors
    torch.testing.assert_close(samples.var(0), variance, rtol=0.05, atol=1e-6)


def test_mvue_pads_what_does_not_divide_and_keeps_shape_type_and_what_is_not_finite():
    g = torch.randn(3, 8, 5, 5, dtype=torch.bfloat16)  # 75 pixels for each channel
    g[0, 0, 0, 0], g[1, 1, 1, 1] = float("nan"), float("inf")
    pruned = prune_unbiased(g, NM(2, 4), 1)
    assert (pruned.shape, pruned.dtype) == (g.shape, g.dtype)
    kept = torch.nn.functional.pad(pruned.movedim(1, 0).reshape(8, 75), (0, 1)).view(8, 19, 4) != 0
    assert kept.sum(-1).max() == 2
    assert not pruned[0, 0, 0, 0].isfinite()
    assert not pruned[1, 1, 1, 1].isfinite()


def test_mvue_prunes_only_the_gradient_for_dw():
    torch.manual_seed(0)
    layer = sparse_copy(conv(), Dense(first_dense=False, mvue=NM(2, 4)))
    with Captured() as captured:
        layer(inputs(2, 16, 8, 8)).square().sum().backward()
    bp, wu = captured.named("convolution_backward")
    assert (bp[-1], wu[-1]) == ([True, False, False], [False, True, False])
    assert bp[0].count_nonzero() == bp[0].numel()
    assert is_nm(wu[0].flatten(2), NM(2, 4), 2)  # along pixels
    torch.testing.assert_close(layer.bias.grad, bp[0].sum((0, 2, 3)))


def test_finalized_weights_are_the_forward_weights():
    for name, (ff_sparse, _, _) in OPERANDS.items():
        model = nn.Sequential(conv())
        w = model[0].weight.detach().clone()
        sparsify(model, METHODS[name](first_dense=False))
        assert type(finalize(model)[0]) is nn.Conv2d
        assert is_nm(model[0].weight, NM_2_8, 1) == ff_sparse
        if name not in ("transposable", "sste"):
            assert torch.equal(model[0].weight, oracle_prune(w, NM_2_8, 1) if ff_sparse else w)


# --- methods that look back -------------------------------------------------------------------------------------


def trained(layer, config, steps, lr=0.1):
    """A sparse copy after some steps of SGD, its optimizer followed; yields before each step and at the end."""
    model = nn.Sequential(copy.deepcopy(layer))
    sparsify(model, config)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    follow(model, optimizer)
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        yield model[0]
        optimizer.zero_grad()
        x = torch.randn(8, layer.in_features, generator=generator)
        model(x).square().sum().backward()
        optimizer.step()
    yield model[0]


def greedy_block(block, nm):
    """Entries of a square list of lists from the largest down, while row and column hold fewer than N."""
    size = range(nm.m)
    entries = sorted((-abs(block[i][j]), i, j) for i in size for j in size)
    kept = set()
    for _, i, j in entries:
        if sum(r == i for r, _ in kept) < nm.n and sum(c == j for _, c in kept) < nm.n:
            kept.add((i, j))
    return kept


@pytest.mark.parametrize("nm", [NM(2, 4), NM(1, 4), NM(2, 8)])
def test_transposable_masks_are_the_greedy_ones(nm):
    torch.manual_seed(0)
    w = torch.randn(2 * nm.m, nm.m, 3).mul(4).round()  # with ties
    kept = transposable_mask(w, nm)
    for tap in range(3):
        for half in range(2):
            block = slice(half * nm.m, (half + 1) * nm.m)
            found = {tuple(index) for index in kept[block, :, tap].nonzero().tolist()}
            assert found == greedy_block(w[block, :, tap].tolist(), nm)
    assert is_nm(kept, nm, 0)
    assert is_nm(kept, nm, 1)


def test_transposable_mask_of_a_block_by_hand():
    w = torch.tensor([[9.0, 8, 1, 0], [7, 6, 2, 0], [5, 4, 3, 0], [0, 0, 0, 1]])
    # 9, 8, 7, 6 fill two rows and two columns; of the rest 3, 1 (in the corner) and zeros of free rows remain
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert transposable_mask(w, NM(2, 4)).int().tolist() == expected


def test_transposable_masks_are_renewed_every_so_many_steps():
    masks = [
        layer.site.held["mask"]
        for layer in trained(nn.Linear(16, 16), Transposable(first_dense=False, refresh_steps=3), 7)
    ]
    renewed = [a is not b for a, b in pairwise(masks)]
    assert renewed == [False, False, True, False, False, True, False]


def test_bimask_prunes_the_forward_weight_along_permuted_channels():
    layer = sparse_copy(nn.Conv2d(16, 32, 3, groups=2), BiMask(nm=NM(2, 4), first_dense=False))
    w_ff, w_bp = layer.forward_weight(), layer.backward_weight(torch.float32)
    order = layer.site.held["order"]
    assert torch.equal(w_bp, torch.where(w_bp != 0, w_ff, 0))
    assert torch.equal(w_bp[order], oracle_prune(w_ff[order], NM(2, 4), 0))
    assert sorted(order[:16].tolist()) == list(range(16))  # channels stay in their group
    assert order.tolist() != list(range(32))


def test_bimask_takes_the_candidate_that_keeps_most():
    w = torch.randn(64, 32)
    layer = nn.Linear(32, 64)
    layer.weight = nn.Parameter(w)

    def kept(candidates):
        config = BiMask(nm=NM(2, 4), first_dense=False, candidates=candidates)
        return sparse_copy(layer, config).backward_weight(torch.float32).count_nonzero()

    counts = [kept(n) for n in range(1, 11)]  # the first n of the same draws
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_bimask_draws_again_every_so_many_steps_and_alike_in_every_process():
    config = BiMask(nm=NM(2, 4), first_dense=False, refresh_steps=2, candidates=3)
    layer = nn.Linear(16, 32)
    first, second = ([at.site.held["order"].tolist() for at in trained(layer, config, 4)] for _ in range(2))
    assert [a != b for a, b in pairwise(first)] == [False, True, False, True]
    assert first == second


def test_sste_by_hand():
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([1.0, -2, 3, -4])
    sparse = sparse_copy(layer, SSTE(nm=NM(2, 4), first_dense=False))
    # t = 2, s = (0, 0, 1, -2), beta = (3 + 8) / (1 + 4)
    torch.testing.assert_close(sparse.forward_weight()[0], torch.tensor([0, 0, 2.2, -4.4]))
    with torch.no_grad():
        sparse.weight[:] = torch.tensor([5.0, -2, 4, -1])
    # t = 2, s = (3, 0, 2, 0) and the beta of the start
    torch.testing.assert_close(sparse.forward_weight()[0], torch.tensor([6.6, 0, 4.4, 0]))
    x = inputs(3, 4)
    y = sparse(x)
    (dx,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(dx, torch.tensor([6.6, 0, 4.4, 0]).expand(3, 4) * 4)


@pytest.mark.parametrize(
    ("decay", "flow"),
    [
        ("linear", [1, 1, 0.6, 0.2, 0]),
        ("exponential", [1, 1, 0.6703, 0.4493, 0.3012]),
    ],  # e^-0.4, e^-0.8, e^-1.2
)
def test_progressive_decay_of_the_pruned_weights(decay, flow):
    config = ProgressiveGradientFlow(decay=decay, beta=0.4, schedule=Schedule(1, 1), first_dense=False)
    for step, layer in enumerate(trained(nn.Linear(16, 8), config, 4)):
        kept = oracle_prune(layer.weight, NM_2_8, 1)
        expected = kept + (layer.weight - kept) * flow[step]
        torch.testing.assert_close(layer.forward_weight(), expected.detach(), rtol=1e-3, atol=1e-4)


def test_progressive_stages():
    assert [str(nm) for nm in stage_ratios(NM(1, 8))] == ["7:8", "4:8", "2:8", "1:8"]
    assert [str(nm) for nm in stage_ratios(NM(2, 4))] == ["3:4", "2:4"]
    assert [str(nm) for nm in stage_ratios(NM(3, 4))] == ["3:4"]
    assert [str(nm) for nm in stage_ratios(NM(1, 2))] == ["1:2"]
    config = ProgressiveGradientFlow(
        decay="structure", stage_steps=2, schedule=Schedule(1, 1), first_dense=False
    )
    kept = [(layer.forward_weight() != 0).sum(1).max() for layer in trained(nn.Linear(8, 8), config, 7)]
    assert kept == [8, 7, 7, 4, 4, 2, 2, 2]


def test_asp_freezes_the_mask_and_what_it_prunes():
    layer = nn.Linear(16, 8)
    frozen = oracle_prune(layer.weight, NM_2_8, 1) != 0
    *_, last = trained(layer, ASP(first_dense=False), 6, lr=0.05)
    assert torch.equal(last.forward_weight() != 0, frozen)
    assert torch.equal(last.weight[~frozen], layer.weight[~frozen])
    assert (last.weight[frozen] != layer.weight[frozen]).all()


def test_ast_decays_masked_weights_outside_the_momentum_on_a_ramp():
    config = AST(first_dense=False, decay_rate=0.5, ramp_steps=2, refresh_steps=100)
    model = nn.Sequential(nn.Linear(16, 8))
    sparsify(model, config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    follow(model, optimizer)
    w = model[0].weight
    masked = ~model[0].site.held["mask"]
    w.grad = torch.zeros_like(w)
    for rate in (0, 0.25, 0.5, 0.5):
        expected = torch.where(masked, w.detach() * (1 - 0.2 * rate), w.detach())
        optimizer.step()
        torch.testing.assert_close(w.detach(), expected)
    assert not optimizer.state[w]["momentum_buffer"].any()


@pytest.mark.parametrize("groups", [1, 2])
def test_ast_scores_with_the_norm_of_the_input_channels(groups):
    config = AST(nm=NM(2, 4), first_dense=False, score="wanda", refresh_steps=1, decay_rate=0)
    layer = nn.Conv2d(8, 8, 3, groups=groups)
    model = nn.Sequential(copy.deepcopy(layer))
    sparsify(model, config)
    assert torch.equal(
        model[0].forward_weight(), oracle_prune(layer.weight, NM(2, 4), 1)
    )  # no input seen yet
    optimizer = torch.optim.SGD(model.parameters(), lr=0)
    follow(model, optimizer)
    x = torch.randn(4, 8, 6, 6) * torch.logspace(-2, 2, 8)[torch.randperm(8)].view(8, 1, 1)
    for half in x.split(2):  # norms add up over accumulated batches
        model(half).sum().backward()
    optimizer.step()
    norms = x.square().sum((0, 2, 3)).sqrt().view(groups, 1, 8 // groups, 1, 1)
    score = (layer.weight.unflatten(0, (groups, -1)).abs() * norms).flatten(0, 1)
    expected = oracle_prune(score, NM(2, 4), 1) != 0
    assert torch.equal(model[0].forward_weight() != 0, expected)
    assert not model[0].site.held["input_energy"].any()


def test_distillation_loss_by_hand():
    student, teacher = torch.zeros(1, 2, 2, requires_grad=True), torch.tensor([[[0.0, 0], [3, 0]]]).log1p()
    # positions: equal; teacher (0.8, 0.2) against (0.5, 0.5): 0.8 ln 1.6 + 0.2 ln 0.4 = 0.19274
    loss = distillation_loss(student, teacher, torch.tensor(3.0), share=0.5)
    assert loss.item() == pytest.approx(0.5 * 0.19274 / 2 + 1.5, abs=1e-4)
    loss.backward()
    # gradient of the divergence is softmax(student) - softmax(teacher)
    torch.testing.assert_close(student.grad, 0.25 * torch.tensor([[[0, 0], [-0.3, 0.3]]]))
