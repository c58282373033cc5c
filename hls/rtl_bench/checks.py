"""The RTL's operators and vector lanes against numpy, bit for bit, NaNs as the one quiet NaN of the RTL.

A check gets a simulator of the bench and gives its number of wrong results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.nm import reference
from codesign.nm.format import NM
from hls.rtl_bench import blocks as rtl_blocks

Array = NDArray[Any]
Run = Callable[..., Array]
"""Simulates so many cycles with some of `rtl_blocks.OPERANDS`, the others 0: `rtl_blocks.RESULTS` of each cycle."""

# sign bit clear: zero, subnormals, the normal range's ends, around one and its ulp, infinity, NaNs
HALF = (0, 1, 2, 0x3FF, 0x400, 0x401, 0x3BFF, 0x3C00, 0x3C01, 0x4000, 0x7BFF, 0x7C00, 0x7C01, 0x7E00, 0x7FFF)
SINGLE = (
    *(0, 1, 2, 0x7FFFFF, 0x800000, 0x800001, 0xFFFFFF, 0x1000000, 0x33800000, 0x337FFFFF, 0x34000000),
    *(0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3FFFFFFF, 0x40000000, 0x4B800000, 0x4B7FFFFF, 0x7F000000),
    *(0x7F7FFFFE, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF),
)

WUVE_CYCLES = 3 * (rtl_blocks.MUL_LATENCY + rtl_blocks.ADD_LATENCY)
SORE_INDEX_BITS = 4  # ceil(log2 of the bench's largest M)


def bench(program: Path) -> Run:
    """The bench that `rtl_blocks.program` built."""

    def simulate(cycles: int, **operands: Array | int) -> Array:
        words = np.zeros(cycles, rtl_blocks.OPERANDS)
        for name, values in operands.items():
            words[name] = values
        return rtl_blocks.run(program, words)

    return simulate


def half_product(run: Run) -> int:
    """The product of two FP16 numbers, exact in FP32."""
    a, b = _pairs(_both_signs(HALF, 0x8000), _random_bits(1, 16, 50_000))
    x, y = (operand.astype("<u2").view("<f2").astype("<f4") for operand in (a, b))
    with np.errstate(invalid="ignore"):
        return _wrong(run(len(a), a=a, b=b)["half_product"], single_bits(x * y))


def single_operator(operation: str, run: Run) -> int:
    """FP32 `sum` or `product` as IEEE 754 rounds it."""
    wrong = 0
    for others in (_random_bits(2, 32, 40_000), _similar(3, 40_000)):
        a, b = _pairs(_both_signs(SINGLE, 0x80000000), others)
        x, y = (operand.astype("<u4").view("<f4") for operand in (a, b))
        with np.errstate(all="ignore"):
            expected = x + y if operation == "sum" else x * y
        wrong += _wrong(run(len(a), a=a, b=b)[operation], single_bits(expected))
    return wrong


def tiny_product(run: Run) -> int:
    """FP32 products around the subnormals.

    Biased exponents add up to 128 for the smallest normal product, to 105 for the smallest subnormal one.
    """
    rng = np.random.default_rng(4)
    total, exponent = rng.integers(100, 132, 40_000), rng.integers(1, 100, 40_000)
    a, b = ((e << 23 | _fractions(rng, 40_000)).astype("<u4") for e in (exponent, total - exponent))
    return _wrong(run(len(a), a=a, b=b)["product"], single_bits(a.view("<f4") * b.view("<f4")))


def to_half(run: Run) -> int:
    """FP32 to FP16 around every rounding boundary."""
    half = np.arange(0x7C00, dtype="<u2").view("<f2").astype("<f4")
    middle = (half + np.append(half[1:], np.float32(65536))) / 2  # exact in FP32
    halfway = middle.view("<u4").astype("i8")
    others = next(_random_bits(5, 32, 50_000))
    bits = np.concatenate([half.view("<u4"), halfway - 1, halfway, halfway + 1, others])
    bits = np.concatenate([bits, bits | 0x80000000, _both_signs(SINGLE, 0x80000000)]).astype("<u4")
    with np.errstate(over="ignore"):
        expected = bits.view("<f4").astype("<f2")
    return _wrong(run(len(bits), a=bits)["half"], half_bits(expected))


def wuve(run: Run, scale: float = 1.0, weight_decay: float = 5e-4) -> int:
    """SGD with momentum: every multiplication and addition rounds."""
    rng = np.random.default_rng(6)
    w, m = rng.standard_normal((2, 20_000)).astype("<f4") * np.float32(scale)
    gradient = rng.integers(0, 1 << 16, 20_000).astype("<u2").view("<f2")  # all kinds of numbers
    out = update(run, w, m, gradient, learning_rate=0.1, momentum=0.9, weight_decay=weight_decay)

    rate, mu, decay = np.float32(0.1), np.float32(0.9), np.float32(weight_decay)
    with np.errstate(all="ignore"):
        m = mu * m + (decay * w + gradient.astype("<f4"))
        w = w - rate * m
        half = w.astype("<f2")
    return (
        _wrong(out["momentum"], single_bits(m))
        + _wrong(out["weight"], single_bits(w))
        + _wrong(out["weight_half"], half_bits(half))
    )


def update(run: Run, weights: Array, momenta: Array, gradients: Array, **rates: float) -> Array:
    """What WUVE makes of float32 weights and momenta and float16 gradients; one parameter a cycle."""
    count = len(weights)
    operands = {name: np.float32(rate).view("<u4") for name, rate in rates.items()}
    for name, bits in (
        ("a", weights.view("<u4")),
        ("b", momenta.view("<u4")),
        ("value", gradients.view("<u2")),
    ):
        operands[name] = np.zeros(count + WUVE_CYCLES, "<u4")
        operands[name][:count] = bits
    return run(count + WUVE_CYCLES, **operands)[WUVE_CYCLES:]


def sore(run: Run, nm: NM, idle: float = 0.0) -> int:
    """Groups full of ties, zeros, infinities and NaNs, back to back or with a share of `idle` cycles in between."""
    rng = np.random.default_rng(nm.n * 100 + nm.m)
    groups = rng.choice(_both_signs(HALF, 0x8000), (300, nm.m))
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
    if not np.array_equal(np.flatnonzero(done), last + 1):
        return len(groups)
    compact = reference.pack(values.view("<f2").reshape(300, nm.m), nm, axis=1)
    indices = out["indices"][done][:, None] >> SORE_INDEX_BITS * np.arange(nm.n) & 15
    return _wrong(out["values"][done][:, : nm.n], compact.values[:, 0].view("<u2")) + _wrong(
        indices, reference.indices(compact)[:, 0]
    )


CHECKS: dict[str, Callable[[Run], int]] = {
    "half product": half_product,
    "sum": partial(single_operator, "sum"),
    "product": partial(single_operator, "product"),
    "tiny product": tiny_product,
    "half": to_half,
    "wuve": wuve,
    "sore": partial(sore, nm=NM(2, 4)),
}


def single_bits(values: Array) -> Array:
    """Bits of float32, with the RTL's NaN."""
    return np.where(np.isnan(values), 0x7FC00000, values.view("<u4"))


def half_bits(values: Array) -> Array:
    """Bits of float16, with the RTL's NaN."""
    return np.where(np.isnan(values), 0x7E00, values.view("<u2"))


def _wrong(results: Array, expected: Array) -> int:
    return int(np.count_nonzero(results != expected))


def _both_signs(patterns: Sequence[int], sign: int) -> Array:
    return np.array([*patterns, *(pattern | sign for pattern in patterns)])


def _pairs(corners: Array, others: Iterator[Array]) -> tuple[Array, Array]:
    """Every pair of corner cases, then further operands a and b."""
    a, b = np.array(list(product(corners, corners))).T
    return np.concatenate([a, next(others)]), np.concatenate([b, next(others)])


def _random_bits(seed: int, bits: int, count: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    while True:
        yield rng.integers(0, 1 << bits, count)


def _fractions(rng: np.random.Generator, count: int) -> Array:
    """Fraction fields of float32, short ones and such with two bits set: ties and near ties become likely."""
    short = rng.integers(0, 1 << 23, count) & -(1 << rng.integers(0, 23, count))
    sparse = 1 << rng.integers(0, 23, count) | 1
    return np.where(rng.random(count) < 0.5, short, sparse)


def _similar(seed: int, count: int) -> Iterator[Array]:
    """float32 patterns whose exponents lie within 30 of each other, near the subnormals in half of the cases."""
    rng = np.random.default_rng(seed)
    base = np.where(rng.random(count) < 0.5, 0, rng.integers(0, 225, count))
    while True:
        exponent = base + rng.integers(0, 30, count)
        yield rng.integers(0, 2, count) << 31 | exponent << 23 | _fractions(rng, count)
