"""The vector unit's arithmetic against PyTorch in float64, each element within a bound from the roundings made."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from codesign.compute.bounds import U32, gamma, stored_bound
from codesign.compute.formats import Format
from codesign.compute.vector_loss import LossConstants, cross_entropy, exp, log
from codesign.compute.vector_norm import NormConstants, Statistics, batch_norm, batch_norm_backward
from codesign.compute.vector_unit import (
    WAYS,
    Window,
    add,
    avg_pool,
    avg_pool_backward,
    column_sum,
    max_pool,
    max_pool_backward,
    ordered_sum,
    relu,
    relu_backward,
)
from codesign.errors import SpecError

torch.set_num_threads(1)

WINDOWS = [
    (Window((2, 2), (2, 2)), (8, 6)),
    (Window((3, 3), (2, 2), (1, 1)), (7, 8)),
    (Window((3, 2), (1, 3), (1, 0)), (5, 9)),
    (Window((6, 5), (1, 1)), (6, 5)),  # global
    (Window((1, 1), (2, 2)), (5, 4)),  # pixels that no window sees
]
SPECIAL = np.array([0, -0.0, np.inf, -np.inf, np.nan, 6e-8, 65504], np.float16)


def halves(shape, seed=1, scale=1.0):
    """Random FP16 numbers."""
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float16)


def exactly(x):
    """A float64 leaf of PyTorch with the same values."""
    return torch.from_numpy(np.asarray(x, np.float64)).requires_grad_()


def images(x):
    """Channels last to channels first."""
    return x.movedim(-1, 1)


def assert_within(stored, exact, error):
    """FP16 results are as near as what is summed in FP32 with `error`, then narrowed, must be."""
    exact = np.asarray(exact.detach() if isinstance(exact, torch.Tensor) else exact)
    off = np.abs(np.asarray(stored).view(np.float16).astype(np.float64) - exact)
    bound = stored_bound(exact, np.broadcast_to(error, exact.shape), Format.FP16)
    assert (off <= bound).all(), f"off by {off.max()}"


def long_sum_error(terms, rounded_terms=0):
    """Of `ordered_sum` over axis 0: a term meets the others of its way, the halvings, and roundings of its own."""
    roundings = max(0, -(-len(terms) // WAYS) - 1) + WAYS.bit_length() - 1 + rounded_terms
    return gamma(roundings) * np.abs(np.asarray(terms, np.float64)).sum(0)


# -- sums and elements ---------------------------------------------------------------------------------------------


def test_the_order_of_a_long_sum_by_hand() -> None:
    # 1 in way 0; 2^-24 in way 8 is added to it in the first halving, and lost; so is that of way 4 in the second.
    terms = np.zeros(WAYS + 2, np.float32)
    terms[[0, 8, 4]] = 1, 2.0**-24, 2.0**-24
    assert ordered_sum(terms) == 1
    # Two of way 4 meet before they meet the 1, and together they count.
    assert ordered_sum(np.append(terms, np.float32([0, 0, 2.0**-24]))) == np.float32(1 + 2.0**-23)
    # Way 1 holds terms 1 and 17: 2^24 + 1 loses the 1, which -2^24 of way 9 does not bring back.
    terms = np.zeros(WAYS + 2, np.float32)
    terms[[1, 17, 9]] = 2.0**24, 1, -(2.0**24)
    assert ordered_sum(terms) == 0


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 1000])
def test_bias_gradient(rows: int) -> None:
    dy = halves((rows, 5))
    assert_within(column_sum(dy), exactly(dy).sum(0), long_sum_error(dy))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-2048, 2048), max_size=100))
def test_sums_of_integers_are_exact_in_any_order(values: list[int]) -> None:
    terms = np.array(values, np.float32)
    assert ordered_sum(terms) == sum(values)
    assert not np.signbit(ordered_sum(terms * -0.0))  # a sum that starts at +0 never becomes -0


def test_add_and_relu() -> None:
    x, other = halves((6, 40)), halves((6, 40), 2)
    total = exactly(x) + exactly(other)
    assert_within(add(x, other), total, U32 * total.detach().abs().numpy())
    np.testing.assert_array_equal(relu(x).view(np.float16), np.maximum(x, 0))
    y, dy = exactly(x), halves((6, 40), 3)
    (gradient,) = torch.autograd.grad(torch.relu(y).sum(), y)
    np.testing.assert_array_equal(relu_backward(dy, relu(x)).view(np.float16), np.where(gradient, dy, 0))


def test_special_numbers_of_relu() -> None:
    np.testing.assert_array_equal(
        relu(SPECIAL), np.array([0, 0, np.inf, 0, np.nan, 6e-8, 65504], np.float16).view("u2")
    )
    passed = relu_backward(np.ones(7, np.float16), SPECIAL).view(np.float16)
    np.testing.assert_array_equal(passed, [0, 0, 1, 0, 1, 1, 1])  # of a NaN too, as in PyTorch
    assert add(np.float16([65504]), np.float16([65504])).view(np.float16) == np.inf


# -- pooling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "image"), WINDOWS, ids=str)
def test_max_pool(window: Window, image: tuple[int, int]) -> None:
    x = np.random.default_rng(1).integers(-3, 4, (2, *image, 3)).astype(np.float16)  # many ties
    leaf = exactly(x)
    exact, places = functional.max_pool2d(
        images(leaf), window.kernel, window.stride, window.padding, return_indices=True
    )
    y, positions = max_pool(x, window)
    np.testing.assert_array_equal(y.view(np.float16), exact.detach().movedim(1, -1))
    # PyTorch counts pixels of the image, we positions of the window.
    _, height, width, _ = np.indices(y.shape)
    row = height * window.stride[0] - window.padding[0] + positions // window.kernel[1]
    column = width * window.stride[1] - window.padding[1] + positions % window.kernel[1]
    np.testing.assert_array_equal(row * image[1] + column, places.movedim(1, -1))
    dy = halves(y.shape)
    (gradient,) = torch.autograd.grad(exact, leaf, images(exactly(dy)).detach())
    dx = max_pool_backward(dy, positions, window, image)
    assert_within(dx, gradient, gamma(window.taps) * avg_reach(np.abs(dy), window, image))


@pytest.mark.parametrize(("window", "image"), WINDOWS, ids=str)
def test_avg_pool(window: Window, image: tuple[int, int]) -> None:
    leaf = exactly(x := halves((2, *image, 3)))
    pool = (window.kernel, window.stride, window.padding)
    exact = functional.avg_pool2d(images(leaf), *pool)
    magnitude = functional.avg_pool2d(images(leaf.abs()), *pool).movedim(1, -1).detach().numpy()
    # The sum's roundings, INVERSE's and the product's.
    assert_within(avg_pool(x, window), exact.movedim(1, -1), gamma(window.taps + 1) * magnitude)
    dy = halves(exact.movedim(1, -1).shape)
    (gradient,) = torch.autograd.grad(exact, leaf, images(exactly(dy)).detach())
    error = gamma(window.taps + 1) * avg_reach(np.abs(dy), window, image) / window.taps
    assert_within(avg_pool_backward(dy, window, image), gradient, error)


def avg_reach(magnitudes, window, image):
    """Sum over the windows that hold each pixel, by PyTorch."""
    leaf = torch.zeros(len(magnitudes), magnitudes.shape[-1], *image, dtype=torch.float64, requires_grad=True)
    pooled = functional.avg_pool2d(leaf, window.kernel, window.stride, window.padding) * window.taps
    (reach,) = torch.autograd.grad(pooled, leaf, images(exactly(magnitudes)).detach())
    return reach.movedim(1, -1).numpy()


def test_ties_zeros_and_nans_of_max_pool() -> None:
    x = np.float16([[-0.0, 0.0, 1, np.nan, np.nan, 2], [5, 5, np.nan, 7, -np.inf, -np.inf]])
    y, positions = max_pool(x[np.newaxis, :, :, np.newaxis], Window((1, 2), (1, 2)))
    expected = np.float16([[-0.0, np.nan, np.nan], [5, np.nan, -np.inf]])
    np.testing.assert_array_equal(positions[0, :, :, 0], [[0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(y[0, :, :, 0], expected.view(np.uint16))


@pytest.mark.parametrize("bad", [((0, 1), (1, 1)), ((2, 2), (0, 1)), ((2, 2), (1, 1), (2, 0))])
def test_a_window_is_refused(bad: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(SpecError, match="expected a kernel"):
        Window(*bad)
    with pytest.raises(SpecError, match="does not fit"):
        Window((3, 3), (1, 1)).out_size((2, 5))


# -- loss ----------------------------------------------------------------------------------------------------------


def test_exp_and_log_are_as_near_as_stated() -> None:
    z = -np.append(np.linspace(0, 87, 1 << 18), np.logspace(-30, 1.9, 1 << 16)).astype(np.float32)
    exact = np.exp(z.astype(np.float64))
    assert (np.abs(exp(z) - exact) <= 2.0**-22 * exact).all()
    np.testing.assert_array_equal(exp(np.float32([0, -0.0, -87.01, -np.inf, np.nan])), [1, 1, 0, 0, np.nan])
    s = np.append(np.linspace(1, 4, 1 << 18), np.logspace(0, 7.2, 1 << 16)).astype(np.float32)
    exact = np.log(s.astype(np.float64))
    assert (np.abs(log(s) - exact) <= 2.0**-21 * exact).all()
    np.testing.assert_array_equal(log(np.float32([1, np.nan])), [0, np.nan])


@pytest.mark.parametrize(
    ("rows", "classes", "smoothing"), [(1, 2, 0), (7, 10, 0.1), (33, 100, 0), (5, 37, 1)]
)
def test_cross_entropy(rows: int, classes: int, smoothing: float) -> None:
    logits = halves((rows, classes), scale=3)
    labels = np.random.default_rng(2).integers(classes, size=rows)
    leaf, scale = exactly(logits), 128.0
    exact = functional.cross_entropy(leaf, torch.from_numpy(labels), label_smoothing=smoothing)
    exact.backward()
    loss, dx = cross_entropy(logits, labels, LossConstants.of(rows, classes, scale, smoothing))
    # z is rounded: exp is off by u |z| and 2^-22 of itself. Sum and reciprocal have the same error and roundings of
    # their own, then come two products, the difference and the constants.
    probability = torch.softmax(leaf, 1).detach().numpy()
    z = np.abs(logits - logits.max(1, keepdims=True).astype(np.float64)).max(1, keepdims=True)
    of_exp = 1.01 * (U32 * z + 2.0**-22)
    of_sum = gamma(-(-classes // WAYS) + 4)
    relative = 2 * of_exp + of_sum + 4 * U32
    wanted = np.full((rows, classes), smoothing / classes)
    wanted[np.arange(rows), labels] += 1 - smoothing
    error = (relative * probability + 4 * U32 * (probability + wanted)) * scale / rows
    assert_within(dx, scale * leaf.grad, error)
    # The loss adds log(s), z at the label and the mean of z.
    magnitude = float((np.log(classes) + 2 * z).mean())
    assert abs(loss - exact.item()) <= float(np.max(of_exp + of_sum)) + gamma(classes + rows + 8) * magnitude
    assert abs(loss - exact.item()) < 1e-5 * (1 + magnitude)  # the bound says something


def test_loss_of_certain_and_of_lost_networks() -> None:
    constants = LossConstants.of(2, 3)
    loss, dx = cross_entropy(np.float16([[9e3, 0, 0], [5, 5, 5]]), np.array([0, 2]), constants)
    assert loss == pytest.approx(np.log(3) / 2)
    np.testing.assert_allclose(dx.view(np.float16), [[0, 0, 0], [1 / 6, 1 / 6, -1 / 3]], atol=1e-3)
    loss, dx = cross_entropy(np.float16([[np.nan, 0, 0], [5, 5, np.inf]]), np.array([0, 2]), constants)
    assert np.isnan(loss) and (dx == 0x7E00).all()
    with pytest.raises(SpecError, match="from 0 to 1"):
        LossConstants.of(2, 3, smoothing=1.5)


# -- batch normalisation -------------------------------------------------------------------------------------------


def of_torch(x, scale, shift, statistics):
    """Leaves of x, scale and shift, output and running statistics in float64."""
    leaves = [exactly(t) for t in (x, scale, shift)]
    running = [torch.from_numpy(t.astype(np.float64)) for t in statistics[2:]]
    y = functional.batch_norm(leaves[0], *running, *leaves[1:], training=True, momentum=0.1, eps=1e-5)
    return leaves, y, running


@pytest.mark.parametrize(("rows", "mean"), [(2, 0), (50, 0.5), (1000, 3), (300, 100)])
def test_batch_norm(rows: int, mean: float) -> None:
    generator = np.random.default_rng(rows)
    x = (mean + generator.standard_normal((rows, 6)) * [1, 0.1, 2, 0.5, 1, 3]).astype(np.float16)
    scale, shift = generator.standard_normal((2, 6)).astype(np.float32)
    statistics, constants = Statistics(*np.ones((4, 6), np.float32)), NormConstants.of(rows)
    leaves, exact, running = of_torch(x, scale, shift, statistics)
    y = batch_norm(x, scale, shift, statistics, constants)

    # Deviations d from the first row have sums with these errors; so have mean and variance, divided by rows.
    wide = x.astype(np.float64)
    d, deviation = wide - wide[0], wide.std(0)
    of_mean = long_sum_error(d, 1) / rows + 4 * U32 * np.abs(d).mean(0) + 2 * U32 * np.abs(wide).max(0)
    of_variance = long_sum_error(d * d, 3) / rows + 8 * U32 * (d * d).mean(0)
    of_variance += 2 * np.abs(d.mean(0)) * of_mean
    relative = 0.51 * of_variance / (deviation**2 + 1e-5) + 4 * U32  # of the reciprocal: half, and a little
    centred = np.abs(wide - wide.mean(0))
    reciprocal = 1 / np.sqrt(deviation**2 + 1e-5)
    error = np.abs(scale) * reciprocal * (of_mean + centred * (relative + 4 * U32)) + U32 * np.abs(shift)
    assert_within(y, exact, 1.01 * error + U32 * np.abs(exact.detach().numpy()))
    assert (np.abs(statistics.mean - wide.mean(0)) <= of_mean).all()
    assert (np.abs(statistics.reciprocal / reciprocal - 1) <= relative).all()
    np.testing.assert_allclose(statistics.running_mean, running[0], rtol=1e-5, atol=1e-6)
    tolerance = 2 * float(relative.max()) + 1e-5
    np.testing.assert_allclose(statistics.running_variance, running[1], rtol=tolerance)

    dy = halves(x.shape, 4)
    gradients = [g.numpy() for g in torch.autograd.grad(exact, leaves, exactly(dy).detach())]
    dx, dscale, dshift = batch_norm_backward(x, dy, scale, statistics, constants.inverse)
    xhat = centred * reciprocal
    of_xhat = reciprocal * of_mean + xhat * (relative + 3 * U32)
    of_dshift = long_sum_error(dy)
    of_dscale = long_sum_error(np.abs(dy) * xhat, 2) + (np.abs(dy) * of_xhat).sum(0)
    assert_within(dshift, gradients[2], of_dshift)
    assert_within(dscale, gradients[1], 1.01 * of_dscale)
    size = np.abs(dy) + np.abs(gradients[2]) / rows + xhat * np.abs(gradients[1]) / rows
    of_centred = (of_dshift + xhat * of_dscale + of_xhat * np.abs(gradients[1])) / rows + 6 * U32 * size
    of_centred += size * (relative + 3 * U32)
    assert_within(dx, gradients[0], 1.02 * np.abs(scale) * reciprocal * of_centred)


def test_batch_norm_far_from_zero_keeps_its_variance() -> None:
    x = np.float16([[1024], [1025], [1026], [1025]])  # variance 0.5; squares are known to 2^-3
    statistics = Statistics(*np.zeros((4, 1), np.float32))
    y = batch_norm(x, np.ones(1, np.float32), np.zeros(1, np.float32), statistics, NormConstants.of(4, eps=0))
    np.testing.assert_allclose(y.view(np.float16)[:, 0], np.float32([-1, 0, 1, 0]) * np.sqrt(2), rtol=1e-3)
    assert statistics.mean == 1025
    assert statistics.running_variance == np.float32(0.1) * np.float32(0.5 * 4 / 3)


def test_batch_norm_of_a_constant_channel() -> None:
    x, ones, zeros = halves((40, 3)), np.ones(3, np.float32), np.zeros(3, np.float32)
    x[:, 1] = 7
    statistics = Statistics(*np.zeros((4, 3), np.float32))
    y = batch_norm(x, ones, zeros, statistics, NormConstants.of(40))
    assert (y[:, 1] == 0).all()
    with pytest.raises(SpecError, match="at least 2"):
        NormConstants.of(1)
