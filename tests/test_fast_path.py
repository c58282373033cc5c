"""The fast path gives the integers of the full event model, on networks and on random programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import SAT, choice, machines, programs

from codesign.nm.format import NM
from codesign.schedule import schedule
from hw_models.accelerator import execute
from hw_models.arch import Arch, load_arch
from hw_models.memory import SharedServers, Work
from hw_models.program import Block, Program, Run, Step, Tile, TileGemm, Unit
from hw_models.timing import Dataflow
from workloads.catalog import load
from workloads.sparsity import apply_method

SINGLE_BUFFERED = {
    f"buffers.{name}.double_buffered": False
    for name in ("activation", "weight", "output", "vector", "update")
}
OFF = {f"optimizations.{name}": False for name in ("interleave", "pregenerate", "offline_schedule")}
EVERY_TILE = {"array.fill_policy": "every_tile"}

Case = tuple[str, dict[str, int], str, dict[str, Any], str, str]

CASES: list[Case] = [
    # workload, its options, architecture, overrides, method, N:M
    ("resnet18", {"batch": 1}, "sat", {}, "bdwp", "2:8"),
    ("resnet18", {"batch": 2}, "sat-u280", {"optimizations.pregenerate": False}, "srste", "2:4"),
    ("resnet18", {"batch": 1}, "sat-zynq", {}, "sdgp", "2:8"),
    ("resnet9", {"batch": 2}, "sat-zynq", SINGLE_BUFFERED, "bdwp", "1:8"),
    ("resnet9", {"batch": 4}, "sat", {"optimizations.interleave": False}, "sdwp", "2:8"),
    ("vgg16-cifar", {"batch": 2}, "sat", OFF, "bdwp", "2:8"),
    ("vgg16-cifar", {"batch": 2}, "dense", {}, "dense", "2:8"),
    ("vit-tiny-cifar", {"batch": 2}, "sat", EVERY_TILE, "bdwp", "2:8"),
    ("vit-tiny-cifar", {"batch": 1}, "sat-zynq", {"buffers.output.double_buffered": False}, "bdwp", "2:16"),
    ("bert-base", {"batch": 1, "seq_len": 16}, "sat-u280", {}, "bdwp", "2:8"),
    ("bert-base", {"batch": 1, "seq_len": 16}, "sat", {"optimizations.pregenerate": False}, "bdwp", "2:8"),
    ("gpt2-small", {"batch": 1, "seq_len": 16}, "sat-u280", {}, "bdwp", "2:8"),
    ("mlp", {"batch": 8}, "sat", {"optimizations.pregenerate": False}, "bdwp", "2:8"),
    ("mlp", {"batch": 200}, "sat-zynq", {"optimizations.offline_schedule": False}, "srste", "2:8"),
    ("gemm:1000x700x300", {}, "sat", {"buffers.weight.double_buffered": False}, "dense", "2:8"),
    ("gemm:64x4096x4096", {}, "sat-zynq", {"array.double_weights": False}, "bdwp", "4:8"),
]  # fmt: skip

LARGE_CASES: list[Case] = [
    ("resnet18", {"batch": 16}, "sat-zynq", {}, "bdwp", "2:8"),
    ("resnet50", {"batch": 8}, "sat", {}, "bdwp", "2:8"),
    ("resnet50", {"batch": 2}, "sat-zynq", OFF, "sdgp", "2:4"),
    ("vit-small", {"batch": 4}, "sat", {"optimizations.pregenerate": False}, "bdwp", "2:8"),
    ("bert-base", {"batch": 2}, "sat-zynq", SINGLE_BUFFERED, "bdwp", "2:8"),
    ("vgg19", {"batch": 4}, "sat-u280", EVERY_TILE, "srste", "2:16"),
]  # fmt: skip


@contextmanager
def _requests() -> Iterator[list[int]]:
    """Counts the requests to the shared servers, one entry for each of them."""
    counted: list[int] = []
    serve = SharedServers.serve

    def count(self: SharedServers, now: int, work: Work) -> int:
        counted.append(work.amount)
        return serve(self, now, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SharedServers, "serve", count)
        yield counted


def _compare(arch: Arch, program: Program) -> tuple[int, int]:
    """Check that both paths agree; return how often each asked the shared servers."""
    with _requests() as fast_requests:
        fast = execute(arch, program)
    with _requests() as full_requests:
        full = execute(arch, program, full=True)
    for step, fast_record, full_record in zip(program.steps, fast.steps, full.steps, strict=True):
        assert fast_record == full_record, step.name
    assert fast == full
    return len(fast_requests), len(full_requests)


def _compare_training(case: Case) -> tuple[int, int]:
    workload, options, arch_name, overrides, method, nm = case
    arch = load_arch(arch_name).with_overrides(overrides)
    trace, _ = apply_method(load(workload, **options), method, NM.parse(nm))
    return _compare(arch, schedule(trace, arch))


def _label(case: Case) -> str:
    workload, _, arch_name, overrides, method, nm = case
    return "-".join((workload, arch_name, *(key.rpartition(".")[2] for key in overrides), method, nm))


@pytest.mark.parametrize("case", CASES, ids=_label)
def test_training_iterations(case: Case) -> None:
    _compare_training(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", LARGE_CASES, ids=_label)
def test_large_training_iterations(case: Case) -> None:
    fast_requests, full_requests = _compare_training(case)
    assert fast_requests < 0.7 * full_requests


def _compare_random_programs(examples: int) -> None:
    totals = [0, 0]

    @settings(
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(machines(), programs())
    def compare(arch: Arch, program: Program) -> None:
        for path, requests in enumerate(_compare(arch, program)):
            totals[path] += requests

    compare()
    assert totals[0] < totals[1] / 2, "the fast path steps through what it should skip"


def test_random_programs() -> None:
    _compare_random_programs(300)


@pytest.mark.slow
def test_many_random_programs() -> None:
    _compare_random_programs(4000)


def _streams(*units: Unit, tiles: int) -> Program:
    """One long uniform step on each of `units`, all at the same time."""
    tile = Tile(load_a_bytes=4000, store_bytes=2000, work=300)
    blocks = (Block((Run(tile, tiles),)),)
    steps = [Step(f"on {unit}", "l", "ff", "stream", unit, (), blocks) for unit in units]
    return Program("streams", 1, "dense", tuple(steps))


@pytest.mark.parametrize("units", [(Unit.VECTOR,), (Unit.UPDATE,), (Unit.VECTOR, Unit.UPDATE)])
def test_a_steady_state_is_skipped(units: tuple[Unit, ...]) -> None:
    program = _streams(*units, tiles=5000)
    fast_requests, full_requests = _compare(SAT, program)
    assert full_requests == 2 * 5000 * len(units)
    assert fast_requests < 200


def test_a_lane_deep_in_a_long_tile_only_bounds_the_skipping() -> None:
    long = Step("long", "l", "ff", "long", Unit.UPDATE, (), (Block((Run(Tile(work=10_000_000), 2),)),))
    program = Program("mixed", 1, "dense", (*_streams(Unit.VECTOR, tiles=20_000).steps, long))
    fast_requests, full_requests = _compare(SAT, program)
    assert full_requests == 40_000
    assert fast_requests < 200


def _single_tiles(unit: Unit, *tiles: Tile, deps: tuple[int, ...] = (), **fields: Any) -> Step:
    blocks = (Block(tuple(Run(tile, 1) for tile in tiles)),)
    return Step(f"on {unit}", "l", "ff", "tiles", unit, deps, blocks, **fields)


ONE_PRODUCT = _single_tiles(Unit.STCE, Tile(gemm=TileGemm(1, 8, 1)), n=8, m=8, choice=choice(Dataflow.OS))
"""Takes 162 cycles and neither loads nor stores."""


def test_lanes_that_end_one_after_the_other_are_not_confused() -> None:
    # When the array ends at 162, the vector unit has computed one tile; when that one ends, the array has.
    # All the while the update engine works on one tile, and asks nothing of the servers.
    four = (Tile(work=32), Tile(work=12_800), Tile(work=64), Tile(work=96, load_a_bytes=100))
    steps = (
        ONE_PRODUCT,
        _single_tiles(Unit.VECTOR, *four),
        _single_tiles(Unit.UPDATE, Tile(work=3_200_000)),
    )
    _compare(SAT, Program("ends", 1, "dense", steps))


def test_lanes_that_end_beside_a_steady_one_are_not_confused() -> None:
    # The vector unit repeats a tile of 146 + 16 = 162 cycles. With its first tile ends the array, with its second the
    # update engine, which loads once in between and has computed one tile (as the array has) at 162.
    stream = Step("stream", "l", "ff", "stream", Unit.VECTOR, (), (Block((Run(Tile(work=146 * 32), 1000),)),))
    ends_at_40, ends_at_200, ends_at_260 = Tile(work=4 * 32), Tile(work=124 * 32), Tile(work=24 * 32)
    ends_at_324 = Tile(work=28 * 32, load_a_bytes=100)
    update = _single_tiles(Unit.UPDATE, ends_at_40, ends_at_200, ends_at_260, ends_at_324)
    program = Program("ends", 1, "dense", (ONE_PRODUCT, stream, update))
    _compare(SAT, program)
    assert [record.end_cycle for record in execute(SAT, program).steps] == [162, 162_000, 324]


def test_a_long_tile_may_end_in_any_cycle_of_the_others_period() -> None:
    # The update engine takes 37 cycles for a tile and stores it. When the vector unit stores in the same cycle, it is
    # served first.
    stream = Step(
        "stream", "l", "ff", "s", Unit.UPDATE, (), (Block((Run(Tile(work=32, store_bytes=64), 300),)),)
    )
    for cycles in range(5000, 5037):
        long = Tile(work=32 * (cycles - 16), store_bytes=512)
        _compare(SAT, Program("any", 1, "dense", (_single_tiles(Unit.VECTOR, long), stream)))


def test_a_prefetch_stays_in_flight_while_another_lane_skips() -> None:
    far = SAT.with_overrides({"dram.latency_ns": 100_000.0})  # 20,000 cycles
    compute_only = Step("first", "l", "ff", "compute", Unit.VECTOR, (), (Block((Run(Tile(work=32), 1000),)),))
    tile = Tile(load_b_bytes=64, work=32)
    waiting = Step(
        "second", "l", "ff", "waits", Unit.UPDATE, (0,), (Block((Run(tile, 2),)),), prefetch_b=True
    )
    program = Program("prefetch", 1, "dense", (compute_only, waiting))
    _compare(far, program)
    # The first step ends after 1000 x 17 cycles, B comes at 11 + 1 + 20,000.
    assert execute(far, program).steps[1].start_cycle == 20_012


def test_a_prefetch_occupies_the_memory_while_another_lane_skips() -> None:
    # The first step only computes, 1000 x 17 cycles. Meanwhile B takes 2^20 B / 256 = 4096 cycles of the read port,
    # so that A finds it free.
    compute_only = Step("first", "l", "ff", "compute", Unit.VECTOR, (), (Block((Run(Tile(work=32), 1000),)),))
    tile = Tile(load_a_bytes=256, load_b_bytes=1 << 20, work=32)
    waiting = _single_tiles(Unit.UPDATE, tile, deps=(0,), prefetch_b=True)
    program = Program("prefetch", 1, "dense", (compute_only, waiting))
    _compare(SAT, program)
    assert execute(SAT, program).steps[1].start_cycle == 17_000 + 11 + 1 + 20


def test_steps_are_announced_alike() -> None:
    trace, _ = apply_method(load("resnet9", batch=2), "bdwp", NM(2, 8))
    program = schedule(trace, SAT)
    announced: dict[bool, list[int]] = {False: [], True: []}
    for full, indices in announced.items():
        execute(SAT, program, full=full, on_step=indices.append)
    assert sorted(announced[False]) == sorted(announced[True]) == list(range(len(program.steps)))


def test_an_empty_program_takes_no_time() -> None:
    for full in (False, True):
        execution = execute(SAT, Program("empty", 1, "dense", ()), full=full)
        assert (execution.total_cycles, execution.steps) == (0, ())
