"""Weight updates: one contract for numpy, compiled loops and torch's optimizers, errors against their bounds."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from codesign.compute import bounds, half_kernels, reference_engines, update_kernels
from codesign.compute.formats import Format
from codesign.compute.optimizers import SGD, AdamW
from codesign.compute.threads import use_threads
from codesign.errors import FormatError, SpecError

torch.set_num_threads(1)

SIZE = 2003
SGD_RULES = [SGD(0.1), SGD(0.1, momentum=0.9), SGD(0.05, 0.9, 5e-4), SGD(0.3, weight_decay=1e-2)]
ADAMW_RULES = [AdamW(1e-3), AdamW(3e-2, 0.8, 0.95, 1e-6, weight_decay=0.0), AdamW(1e-3, weight_decay=0.1)]


def spread(seed, exponents=(-12, 3)):
    """float32 of many magnitudes."""
    generator = np.random.default_rng(seed)
    wide = np.ldexp(generator.standard_normal(SIZE), generator.integers(*exponents, SIZE))
    return wide.astype(np.float32)


class InTorch:
    """`torch.optim`, one tensor at a time, with state that is given and taken back."""

    @staticmethod
    def sgd(weight, velocity, gradient, rule, fmt):
        parameter = torch.nn.Parameter(torch.from_numpy(weight))
        optimizer = torch.optim.SGD(
            [parameter], rule.lr, rule.momentum, weight_decay=rule.weight_decay, foreach=False
        )
        if rule.momentum:
            optimizer.state[parameter]["momentum_buffer"] = torch.from_numpy(velocity)
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        return half_kernels.narrow(weight, fmt)

    @staticmethod
    def adamw(weight, mean, square, gradient, rule, t, fmt):
        parameter = torch.nn.Parameter(torch.from_numpy(weight))
        optimizer = torch.optim.AdamW(
            [parameter], rule.lr, (rule.beta1, rule.beta2), rule.eps, rule.weight_decay, foreach=False
        )
        moments = {"exp_avg": torch.from_numpy(mean), "exp_avg_sq": torch.from_numpy(square)}
        optimizer.state[parameter].update(moments | {"step": torch.tensor(t - 1.0)})
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        return half_kernels.narrow(weight, fmt)


@pytest.mark.parametrize("real", [reference_engines, update_kernels, InTorch])
class TestUpdates:
    @pytest.mark.parametrize("rule", SGD_RULES, ids=str)
    def test_sgd_is_within_its_bound_of_the_exact_step(self, real, rule):
        weight, velocity, gradient = spread(1), spread(2), spread(3)
        error, velocity_error = bounds.sgd_bound(weight, velocity, gradient, rule)
        decay, momentum, step = map(np.float64, rule.constants())
        g = gradient.astype(np.float64) + (decay * weight if rule.weight_decay else 0)
        v = momentum * velocity + g if rule.momentum else velocity.astype(np.float64)
        exact = weight + step * (v if rule.momentum else g)
        stored = real.sgd(weight, velocity, gradient, rule, Format.FP16)
        assert (np.abs(weight - exact) <= error).all()
        assert (np.abs(velocity - v) <= velocity_error).all()
        assert (error < 1e-6 * (1 + np.abs(exact))).all()  # the bound says something
        np.testing.assert_array_equal(stored.view(np.float16), weight.astype(np.float16))

    @pytest.mark.parametrize("t", [1, 2, 1000])
    @pytest.mark.parametrize("rule", ADAMW_RULES, ids=str)
    def test_adamw_is_within_its_bound_of_the_exact_step(self, real, rule, t):
        weight, mean, square, gradient = spread(1), spread(2), np.abs(spread(3)), spread(4)
        errors = bounds.adamw_bound(weight, mean, square, gradient, rule, t)
        keep, rise1, beta2, rise2, root, eps, step = map(np.float64, rule.constants(t))
        w, m, v, g = (part.astype(np.float64) for part in (weight, mean, square, gradient))
        m = m + rise1 * (g - m)
        v = beta2 * v + rise2 * g * g
        w = (w * keep if rule.weight_decay else w) + step * m / (np.sqrt(v) / root + eps)
        real.adamw(weight, mean, square, gradient, rule, t, Format.FP16)
        for computed, exact, error in zip((weight, mean, square), (w, m, v), errors, strict=True):
            assert (np.abs(computed - exact) <= error).all()
        assert (errors[0] < 1e-5 * (1 + np.abs(w))).all()

    def test_by_hand(self, real):
        # g = 0.5 + 0.25 * 2 = 1; v = 0.5 * 4 + 1 = 3; w = 2 - 0.5 * 3
        weight, velocity, gradient = (np.full(3, value, np.float32) for value in (2, 4, 0.5))
        real.sgd(weight, velocity, gradient, SGD(0.5, 0.5, 0.25), Format.BF16)
        assert (weight[0], velocity[0]) == (0.5, 3)
        # m = 1 + 0.25 * (5 - 1) = 2; v = 0.5 * 7 + 0.5 * 25 = 16; t = 1: ROOT = 0.5^0.5, STEP = -0.25 / 0.25
        weight, mean, square, gradient = (np.full(3, value, np.float32) for value in (8, 1, 7, 5))
        rule = AdamW(0.25, 0.75, 0.5, eps=1.0, weight_decay=1.0)
        real.adamw(weight, mean, square, gradient, rule, 1, Format.BF16)
        assert (mean[0], square[0]) == (2, 16)
        assert weight[0] == pytest.approx(8 * 0.75 - 2 / (4 * 2**0.5 + 1), rel=1e-6)


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize("loss_scale", [1.0, 1024.0])
def test_compiled_loops_agree_with_the_oracle_over_many_steps(fmt, loss_scale):
    state = {real: [spread(seed) for seed in (1, 2, 3, 4)] for real in (reference_engines, update_kernels)}
    with use_threads(3):
        for t in range(1, 6):
            gradient = half_kernels.narrow(loss_scale * spread(10 + t), fmt)
            results = []
            for real, (w1, velocity, w2, square) in state.items():
                np.abs(square, out=square)
                results.append(real.sgd(w1, velocity, gradient, SGD_RULES[2], fmt, loss_scale))
                results.append(real.adamw(w2, velocity, square, gradient, ADAMW_RULES[2], t, fmt, loss_scale))
            for oracle, compiled in zip(results[:2], results[2:], strict=True):
                np.testing.assert_array_equal(oracle, compiled)
    for oracle, compiled in zip(*state.values(), strict=True):
        np.testing.assert_array_equal(oracle.view(np.uint32), compiled.view(np.uint32))


def test_poisoned_gradients_poison_the_weight():
    weight, velocity = np.ones(3, np.float32), np.zeros(3, np.float32)
    gradient = np.array([np.inf, np.nan, 0], np.float16).view(np.uint16)
    stored = update_kernels.sgd(weight, velocity, gradient, SGD_RULES[1], Format.FP16)
    assert stored.tolist() == [0xFC00, 0x7E00, 0x3C00]


NOT_FUSED = """
import numpy as np, torch
from test_compute_updates import ADAMW_RULES, SGD_RULES, InTorch, reference_engines, spread
from codesign.compute.formats import Format
print(torch.backends.cpu.get_cpu_capability())
same = lambda a, b: np.array_equal(a.view(np.uint32), b.view(np.uint32))
for rule in SGD_RULES:
    state = [[spread(1), spread(2)] for _ in range(2)]
    for real, parts in zip((reference_engines, InTorch), state):
        real.sgd(*parts, spread(3), rule, Format.FP16)
    print(all(map(same, *state)))
for rule in ADAMW_RULES:
    state = [[spread(1), spread(2), np.abs(spread(3))] for _ in range(2)]
    for real, parts in zip((reference_engines, InTorch), state):
        real.adamw(*parts, spread(4), rule, 7, Format.FP16)
    print(all(map(same, state[0][1:], state[1][1:])))
"""


def test_torch_gives_the_same_bits_where_it_does_not_fuse():
    # the square root, and with it AdamW's weight, is torch's own; its moments and all of SGD agree
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "default", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", NOT_FUSED], env=environment, check=True, capture_output=True, text=True
    )
    capability, *agree = done.stdout.split()
    if capability != "DEFAULT":
        pytest.skip(f"torch insists on {capability}")
    assert agree == ["True"] * (len(SGD_RULES) + len(ADAMW_RULES))


def test_refusals():
    weight, velocity = np.zeros(4, np.float32), np.zeros(4, np.float32)
    with pytest.raises(SpecError, match=r"shapes \[\(3,\), \(4,\)\]: expected one shape"):
        update_kernels.sgd(weight, velocity, velocity[1:], SGD(0.1), Format.FP16)
    with pytest.raises(SpecError, match="contiguous"):
        update_kernels.sgd(weight[::2], velocity[::2], velocity[::2], SGD(0.1), Format.FP16)
    with pytest.raises(FormatError, match="type float64: expected float32"):
        update_kernels.sgd(weight.astype(np.float64), velocity, velocity, SGD(0.1), Format.FP16)
    with pytest.raises(FormatError, match="type float16: expected bfloat16"):
        update_kernels.sgd(weight, velocity, velocity.astype(np.float16), SGD(0.1), Format.BF16)
    with pytest.raises(SpecError, match=r"beta1 0.5: expected more than 0.5"):
        AdamW(1e-3, beta1=0.5)
