"""The closed-form lower bound: hand arithmetic, and no execution beats it."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from strategies import SAT, small_buffers, traces

from codesign.analytic import bound_cycles, compulsory_bytes
from codesign.errors import ScheduleError
from codesign.nm.format import NM
from codesign.schedule import schedule
from hw_models.accelerator import execute
from hw_models.arch import Arch
from workloads.catalog import load
from workloads.ops import Gemm, GemmOp, Role, Sparsity, Stage
from workloads.sparsity import apply_method
from workloads.trace import Trace

# One linear layer: 32 rows, 64 inputs, 32 outputs, no bias. FF, BP and WU have 65536 MACs each, 64 cycles of the
# array at one MAC for each of 1024 elements. The update has 2048 parameters, 64 cycles of 32 lanes. DRAM: 307.2 B a
# cycle. x takes 4096 B, y and dy 2048 B, dx and dw 4096 B, a dense weight 4096 B, one at 2:8 1024 B of values and
# 192 B of indices. An update reads and writes the FP32 master and momentum (16384 B), and reads dw.
TINY = "gemm:32x64x32"


def _bound(trace: Trace, arch: Arch) -> tuple[int, int]:
    program = schedule(trace, arch)
    return bound_cycles(trace, program, arch), compulsory_bytes(trace, program, arch)


def test_dense_bound_by_hand() -> None:
    # FF 4096 + 4096 + 2048, BP 2048 + 4096 + 4096, WU 4096 + 2048 + 4096; the update reads 16384 + 4096 and writes
    # 16384 + 4096 (the FP16 weight). DRAM: 71680 / 307.2 = 234 cycles. Array: 3 x 64.
    # Path: FF 64; then WU 64; then the update's 40960 / 307.2 = 134: 262 in all, more than DRAM and array.
    assert _bound(load(TINY), SAT) == (64 + 64 + 134, 3 * 10_240 + 40_960)


def test_sparse_bound_by_hand() -> None:
    # FF and BP at 2:8: 16 cycles of the array, 4096 + 2048 + 1216 B. Path: FF waits for 6144 / 307.2 = 20 cycles of
    # DRAM (its weights may be there before), WU 64, the update 20480 + 16384 + 2 x 1216 = 39296 B in 128 cycles.
    trace, _ = apply_method(load(TINY), "bdwp", NM(2, 8))
    assert _bound(trace, SAT) == (20 + 64 + 128, 2 * 7360 + 10_240 + 39_296)


def test_dram_bound_by_hand() -> None:
    # At a tenth of the rate, 30.72 B a cycle, every byte of the dense case counts: path FF 6144 / 30.72 = 200, WU
    # 10240 / 30.72 = 334 (333.3), update 1334 (1333.3): 1868; the DRAM alone 71680 / 30.72 = 2334 (2333.3).
    slow = SAT.with_overrides({"dram.rate_mtps": 240})
    assert _bound(load(TINY), slow)[0] == 2334


def test_array_bound_by_hand() -> None:
    # 2 x 2 elements: 16384 cycles for each of three products, one after the other on the one array.
    small = SAT.with_overrides({"array.rows": 2, "array.cols": 2})
    assert _bound(load(TINY), small)[0] == 3 * 16_384


@pytest.mark.parametrize("sparsity", [None, Sparsity("a", NM(2, 8))])
def test_phases_of_an_input_gradient_share_the_output_gradient(sparsity: Sparsity | None) -> None:
    # Two products of 16 rows: k = 8 and 24, 32 columns. Once: dy 16 x 24 x 2 = 768 B, the larger of the two views of
    # it. The weights 8 x 32 x 2 + 24 x 32 x 2 = 2048 B, the results 2 x 16 x 32 x 2 = 2048 B. A gradient that is
    # pruned online moves as many bytes.
    gemms = (Gemm(16, 8, 32), Gemm(16, 24, 32))
    op = GemmOp("bp", "layer", Stage.BP, gemms, Role.GRADIENT, Role.WEIGHT, sparsity=sparsity)
    assert _bound(Trace("phases", 1, (), (op,)), SAT)[1] == 768 + 2048 + 2048


@settings(deadline=None, max_examples=300)
@given(small_buffers(), traces())
def test_no_execution_beats_the_bound(arch: Arch, trace: Trace) -> None:
    try:
        program = schedule(trace, arch)
    except ScheduleError:
        assume(False)
        raise
    execution = execute(arch, program)
    assert execution.total_cycles >= bound_cycles(trace, program, arch)
    moved_bytes = execution.dram_read_bytes + execution.dram_write_bytes
    assert moved_bytes >= compulsory_bytes(trace, program, arch)


def test_a_large_product_comes_close_to_the_bound() -> None:
    trace = load("gemm:4096x4096x4096")
    program = schedule(trace, SAT)
    assert execute(SAT, program).total_cycles < 1.1 * bound_cycles(trace, program, SAT)
