"""RTL operators and vector lanes against numpy: every result bit for bit, NaNs as the one quiet NaN of the RTL."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from codesign.nm import reference
from codesign.nm.format import NM
from hls import rtl_blocks, rtl_build

pytestmark = pytest.mark.skipif(not rtl_build.available(), reason="needs verilator, g++ and make")

CACHE = Path(__file__).parent.parent / "build" / "rtl"
Run = Callable[..., np.ndarray]

# sign bit clear: zero, subnormals, the normal range's ends, around one and its ulp, infinity, NaNs
HALF = [0, 1, 2, 0x3FF, 0x400, 0x401, 0x3BFF, 0x3C00, 0x3C01, 0x4000, 0x7BFF, 0x7C00, 0x7C01, 0x7E00, 0x7FFF]
SINGLE = [
    *(0, 1, 2, 0x7FFFFF, 0x800000, 0x800001, 0xFFFFFF, 0x1000000, 0x33800000, 0x337FFFFF, 0x34000000),
    *(0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3FFFFFFF, 0x40000000, 0x4B800000, 0x4B7FFFFF, 0x7F000000),
    *(0x7F7FFFFE, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF),
]


@pytest.fixture(scope="module")
def run() -> Run:
    return bench(rtl_blocks.program(CACHE))


def bench(program: Path) -> Run:
    """Simulates so many cycles with some operands, the others 0."""

    def simulate(cycles: int, **operands: np.ndarray | int) -> np.ndarray:
        words = np.zeros(cycles, rtl_blocks.OPERANDS)
        for name, values in operands.items():
            words[name] = values
        return rtl_blocks.run(program, words)

    return simulate


def both_signs(patterns: list[int], sign: int) -> np.ndarray:
    return np.array([*patterns, *(pattern | sign for pattern in patterns)])


def pairs(corners: np.ndarray, others: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of corner cases, then further operands a and b."""
    a, b = np.array(list(product(corners, corners))).T
    return np.concatenate([a, next(others)]), np.concatenate([b, next(others)])


def single_bits(values: np.ndarray) -> np.ndarray:
    """Bits of float32, with the RTL's NaN."""
    return np.where(np.isnan(values), 0x7FC00000, values.view("<u4"))


def half_bits(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), 0x7E00, values.view("<u2"))


def random_bits(seed: int, bits: int, count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    while True:
        yield rng.integers(0, 1 << bits, count)


def fractions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Fraction fields of float32, short ones and such with two bits set: ties and near ties become likely."""
    short = rng.integers(0, 1 << 23, count) & -(1 << rng.integers(0, 23, count))
    sparse = 1 << rng.integers(0, 23, count) | 1
    return np.where(rng.random(count) < 0.5, short, sparse)


def similar(seed: int, count: int) -> Iterator[np.ndarray]:
    """float32 patterns whose exponents lie within 30 of each other, near the subnormals in half of the cases."""
    rng = np.random.default_rng(seed)
    base = np.where(rng.random(count) < 0.5, 0, rng.integers(0, 225, count))
    while True:
        exponent = base + rng.integers(0, 30, count)
        yield rng.integers(0, 2, count) << 31 | exponent << 23 | fractions(rng, count)


def test_fp16_product_is_exact_in_fp32(run: Run) -> None:
    a, b = pairs(both_signs(HALF, 0x8000), random_bits(1, 16, 50_000))
    x, y = (operand.astype("<u2").view("<f2").astype("<f4") for operand in (a, b))
    with np.errstate(invalid="ignore"):
        expected = x * y
        assert np.array_equal(expected, x.astype("f8") * y.astype("f8"), equal_nan=True)  # nothing is rounded
    assert np.array_equal(run(len(a), a=a, b=b)["half_product"], single_bits(expected))


@pytest.mark.parametrize("operation", ["sum", "product"])
def test_fp32_operator_rounds_as_ieee_754_says(run: Run, operation: str) -> None:
    corners = both_signs(SINGLE, 0x80000000)
    for others in (random_bits(2, 32, 40_000), similar(3, 40_000)):
        a, b = pairs(corners, others)
        x, y = (operand.astype("<u4").view("<f4") for operand in (a, b))
        with np.errstate(all="ignore"):
            expected = x + y if operation == "sum" else x * y
        assert np.array_equal(run(len(a), a=a, b=b)[operation], single_bits(expected))


def test_fp32_product_rounds_into_the_subnormals(run: Run) -> None:
    """The biased exponents add up to 128 for the smallest normal product, to 105 for the smallest subnormal one."""
    rng = np.random.default_rng(4)
    total, exponent = rng.integers(100, 132, 40_000), rng.integers(1, 100, 40_000)
    a, b = ((e << 23 | fractions(rng, 40_000)).astype("<u4") for e in (exponent, total - exponent))
    expected = a.view("<f4") * b.view("<f4")
    assert 0.5 < np.mean(np.abs(expected) < np.finfo("<f4").tiny) < 0.95
    assert np.array_equal(run(len(a), a=a, b=b)["product"], single_bits(expected))


def test_fp32_to_fp16_around_every_rounding_boundary(run: Run) -> None:
    half = np.arange(0x7C00, dtype="<u2").view("<f2").astype("<f4")
    middle = (half + np.append(half[1:], np.float32(65536))) / 2  # exact in FP32
    halfway = middle.view("<u4").astype("i8")
    bits = np.concatenate(
        [half.view("<u4"), halfway - 1, halfway, halfway + 1, next(random_bits(5, 32, 50_000))]
    )
    bits = np.concatenate([bits, bits | 0x80000000, both_signs(SINGLE, 0x80000000)]).astype("<u4")
    with np.errstate(over="ignore"):
        expected = bits.view("<f4").astype("<f2")
    assert np.array_equal(run(len(bits), a=bits)["half"], half_bits(expected))


WUVE_CYCLES = 3 * (rtl_blocks.MUL_LATENCY + rtl_blocks.ADD_LATENCY)


def update(
    run: Run, weights: np.ndarray, momenta: np.ndarray, gradients: np.ndarray, **rates: float
) -> np.ndarray:
    """What WUVE makes of float32 weights and momenta and float16 gradients; one parameter a cycle."""
    count = len(weights)
    operands = {name: np.float32(rate).view("<u4") for name, rate in rates.items()}
    words = [np.zeros(count + WUVE_CYCLES, "<u4") for _ in range(3)]
    for word, values in zip(
        words, (weights.view("<u4"), momenta.view("<u4"), gradients.view("<u2")), strict=True
    ):
        word[:count] = values
    out = run(count + WUVE_CYCLES, a=words[0], b=words[1], value=words[2], **operands)
    return out[WUVE_CYCLES:]


@pytest.mark.parametrize("weight_decay", [0.0, 5e-4])
@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_wuve_rounds_each_operation_as_numpy_does(run: Run, scale: float, weight_decay: float) -> None:
    rng = np.random.default_rng(6)
    w, m = rng.standard_normal((2, 20_000)).astype("<f4") * np.float32(scale)
    gradient = (
        rng.integers(0, 1 << 16, 20_000).astype("<u2").view("<f2")
    )  # subnormal, infinite and NaN ones too
    out = update(run, w, m, gradient, learning_rate=0.1, momentum=0.9, weight_decay=weight_decay)

    rate, mu, decay = np.float32(0.1), np.float32(0.9), np.float32(weight_decay)
    with np.errstate(all="ignore"):
        g = decay * w + gradient.astype("<f4")
        m = mu * m + g
        w = w - rate * m
        half = w.astype("<f2")
    assert np.array_equal(out["momentum"], single_bits(m))
    assert np.array_equal(out["weight"], single_bits(w))
    assert np.array_equal(out["weight_half"], half_bits(half))


def test_wuve_is_torch_sgd(run: Run) -> None:
    """Rates are powers of two: products are exact, so it does not matter that torch may fuse multiply-adds."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    gradients = rng.standard_normal((3, 500)).astype("<f2")
    w, m = rng.standard_normal(500).astype("<f4"), np.zeros(500, "<f4")
    parameter = torch.nn.Parameter(torch.tensor(w))
    sgd = torch.optim.SGD([parameter], lr=2**-4, momentum=0.5, weight_decay=2**-10)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient.astype("<f4"))
        sgd.step()
        out = update(run, w, m, gradient, learning_rate=2**-4, momentum=0.5, weight_decay=2**-10)
        w, m = out["weight"].view("<f4"), out["momentum"].view("<f4")
    assert np.array_equal(w, parameter.detach().numpy())


RATIOS = [NM(1, 1), NM(1, 2), NM(2, 4), NM(2, 8), NM(3, 7), NM(8, 8), NM(2, 16), NM(8, 16)]


@pytest.mark.parametrize("idle", [0.0, 0.3])
@pytest.mark.parametrize("nm", RATIOS, ids=str)
def test_sore_keeps_what_the_format_says(run: Run, nm: NM, idle: float) -> None:
    """Groups full of ties, zeros, infinities and NaNs, back to back or with idle cycles in between."""
    rng = np.random.default_rng(nm.n * 100 + nm.m)
    groups = rng.choice(both_signs(HALF, 0x8000), (300, nm.m))
    groups[100:] = rng.integers(0, 1 << 16, (200, nm.m))
    values = groups.astype("<u2").reshape(-1)

    valid = rng.random(2 * values.size + 2) >= idle
    valid[np.cumsum(valid) > values.size] = False
    stream = np.zeros(valid.size, "<u2")
    stream[valid] = values
    out = run(valid.size, value=stream, valid=valid, nm=nm.n + 16 * (nm.m - 1))

    done = out["done"] == 1
    last = np.flatnonzero(valid)[
        nm.m - 1 :: nm.m
    ]  # cycle of a group's last value; its result shows in the next
    assert np.array_equal(np.flatnonzero(done), last + 1)
    compact = reference.pack(values.view("<f2").reshape(300, nm.m), nm, axis=1)
    index_bits = 4  # ceil(log2 of the bench's largest M)
    indices = out["indices"][done][:, None] >> index_bits * np.arange(nm.n) & 15
    assert np.array_equal(out["values"][done][:, : nm.n], compact.values[:, 0].view("<u2"))
    assert np.array_equal(indices, reference.indices(compact)[:, 0])
