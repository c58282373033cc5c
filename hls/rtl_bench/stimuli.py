"""Random GEMMs for the RTL array, and which of them it gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.nm import reference
from codesign.nm.format import NM
from codesign.nm.reference import Compact
from hls.rtl_bench import sim as rtl_sim
from hls.rtl_bench.sim import Build, Job
from hls.rtl_bench.streams import Operands, Plan
from hw_models.timing import ArrayParams, Dataflow, FillPolicy, gemm_cycles

Array = NDArray[Any]

BUILDS = (
    Build(2, 3, multiplier_latency_cycles=1, accumulator_latency_cycles=2),
    Build(1, 1, multiplier_latency_cycles=0, accumulator_latency_cycles=1, port=1),
    Build(2, 2, multiplier_latency_cycles=3, accumulator_latency_cycles=1, port=64),
    Build(3, 2, multiplier_latency_cycles=0, accumulator_latency_cycles=5, port=3),
    Build(4, 3, multiplier_latency_cycles=3, accumulator_latency_cycles=8, m=16, port=2),
    Build(5, 1, multiplier_latency_cycles=2, accumulator_latency_cycles=4, m=6, n=3, depth=5, port=7),
    Build(1, 4, multiplier_latency_cycles=4, accumulator_latency_cycles=9, m=1, n=1, depth=12, port=2),
)
"""Arrays of different shape, latencies, port and limits."""

RTL_NAN = 0x7FC00000
"""The one NaN that the RTL writes, float32 bits."""


class RandomGemm(NamedTuple):
    """`a` (i, k) float16 times `b`, compact float16 with k padded to whole groups, as `plan` says."""

    plan: Plan
    a: Array
    b: Compact

    @property
    def operands(self) -> Operands:
        """As the array's streams take them."""
        return Operands(self.a, self.b.values, reference.indices(self.b))


Product = Callable[[RandomGemm], Array]
"""Y (i, j) float32, summed in the array's order (`codesign.compute.order`)."""


def random_gemms(build: Build, count: int) -> list[RandomGemm]:
    """So many, always the same for a build."""
    random = Random(repr(build))
    return [_random_gemm(random, build) for _ in range(count)]


def wrong(program: Path, build: Build, gemms: list[RandomGemm], product: Product) -> list[Plan]:
    """GEMMs whose cycles differ from the closed form, or their result from `product`, bit for bit.

    All run on one array one after the other, so that none may depend on what the one before left behind.
    Raises ExportError if the array does not finish.
    """
    outcomes = rtl_sim.run(program, build, [Job(gemm.plan, gemm.operands) for gemm in gemms])
    return [
        gemm.plan
        for gemm, outcome in zip(gemms, outcomes, strict=True)
        if outcome.cycles != closed_form(gemm.plan)
        or not np.array_equal(quiet(outcome.y), quiet(product(gemm)))
    ]


def closed_form(plan: Plan) -> int:
    """Cycles by `hw_models.timing`."""
    return gemm_cycles(plan.array, plan.dataflow, *plan.shape, plan.n, plan.m).total


def quiet(y: Array) -> Array:
    """Bits of float32, every NaN as the RTL writes it."""
    return np.where(np.isnan(y), RTL_NAN, np.ascontiguousarray(y).view("<u4"))


def pack(b: Array, nm: NM) -> Compact:
    """B (k, j) with k padded to whole groups, packed along k."""
    return reference.pack(reference.pad(b, nm, axis=0), nm, axis=0)


def _random_gemm(random: Random, build: Build) -> RandomGemm:
    """Up to about three array tiles along each axis, ragged more often than not."""
    m = random.randint(1, build.m)
    n = random.randint(1, min(m, build.n))
    if random.random() < 0.5 and m <= build.n:
        n = m
    array = ArrayParams(
        rows=build.rows,
        cols=build.cols,
        interleave_depth=random.choice((1, random.randint(1, build.depth))),
        multiplier_latency_cycles=build.multiplier_latency_cycles,
        accumulator_latency_cycles=build.accumulator_latency_cycles,
        activation_port_values=build.port,
        double_weights=random.random() < 0.5,
        double_accumulators=random.random() < 0.5,
        fill_policy=random.choice(list(FillPolicy)),
    )
    i = random.randint(1, min(40, 3 * array.rows * array.interleave_depth))
    k = random.randint(1, min(40, 3 * array.rows * m))
    j = random.randint(1, 3 * array.cols)
    b = pack(_random_operand(random, (k, j)), NM(n, m))
    a = _random_operand(random, (i, k))
    return RandomGemm(Plan(array, random.choice(list(Dataflow)), (i, k, j), n, m), a, b)


def _random_operand(random: Random, shape: tuple[int, int]) -> Array:
    """float16: of one magnitude, of every finite exponent, or of every bit pattern (infinity and NaN too)."""
    rng = np.random.default_rng(random.getrandbits(32))
    kind = random.choice(("normal", "exponents", "exponents", "bits"))
    if kind == "normal":
        return rng.standard_normal(shape).astype("<f2")
    bits = rng.integers(0, 1 << 16, shape)
    if kind == "exponents":
        bits &= ~0x0400  # so that no exponent field is all ones
    return bits.astype("<u2").view("<f2")
