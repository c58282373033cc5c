"""CAST against its definition, written as plain loops over single weights."""

import copy
from itertools import product
from math import copysign

import pytest
import torch
from torch import nn

from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.train import CAST, finalize, follow, load_sparsity_state, sparsify, sparsity_state
from codesign.train.methods.base import Site, Update
from workloads.ops import Stage

NM_2_4 = NM(2, 4)
LAYERS = {
    "linear": lambda: nn.Linear(16, 6, bias=False),
    "grouped convolution": lambda: nn.Conv2d(16, 6, (1, 2), groups=2, bias=False),
}
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.1),
}


def sparse(layer, **options):
    """A model of one layer under CAST at 2:4."""
    torch.manual_seed(1)
    model = nn.Sequential(layer())
    sparsify(model.double(), CAST(**{"nm": NM_2_4, "first_dense": False} | options))
    return model


class Oracle:
    """CAST of one weight (Cout, Cin, taps...), entry by entry."""

    def __init__(self, config, w):
        self.config, self.w, self.step = config, w, 0
        self.parts = config.scale_groups
        self.scale = [[1.0] * self.parts for _ in range(w.shape[0])]
        self.renew()

    def entries(self):
        return product(*map(range, self.w.shape))

    def part(self, entry):
        return entry[1] * self.parts // self.w.shape[1]

    def renew(self):
        """The N largest of each group of M along Cin, of equals the first."""
        self.kept = set()
        for entry in self.entries():
            first = entry[1] // 4 * 4
            group = [(entry[0], first + i, *entry[2:]) for i in range(4)]
            largest = sorted(group, key=lambda e: (-abs(float(self.w[e])), e[1]))[:2]
            self.kept |= {entry} & set(largest)

    def forward(self, entry):
        pruned = self.step >= self.config.total_steps and entry not in self.kept
        return 0.0 if pruned else float(self.w[entry])

    def forward_weight(self):
        w_ff = torch.zeros_like(self.w)
        for entry in self.entries():
            w_ff[entry] = self.forward(entry) * self.scale[entry[0]][self.part(entry)]
        return w_ff

    def gradient(self, grad, lr):
        """The gradient that the optimizer gets for that of w_ff; trains the scales."""
        alpha = min(1.0, self.step / self.config.total_steps)
        changed, slopes = torch.zeros_like(grad), [[0.0] * self.parts for _ in self.scale]
        for entry in self.entries():
            row, part, g = entry[0], self.part(entry), float(grad[entry])
            slopes[row][part] += self.forward(entry) * g
            g *= self.scale[row][part]
            if entry not in self.kept:
                g = (1 - alpha) * g + alpha * self.config.decay_rate * copysign(1, self.w[entry])
            changed[entry] = g
        for row, part in product(range(len(self.scale)), range(self.parts)):
            self.scale[row][part] -= lr * slopes[row][part]
        return changed

    def stepped(self):
        self.step += 1
        if self.step % self.config.refresh_steps == 0 or self.step == self.config.total_steps:
            self.renew()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("layer", LAYERS)
def test_whole_runs_against_the_oracle(layer, optimizer):
    model = sparse(LAYERS[layer], total_steps=7, refresh_steps=2, decay_rate=0.3)
    w = model[0].weight
    twin = nn.Parameter(w.detach().clone())
    oracle = Oracle(model[0].method, twin.detach())
    theirs, ours = OPTIMIZERS[optimizer](model.parameters()), OPTIMIZERS[optimizer]([twin])
    follow(model, theirs)
    masks = set()
    for _ in range(10):
        w.grad = torch.randn_like(w)
        twin.grad = oracle.gradient(w.grad, lr=0.1)
        theirs.step()
        ours.step()
        oracle.stepped()
        torch.testing.assert_close(w, twin)
        torch.testing.assert_close(model[0].forward_weight(), oracle.forward_weight())
        assert {tuple(entry) for entry in model[0].site.held["mask"].nonzero().tolist()} == oracle.kept
        masks.add(frozenset(oracle.kept))
    assert len(masks) > 2


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_decay_touches_masked_weights_only(optimizer):
    def trained(decay_rate):
        model = sparse(LAYERS["linear"], total_steps=4, refresh_steps=100, decay_rate=decay_rate)
        descent = OPTIMIZERS[optimizer](model.parameters())
        follow(model, descent)
        torch.manual_seed(2)
        for _ in range(2):  # alpha is 0, then 1/4; later the scales, too, would tell that there was decay
            model[0].weight.grad = torch.randn_like(model[0].weight)
            descent.step()
        return model[0].weight.detach(), model[0].site.held["mask"]

    (w, kept), (undecayed, _) = trained(0.5), trained(0.0)
    assert torch.equal(w[kept], undecayed[kept])
    assert (w[~kept] != undecayed[~kept]).all()


def test_masked_weights_fade_to_the_last_learning_rate():
    model = sparse(LAYERS["linear"], total_steps=200, decay_rate=1e-3)
    w = model[0].weight
    start = w.detach().clone()
    optimizer = torch.optim.AdamW([w], lr=5e-3, weight_decay=0)
    follow(model, optimizer)
    for _ in range(200):
        w.grad = torch.zeros_like(w)
        optimizer.step()
    kept = model[0].forward_weight() != 0
    assert torch.equal(w[kept], start[kept])
    assert start[~kept].abs().max() > 0.1
    assert w[~kept].abs().max() < 0.05


@pytest.mark.parametrize("pruned", [False, True])
def test_gradients_are_those_of_the_scaled_product(pruned):
    """w and the scales as two tensors in pure autograd; the gradient of w passes pruning straight through."""
    model = sparse(LAYERS["linear"], total_steps=1 if pruned else 1000, decay_rate=0, refresh_steps=100)
    layer, lr = model[0], 0.25
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    follow(model, optimizer)
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimizer.step()
    layer.site.held["scale"] = torch.rand_like(layer.site.held["scale"]) + 0.5
    layer.derived.forget()
    mask = layer.site.held["mask"]
    w = layer.weight.detach().clone().requires_grad_()
    a = layer.site.held["scale"].reshape(6, 2).clone().requires_grad_()
    x = torch.randn(5, 16, dtype=torch.float64, requires_grad=True)

    def formula(x, w, a):
        w_ff = w - (w * ~mask).detach() if pruned else w
        return x @ (w_ff * a.repeat_interleave(8, 1)).t()

    y = formula(x, w, a)
    g = torch.randn_like(y)
    dx, dw, da = torch.autograd.grad(y, (x, w, a), g)
    optimizer.zero_grad()
    x_of_layer = x.detach().clone().requires_grad_()
    for share in (0.25, 0.75):  # accumulated
        actual = model(x_of_layer)
        actual.backward(share * g)
    torch.testing.assert_close(actual, y)
    torch.testing.assert_close(x_of_layer.grad, dx)
    before = w.detach().clone()
    optimizer.step()
    alpha = (~mask).double() * (1 if pruned else 1e-3)
    torch.testing.assert_close(layer.weight.detach(), before - lr * dw * (1 - alpha))
    torch.testing.assert_close(layer.site.held["scale"].reshape(6, 2), (a - lr * da).detach())


def train(model, optimizer, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        x = torch.randn(4, 16, generator=generator, dtype=torch.float64)
        model(x).square().mean().backward()
        optimizer.step()


def run(steps=0, **options):
    model = sparse(LAYERS["linear"], **{"total_steps": 8, "refresh_steps": 3, "decay_rate": 0.1} | options)
    optimizer = OPTIMIZERS["adamw"](model.parameters())
    follow(model, optimizer)
    train(model, optimizer, steps, seed=3)
    return model, optimizer


@pytest.mark.parametrize("steps", [0, 4, 7, 8, 9])
def test_a_resumed_run_is_the_same_run(steps):
    model, optimizer = run(steps)
    state = copy.deepcopy((model.state_dict(), optimizer.state_dict(), sparsity_state(model)))
    train(model, optimizer, 5, seed=4)
    resumed, resumed_optimizer = run()
    resumed.load_state_dict(state[0])
    resumed_optimizer.load_state_dict(state[1])
    load_sparsity_state(resumed, state[2])
    train(resumed, resumed_optimizer, 5, seed=4)
    assert torch.equal(resumed[0].weight, model[0].weight)
    assert torch.equal(resumed[0].forward_weight(), model[0].forward_weight())


def test_dense_until_the_end_then_pruned_and_finalized_with_the_scales():
    model, optimizer = run(7)
    keys = list(model.state_dict())
    layer = model[0]
    assert layer.site.ff is None
    assert layer.forward_weight().count_nonzero() == 6 * 16
    train(model, optimizer, 1, seed=5)
    assert layer.site.ff == NM_2_4
    scale = layer.site.held["scale"].reshape(6, 2)
    assert not torch.allclose(scale, torch.ones_like(scale))
    groups = layer.weight.detach().unflatten(1, (-1, 4))
    last_kept = groups.abs().sort(-1, descending=True).values[..., 1:2]
    expected = torch.where(groups.abs() >= last_kept, groups, 0).flatten(1) * scale.repeat_interleave(8, 1)
    finalize(model)
    assert type(model[0]) is nn.Linear
    torch.testing.assert_close(model[0].weight.detach(), expected)
    assert (model[0].weight.unflatten(1, (-1, 4)) != 0).sum(-1).eq(2).all()
    assert list(model.state_dict()) == keys == ["0.weight"]


def test_masks_are_nm_along_cin_with_ties_too():
    model = sparse(LAYERS["grouped convolution"], refresh_steps=1)
    w = model[0].weight
    nn.init.ones_(w)
    optimizer = torch.optim.SGD([w], lr=0)
    follow(model, optimizer)
    w.grad = torch.zeros_like(w)
    optimizer.step()
    mask = model[0].site.held["mask"]
    assert (
        mask.movedim(1, -1).unflatten(-1, (-1, 4)).tolist() == [[[[[True, True, False, False]] * 2] * 2]] * 6
    )


def test_scaled_gradients_of_a_grad_scaler():
    w = torch.randn(6, 16, dtype=torch.float64)
    grad = torch.randn_like(w)
    config = CAST(nm=NM_2_4, total_steps=10, decay_rate=0.2)

    def after(grad, scale):
        site = Site("layer", 1, 0, 1, {Stage.FF: NM_2_4}, step=5)
        config.before_step(site, w, w, grad, Update(0.1, scale))
        return grad, site.held["scale"]

    plain, scale = after(grad.clone(), None)
    scaled, same_scale = after(1024 * grad, torch.tensor(1024.0))
    torch.testing.assert_close(scaled, 1024 * plain)
    torch.testing.assert_close(same_scale, scale)
    grad[0, 0] = torch.inf
    _, scale = after(grad, torch.tensor(1024.0))
    assert scale.isfinite().all()


@pytest.mark.parametrize(("groups", "parts"), [(1, 1), (2, 1), (3, 3), (6, 3), (9, 9)])
def test_cin_in_parts_that_divide_it(groups, parts):
    model = sparse(lambda: nn.Linear(9, 6), nm=NM(1, 3), scale_groups=groups)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    follow(model, optimizer)
    model(torch.randn(2, 9, dtype=torch.float64)).sum().backward()
    optimizer.step()
    assert model[0].site.held["scale"].shape == (6, parts, 1)


class Conv1D(nn.Module):
    """As in transformers: a linear layer with a weight of shape (in, out)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


def test_the_layer_of_transformers_trains_like_a_linear_one():
    linear = nn.Linear(16, 6)
    transposed = Conv1D(6, 16)
    with torch.no_grad():
        transposed.weight.copy_(linear.weight.t())
        transposed.bias.copy_(linear.bias)
    weights = []
    for layer in (linear, transposed):
        model = sparse(lambda layer=layer: layer, total_steps=4, refresh_steps=2, decay_rate=0.3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        follow(model, optimizer)
        train(model, optimizer, 6, seed=6)
        weights.append(model[0].forward_weight())
    torch.testing.assert_close(weights[0], weights[1].t())


@pytest.mark.parametrize("option", ["total_steps", "refresh_steps", "scale_groups"])
def test_illegal_options(option):
    with pytest.raises(SpecError, match=f"method cast: {option} is 0; expected at least 1"):
        CAST(**{option: 0})
