"""The blocks of the event model, by hand arithmetic on SAT's figures.

SAT at 200 MHz: DRAM 4 x 64 bit x 2400 MT/s x 0.8 = 61.44 GB/s = 307.2 B a cycle, 100 ns = 20 cycles of latency;
DMA 4 x 512 bit = 256 B a cycle in each direction, 11 cycles of setup; 32 lanes each of SORE, WUVE (36 cycles
deep) and the vector unit (16 cycles deep).
"""

from __future__ import annotations

from typing import Any

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SAT, choice, machines, tiles

from hw_models.accelerator import execute
from hw_models.arbiter import Arbiter, Request
from hw_models.arch import Arch
from hw_models.buffers import Slots
from hw_models.dma import Dma
from hw_models.dram import Dram
from hw_models.engine import PipelinedLanes
from hw_models.execution import Execution, StepRecord
from hw_models.memory import Kind, SharedServers, Work
from hw_models.program import Block, Program, Run, Step, Tile, TileGemm, Unit
from hw_models.sore import Sore
from hw_models.stce import Stce
from hw_models.timing import Dataflow
from hw_models.vector_unit import VectorUnit
from hw_models.wuve import Wuve

# --- servers ----------------------------------------------------------------------------------------------------


def test_dram_serves_reads_and_writes_one_after_the_other() -> None:
    dram = Dram(SAT)
    assert dram.latency_cycles == 20
    assert dram.reserve(10, 1536, write=False) == 15  # 1536 / 307.2 = 5
    assert dram.reserve(12, 308, write=True) == 17  # busy until 15; 308 / 307.2 rounds up to 2
    assert dram.reserve(40, 1, write=False) == 41  # idle from 17 to 40
    assert (dram.read_bytes, dram.write_bytes, dram.busy_cycles) == (1537, 308, 8)


def test_a_transfer_takes_as_long_as_the_slower_of_port_and_dram() -> None:
    dram = Dram(SAT)
    dma = Dma(SAT, dram)
    # On the bus at 0 + 11; port 2560 / 256 = 10 cycles, DRAM 2560 / 307.2 = 9 (8.3): done at 21 + 20.
    assert dma.transfer(0, 2560, write=False) == 41
    # The write port is free at 11, the DRAM at 20; port until 11 + 10 = 21, DRAM until 20 + 9 = 29.
    assert dma.transfer(0, 2560, write=True) == 49
    # The read port is free at 21, the DRAM at 29: one byte until 30.
    assert dma.transfer(5, 1, write=False) == 50
    assert dma.port_free_at == [22, 21]
    assert dram.busy_cycles == 9 + 9 + 1


def test_sore_sorts_whole_rounds_of_its_lanes() -> None:
    sore = Sore(SAT)
    assert sore.sort(100, 32, 8) == 108  # one round of 8 cycles
    assert sore.sort(100, 33, 8) == 124  # two rounds, after the first request
    assert sore.sort(200, 1, 16) == 216
    assert sore.busy_cycles == 8 + 16 + 16


def test_shared_servers_route_and_count() -> None:
    servers = SharedServers(SAT)
    assert servers.serve(0, Work(Kind.READ, 2560)) == 41
    assert servers.serve(0, Work(Kind.SORT, 64, 4)) == 8
    assert servers.serve(0, Work(Kind.WRITE, 2560)) == 49
    # Read bytes, written bytes, DRAM busy, SORE busy.
    assert servers.counters() == (2560, 2560, 18, 8)
    # At cycle 12: DRAM until 29, read port until 21, write port until 21, SORE free.
    assert servers.reserved_cycles(12) == (17, 9, 9, 0)
    servers.advance((1, 2, 3, 4), times=10)
    assert servers.counters() == (2570, 2580, 48, 48)


_REQUESTS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(Kind), st.integers(1, 5000)), min_size=1, max_size=30
)


@settings(deadline=None)
@given(machines(), _REQUESTS)
def test_every_server_is_first_come_first_served(arch: Arch, requests: list[tuple[int, Kind, int]]) -> None:
    servers = SharedServers(arch)
    now, last_done = 0, dict.fromkeys(Kind, 0)
    for delay, kind, amount in requests:
        now += delay
        done = servers.serve(now, Work(kind, amount, 8))
        assert done > now
        assert done >= last_done[kind]
        last_done[kind] = done
    moved = {kind: [amount for _, k, amount in requests if k is kind] for kind in Kind}
    read, written, dram_busy, sore_busy = servers.counters()
    assert read == sum(moved[Kind.READ])
    assert written == sum(moved[Kind.WRITE])
    assert dram_busy == sum(arch.dram_cycles(amount) for amount in moved[Kind.READ] + moved[Kind.WRITE])
    assert sore_busy == sum(8 * -(-amount // arch.sore.lanes) for amount in moved[Kind.SORT])


# --- arbitration ------------------------------------------------------------------------------------------------


def _completions(order: list[int]) -> dict[int, int]:
    """When clients are served that post 2560-byte reads in the same cycle, in `order`."""
    env = simpy.Environment()
    arbiter = Arbiter(env, SharedServers(SAT))
    served: dict[int, int] = {}

    def note(request: Request, client: int) -> None:
        assert request.callbacks is not None
        request.callbacks.append(lambda _: served.update({client: int(env.now)}))

    for client in order:
        note(arbiter.post(client, Work(Kind.READ, 2560)), client)
    arbiter.arbitrate()
    arbiter.arbitrate()  # nothing is left to serve twice
    env.run()
    return served


def test_requests_of_one_cycle_are_served_by_client_number() -> None:
    # The read port passes 2560 bytes in 10 cycles: 11 + 10 + 20, then 10 cycles for each further one.
    assert _completions([2, 0, 1]) == {0: 41, 1: 51, 2: 61}


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(9)))
def test_arbitration_does_not_depend_on_the_order_of_posting(order: list[int]) -> None:
    assert _completions(order) == _completions(list(range(9)))


# --- units ------------------------------------------------------------------------------------------------------


def _step(unit: Unit, tiles: list[Tile], **fields: Any) -> Step:
    runs = tuple(Run(tile, 1) for tile in tiles)
    return Step("step", "layer", "ff", "hand", unit, fields.pop("deps", ()), (Block(runs),), **fields)


def test_pipelined_lanes() -> None:
    lanes = PipelinedLanes(lanes=32, latency_cycles=16)
    for work, cycles in ((0, 16), (1, 17), (32, 17), (33, 18), (3200, 116)):
        tile = Tile(work=work)
        step = _step(Unit.VECTOR, [tile])
        assert lanes.cycles(step, tile) == cycles
        assert list(lanes.parts(step, tile)) == [cycles]
    assert PipelinedLanes(lanes=1, latency_cycles=0).cycles(step, Tile()) == 1
    assert VectorUnit(SAT).cycles(step, Tile(work=64)) == 2 + 16
    assert Wuve(SAT).cycles(step, Tile(work=64)) == 2 + 36


@pytest.mark.parametrize(
    ("single", "stce", "vector", "update"),
    [
        ((), Slots(2, 2, 2), Slots(2, 2, 2), Slots(2, 2, 2)),
        (("activation",), Slots(1, 1, 2), Slots(2, 2, 2), Slots(2, 2, 2)),
        (("weight",), Slots(2, 1, 2), Slots(2, 2, 2), Slots(2, 2, 2)),
        (("output", "vector"), Slots(2, 2, 1), Slots(1, 1, 1), Slots(2, 2, 2)),
        (("update",), Slots(2, 2, 2), Slots(2, 2, 2), Slots(1, 1, 1)),
    ],
)
def test_slots(single: tuple[str, ...], stce: Slots, vector: Slots, update: Slots) -> None:
    arch = SAT.with_overrides({f"buffers.{name}.double_buffered": False for name in single})
    assert [Slots.of(arch, unit) for unit in (Unit.STCE, Unit.VECTOR, Unit.UPDATE)] == [stce, vector, update]


@settings(deadline=None)
@given(machines(), tiles(Unit.STCE), st.sampled_from(Dataflow))
def test_array_parts_add_up_and_products_repeat(arch: Arch, tile: Tile, dataflow: Dataflow) -> None:
    step = _step(Unit.STCE, [tile], n=2, m=8, choice=choice(dataflow))
    stce = Stce(arch)
    total, *causes = stce.breakdown(step, tile)
    assert stce.cycles(step, tile) == total == sum(causes) == sum(stce.parts(step, tile))
    gemm = tile.gemm
    assert gemm is not None
    once = Tile(gemm=TileGemm(gemm.i, gemm.k, gemm.j))
    assert total == gemm.count * stce.cycles(step, once)


# --- one lane, cycle by cycle -----------------------------------------------------------------------------------

TILE = Tile(load_a_bytes=1024, store_bytes=512, work=320)
"""Read 1024 / 256 = 4 port cycles (DRAM 4): 11 + 4 + 20 = 35. Compute 10 + 16 = 26. Write 2: 11 + 2 + 20 = 33."""


def _run(arch: Arch, *steps: Step) -> Execution:
    program = Program("hand", 1, "dense", steps)
    execution = execute(arch, program)
    assert execution == execute(arch, program, full=True)
    return execution


def test_double_buffers_overlap_load_compute_and_store() -> None:
    execution = _run(SAT, _step(Unit.VECTOR, [TILE] * 3))
    # Load     0-35   35-70   70-105 (its buffer is free since 61)
    # Compute  35-61  70-96   105-131, waiting for operands 35 + 9 + 9
    # Store    61-94  96-129  131-164
    assert execution == Execution(
        total_cycles=164,
        steps=(StepRecord(start_cycle=35, end_cycle=164, compute_cycles=78, wait_read_cycles=53),),
        dram_read_bytes=3072,
        dram_write_bytes=1536,
        dram_busy_cycles=3 * 4 + 3 * 2,
        sore_busy_cycles=0,
    )


def test_a_single_buffer_loads_only_when_its_tile_is_computed() -> None:
    arch = SAT.with_overrides({"buffers.vector.double_buffered": False})
    (record,) = _run(arch, _step(Unit.VECTOR, [TILE] * 2)).steps
    # Load 0-35 and 61-96; compute 35-61. The store of 61 finds the DRAM taken by the load until 61 + 11 + 4: it
    # ends at 76 + 2 + 20 = 98. Its result slot is the only one: compute 98-124, store 124-157.
    assert record == StepRecord(35, 157, compute_cycles=52, wait_read_cycles=35 + 35, wait_write_cycles=2)


def test_results_wait_for_space() -> None:
    tile = Tile(work=320, store_bytes=51_200)
    arch = SAT.with_overrides({"buffers.vector.double_buffered": False})
    (record,) = _run(arch, _step(Unit.VECTOR, [tile] * 2)).steps
    # Nothing to load. Compute 0-26; store 26 + 11 + 51200 / 256 + 20 = 257; compute 257-283; store until 514.
    assert record == StepRecord(0, 514, compute_cycles=52, wait_write_cycles=257 - 26)


def test_sorting_before_and_after() -> None:
    before = _step(Unit.VECTOR, [Tile(load_b_bytes=1024, work=320, sort_before_groups=64)], sort_m=8)
    (record,) = _run(SAT, before).steps
    # Load until 35, sort 64 / 32 x 8 = 16 cycles until 51, compute until 77; nothing to store.
    assert record == StepRecord(51, 77, compute_cycles=26, wait_read_cycles=35, wait_sort_cycles=16)
    after = _step(Unit.VECTOR, [Tile(work=320, store_bytes=512, sort_after_groups=64)], sort_m=8)
    (record,) = _run(SAT, after).steps
    # Compute until 26, sort until 42, store until 42 + 33.
    assert record == StepRecord(0, 75, compute_cycles=26)


def test_one_result_is_pruned_while_the_one_before_is_stored() -> None:
    tile = Tile(work=32, store_bytes=51_200, sort_after_groups=64)
    execution = _run(SAT, _step(Unit.UPDATE, [tile] * 2, sort_m=8))
    # Compute   0-37     37-74
    # Prune    37-53     74-90    64 / 32 x 8 = 16 cycles
    # Store    53-284   284-515   11 + 51200 / 256 + 20 = 231 cycles
    assert execution.total_cycles == 515
    assert execution.sore_busy_cycles == 32


def test_a_step_loads_once_its_dependences_have_stored() -> None:
    first = _step(Unit.VECTOR, [TILE])
    waiting = _step(Unit.UPDATE, [Tile(load_a_bytes=1024, work=320)], deps=(0,))
    record = _run(SAT, first, waiting).steps[1]
    # The vector step ends at 61 + 33 = 94. Load 94-129; compute 10 + 36 cycles.
    assert record == StepRecord(
        129, 175, compute_cycles=46, wait_read_cycles=35, wait_dependence_cycles=94, blocker=0
    )


def test_weights_may_be_loaded_before_the_dependences() -> None:
    first = _step(Unit.VECTOR, [Tile(work=3200, store_bytes=512)])  # ends at 116 + 33 = 149
    tile = Tile(load_a_bytes=1024, load_b_bytes=1024, gemm=TileGemm(32, 8, 32))

    def start_cycle(*, prefetch_b: bool) -> int:
        step = _step(
            Unit.STCE, [tile], deps=(0,), n=8, m=8, choice=choice(Dataflow.OS), prefetch_b=prefetch_b
        )
        return _run(SAT, first, step).steps[1].start_cycle

    assert start_cycle(prefetch_b=False) == 149 + 39  # A and B share the read port: 11 + 4 + 4 + 20
    assert start_cycle(prefetch_b=True) == 149 + 35  # B is there since cycle 35
