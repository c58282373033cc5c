"""The RTL array against three others: the register-stepped oracle, the closed form, and the order of accumulation."""

from pathlib import Path

import numpy as np
import pytest
from rtl_order import in_order

from codesign.nm import reference
from codesign.nm.format import NM
from codesign.schedule.lower import schedule
from hls.rtl_bench import build as rtl_build
from hls.rtl_bench import sim as rtl_sim
from hls.rtl_bench.sim import Build, Job
from hls.rtl_bench.stimuli import BUILDS, RandomGemm, closed_form, pack, quiet, random_gemms, wrong
from hls.rtl_bench.streams import Plan
from hw_models import oracle
from hw_models.arch import load_arch
from hw_models.timing import ArrayParams, Dataflow, FillPolicy
from workloads.catalog import load
from workloads.sparsity import apply_method

pytestmark = pytest.mark.skipif(not rtl_build.available(), reason="needs verilator, g++ and make")

CACHE = Path(__file__).parent.parent / "build" / "rtl"
SMALL = BUILDS[0]


def check_random_gemms(program: Path, build: Build, count: int) -> None:
    gemms = random_gemms(build, count)
    assert wrong(program, build, gemms, in_order) == []


def test_random_gemms_on_a_small_array() -> None:
    check_random_gemms(SMALL.program(CACHE), SMALL, 60)


@pytest.mark.slow
@pytest.mark.parametrize("build", BUILDS, ids=lambda build: f"{build.rows}x{build.cols}")
def test_random_gemms_on_many_arrays(build: Build) -> None:
    check_random_gemms(build.program(CACHE), build, 60)
    for plan, a, b in random_gemms(build, 60):
        finite = np.nan_to_num(a), np.nan_to_num(b.values)
        stepped = oracle.run_compact(plan.array, plan.dataflow, *finite, reference.indices(b), plan.m)
        assert stepped.cycles == closed_form(plan), plan


@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize("nm", [NM(2, 8), NM(8, 8)], ids=str)
def test_a_networks_convolution_with_its_initial_weights(nm: NM, dataflow: Dataflow) -> None:
    torch = pytest.importorskip("torch")
    from workloads.models import build

    torch.manual_seed(0)
    weight = build("resnet9", classes=10).layer1.conv.weight[:8].detach().half().numpy()  # (Co, Ci, kh, kw)
    b = np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, 8))  # channels innermost
    a = np.random.default_rng(0).standard_normal((21, len(b))).astype("<f2")
    compact = pack(b, nm)
    array = ArrayParams(SMALL.rows, SMALL.cols, 4, 1, 2, SMALL.port, True, True, FillPolicy.HIDDEN)
    plan = Plan(array, dataflow, (*a.shape, 8), nm.n, nm.m)
    gemm = RandomGemm(plan, a, compact)
    (outcome,) = rtl_sim.run(SMALL.program(CACHE), SMALL, [Job(plan, gemm.operands)])
    assert outcome.cycles == closed_form(plan)
    assert np.array_equal(quiet(outcome.y), quiet(in_order(gemm)))
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
