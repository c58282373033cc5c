"""The RTL array against three others: the register-stepped oracle, the closed form, and the order of accumulation."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from codesign.compute.order import Order
from codesign.nm import reference
from codesign.nm.format import NM
from codesign.schedule.lower import schedule
from hls import rtl_build, rtl_sim
from hls.rtl_sim import Build, Job
from hls.rtl_streams import Operands, Plan
from hw_models import oracle
from hw_models.arch import load_arch
from hw_models.timing import ArrayParams, Dataflow, FillPolicy, gemm_cycles
from workloads.catalog import load
from workloads.sparsity import apply_method

pytestmark = pytest.mark.skipif(not rtl_build.available(), reason="needs verilator, g++ and make")

CACHE = Path(__file__).parent.parent / "build" / "rtl"
SMALL = Build(2, 3, multiplier_latency_cycles=1, accumulator_latency_cycles=2)
OTHERS = [
    Build(1, 1, multiplier_latency_cycles=0, accumulator_latency_cycles=1, port=1),
    Build(2, 2, multiplier_latency_cycles=3, accumulator_latency_cycles=1, port=64),
    Build(3, 2, multiplier_latency_cycles=0, accumulator_latency_cycles=5, port=3),
    Build(4, 3, multiplier_latency_cycles=3, accumulator_latency_cycles=8, m=16, port=2),
    Build(5, 1, multiplier_latency_cycles=2, accumulator_latency_cycles=4, m=6, n=3, depth=5, port=7),
    Build(1, 4, multiplier_latency_cycles=4, accumulator_latency_cycles=9, m=1, n=1, depth=12, port=2),
]


def random_operand(random: Random, shape: tuple[int, int]) -> np.ndarray:
    """float16: of one magnitude, of every finite exponent, or of every bit pattern (infinity and NaN too)."""
    rng = np.random.default_rng(random.getrandbits(32))
    kind = random.choice(("normal", "exponents", "exponents", "bits"))
    if kind == "normal":
        return rng.standard_normal(shape).astype("<f2")
    bits = rng.integers(0, 1 << 16, shape)
    if kind == "exponents":
        bits &= ~0x0400  # so that no exponent field is all ones
    return bits.astype("<u2").view("<f2")


def pruned(b: np.ndarray, nm: NM) -> reference.Compact:
    """B (k, j) with k padded to whole groups, packed along k."""
    return reference.pack(reference.pad(b, nm, axis=0), nm, axis=0)


def random_job(random: Random, build: Build) -> Job:
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
    compact = pruned(random_operand(random, (k, j)), NM(n, m))
    operands = Operands(random_operand(random, (i, k)), compact.values, reference.indices(compact))
    return Job(Plan(array, random.choice(list(Dataflow)), (i, k, j), n, m), operands)


def in_order(plan: Plan, operands: Operands) -> np.ndarray:
    """Y (i, j), bits of float32, with the products of kept weights added in the documented order."""
    padded = plan.groups * plan.m
    place = (np.arange(plan.groups)[:, np.newaxis] * plan.m + operands.indices).reshape(plan.shape[2], -1)
    weights, kept = np.zeros((plan.shape[2], padded), "<f4"), np.zeros((plan.shape[2], padded), bool)
    np.put_along_axis(weights, place, operands.values.reshape(place.shape).astype("<f4"), axis=1)
    np.put_along_axis(kept, place, True, axis=1)
    a = np.zeros((plan.shape[0], padded), "<f4")
    a[:, : plan.shape[1]] = operands.a

    order = Order.ws(plan.array.rows, plan.m) if plan.dataflow is Dataflow.WS else Order.os()
    visit, ends = order.walk(padded)
    total = np.zeros((plan.shape[0], plan.shape[2]), "<f4")
    for run in np.split(visit, ends[:-1]):
        partial = np.zeros_like(total)
        for k in run:
            with np.errstate(invalid="ignore"):
                partial = np.where(kept[:, k], partial + a[:, k, np.newaxis] * weights[:, k], partial)
        with np.errstate(invalid="ignore"):
            total = total + partial
    return quiet(total)


def quiet(y: np.ndarray) -> np.ndarray:
    """Bits of float32, every NaN as the RTL writes it."""
    return np.where(np.isnan(y), 0x7FC00000, np.ascontiguousarray(y).view("<u4"))


def closed_form(plan: Plan) -> int:
    return gemm_cycles(plan.array, plan.dataflow, *plan.shape, plan.n, plan.m).total


def check_random_gemms(program: Path, build: Build, count: int, *, step_oracle: bool) -> None:
    """All on one array one after the other, so that none may depend on what the one before left behind."""
    random = Random(repr(build))
    jobs = [random_job(random, build) for _ in range(count)]
    for (plan, operands), outcome in zip(jobs, rtl_sim.run(program, build, jobs), strict=True):
        assert operands is not None
        assert outcome.cycles == closed_form(plan), plan
        assert np.array_equal(quiet(outcome.y), in_order(plan, operands)), plan
        if step_oracle:
            finite = np.nan_to_num(operands.a), np.nan_to_num(operands.values)
            stepped = oracle.run_compact(plan.array, plan.dataflow, *finite, operands.indices, plan.m)
            assert outcome.cycles == stepped.cycles, plan


def test_random_gemms_on_a_small_array() -> None:
    check_random_gemms(SMALL.program(CACHE), SMALL, 60, step_oracle=False)


@pytest.mark.slow
@pytest.mark.parametrize("build", [SMALL, *OTHERS], ids=lambda build: f"{build.rows}x{build.cols}")
def test_random_gemms_on_many_arrays(build: Build) -> None:
    check_random_gemms(build.program(CACHE), build, 60, step_oracle=True)


@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize("nm", [NM(2, 8), NM(8, 8)], ids=str)
def test_a_networks_convolution_with_its_initial_weights(nm: NM, dataflow: Dataflow) -> None:
    torch = pytest.importorskip("torch")
    from workloads.models import build

    torch.manual_seed(0)
    weight = build("resnet9", classes=10).layer1.conv.weight[:8].detach().half().numpy()  # (Co, Ci, kh, kw)
    b = np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, 8))  # channels innermost
    a = np.random.default_rng(0).standard_normal((21, len(b))).astype("<f2")
    compact = pruned(b, nm)
    array = ArrayParams(SMALL.rows, SMALL.cols, 4, 1, 2, SMALL.port, True, True, FillPolicy.HIDDEN)
    plan = Plan(array, dataflow, (*a.shape, 8), nm.n, nm.m)
    operands = Operands(a, compact.values, reference.indices(compact))
    (outcome,) = rtl_sim.run(SMALL.program(CACHE), SMALL, [Job(plan, operands)])
    assert outcome.cycles == closed_form(plan)
    assert np.array_equal(quiet(outcome.y), in_order(plan, operands))
    exact = a.astype("f8") @ reference.unpack(compact).astype("f8")
    assert np.allclose(outcome.y, exact, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_every_tile_of_resnet18_on_an_8_by_8_array() -> None:
    """`sat.yaml` with smaller array and buffers, dense and 2:8. Zeros as data: cycles do not depend on it."""
    buffers = {f"buffers.{name}.capacity_bytes": 1 << 16 for name in ("activation", "weight", "output")}
    arch = load_arch("sat.yaml").with_overrides({"array.rows": 8, "array.cols": 8, **buffers})
    plans = set()
    for method, nm in (("dense", None), ("bdwp", NM(2, 8))):
        trace, _ = apply_method(load("resnet18", batch=64), method, nm)
        for step in schedule(trace, arch).steps:
            for block in step.blocks if step.choice else ():
                for run in block.runs:
                    gemm = run.tile.gemm
                    plans.add(
                        Plan(
                            arch.array_params, step.choice.dataflow, (gemm.i, gemm.k, gemm.j), step.n, step.m
                        )
                    )
    assert len(plans) > 50
    assert {(plan.dataflow, plan.n) for plan in plans} >= {
        (Dataflow.WS, 2),
        (Dataflow.WS, 8),
        (Dataflow.OS, 8),
    }

    array = arch.array_params
    latencies = array.multiplier_latency_cycles, array.accumulator_latency_cycles
    build = Build(8, 8, *latencies, depth=array.interleave_depth, port=array.activation_port_values)
    jobs = [Job(plan) for plan in plans]
    for (plan, _), outcome in zip(jobs, rtl_sim.run(build.program(CACHE), build, jobs), strict=True):
        assert outcome.cycles == closed_form(plan), plan
