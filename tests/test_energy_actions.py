"""Action counts: against the register-stepped array, hand arithmetic, and what no execution may lose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from strategies import SAT, choice, small_buffers, traces

from codesign.energy.actions import ACTIONS, ActionCounter, Counts
from codesign.errors import ScheduleError
from codesign.nm import reference
from codesign.nm.format import NM
from codesign.result import SimResult
from codesign.schedule import schedule
from codesign.simulate import simulate, simulate_trace
from hw_models import oracle
from hw_models.arch import Arch, load_arch
from hw_models.oracle_blocks import Drain, Feeders, HeldWeights, Pes
from hw_models.program import Block, Run, Step, Tile, TileGemm, Unit
from hw_models.timing import Dataflow
from workloads.catalog import load
from workloads.ops import UpdateOp, VectorOp
from workloads.sparsity import apply_method
from workloads.trace import Trace

TINY = SAT.with_overrides({"array.rows": 2, "array.cols": 4, "array.interleave_depth": 3})


def product_step(gemm: TileGemm, nm: NM, dataflow: Dataflow, *tiles: Tile) -> Step:
    """A step that computes `gemm` in one tile, or in `tiles`."""
    tiles = tiles or (Tile(load_a_bytes=1, load_b_bytes=1, store_bytes=1, gemm=gemm),)
    runs = tuple(Run(tile, 1) for tile in tiles)
    macs = sum(tile.gemm.macs for tile in tiles if tile.gemm) * nm.n // nm.m
    return Step(
        "step",
        "layer",
        "ff",
        "gemm",
        Unit.STCE,
        (),
        (Block(runs),),
        nm.n,
        nm.m,
        macs=macs,
        choice=choice(dataflow),
    )


def counted(arch: Arch, step: Step) -> Counts:
    counts: Counts = Counter()
    ActionCounter(arch).count(step, counts)
    return counts


# -- the register-stepped array ------------------------------------------------------------------------------------


@contextmanager
def watch(seen: Counter[str]) -> Iterator[None]:
    """Count in `seen` what the blocks of the register-stepped array do."""
    new_feeders, step_pes, shift_weights, step_drain, shift_sums = (
        Feeders.__init__, Pes.step, HeldWeights._shift, Drain.step, Drain._shift
    )  # fmt: skip

    def init_feeders(self: Feeders, *args: object) -> None:
        new_feeders(self, *args)
        seen["fetched values"] += sum(int(window.real.sum()) for window in self.windows) * self.m

    def count_slots(self: Pes, *args: object) -> None:
        step_pes(self, *args)
        seen["slots"] += int(self.slots["valid"].sum())

    def count_weights(self: HeldWeights, c: int) -> None:
        seen["weight shifts"] += self.length
        shift_weights(self, c)

    def count_copies(self: Drain, done: np.ndarray, accumulators: np.ndarray, y: np.ndarray) -> bool:
        if self.sums is not accumulators:
            seen["sum shifts"] += sum(self.tiles[tile].lanes for tile in done["tile"][done["last"]])
        return step_drain(self, done, accumulators, y)

    def count_sums(self: Drain, c: int, tile: object, y: np.ndarray) -> None:
        seen["sum shifts"] += int((self.left[:, c] > 0).sum()) * tile.lanes
        shift_sums(self, c, tile, y)

    with (
        patch.object(Feeders, "__init__", init_feeders),
        patch.object(Pes, "step", count_slots),
        patch.object(HeldWeights, "_shift", count_weights),
        patch.object(Drain, "step", count_copies),
        patch.object(Drain, "_shift", count_sums),
    ):
        yield


@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize("nm", [NM(8, 8), NM(2, 4), NM(1, 4)], ids=str)
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("i", "groups", "j"), [(1, 1, 1), (7, 2, 4), (8, 3, 5)])
def test_registers_move_as_in_the_stepped_array(
    dataflow: Dataflow, nm: NM, double: bool, i: int, groups: int, j: int
) -> None:
    arch = TINY.with_overrides({"array.double_accumulators": double})
    k = groups * nm.m
    b = np.ones((k, j)) if nm.dense else reference.prune(np.random.default_rng(0).random((k, j)), nm, axis=0)
    seen = Counter[str]()
    with watch(seen):
        stepped = oracle.run(arch.array_params, dataflow, np.ones((i, k)), b, nm.n, nm.m)
    counts = counted(arch, product_step(TileGemm(i, k, j), nm, dataflow))
    weight_bits = 16 if nm.dense else 18  # FP16, and two bits of index in groups of four
    weights_in_motion = seen["weight shifts"] if dataflow is Dataflow.WS else seen["slots"]
    assert counts["multiplier.fp16_multiply"] == counts["accumulator.fp32_add"] == stepped.macs
    assert counts["activation_buffer.read_bit"] == 16 * seen["fetched values"]
    assert counts["activation_register.write_bit"] == 16 * (seen["fetched values"] + nm.m * seen["slots"])
    assert counts["weight_register.write_bit"] == weight_bits * weights_in_motion
    assert counts["sum_register.write_bit"] == 32 * (seen["slots"] + seen["sum shifts"])


# -- hand arithmetic on an array of 2 x 4, interleaved three deep --------------------------------------------------


def test_a_weight_stationary_product_by_hand() -> None:
    # 5 x 20 times 20 x 6 at 2:4. A block holds 2 rows x 4 = 8 of k: 3 blocks; 6 columns are 2 strips: 6 array tiles.
    # Slots: 6 tiles x 5 rows of i x 2 rounds x 8 PEs = 480. Kept MACs: 5 x 20 x 6 / 2 = 300.
    counts = counted(TINY, product_step(TileGemm(5, 20, 6), NM(2, 4), Dataflow.WS))
    assert {key: count for key, count in counts.items() if not key.startswith(("dram", "sore"))} == {
        "multiplier.fp16_multiply": 300,
        "accumulator.fp32_add": 300,
        "selector.mux_bit": 300 * 3 * 16,  # three two-way stages pick one of four
        # window buffers take A once for each strip, vectors of four move in every slot
        "activation_register.write_bit": (2 * 5 * 20 + 480 * 4) * 16,
        "activation_register.read_bit": (480 // 4 * 4 + 480 * 4)
        * 16,  # each row plays its windows to 4 columns
        # a column of 2 PEs x 2 values shifts 4 times to load, 4 columns, 6 tiles: 384 moves of 16 + 2 bits
        "weight_register.write_bit": 384 * 18,
        "weight_register.read_bit": (384 + 480) * 18,
        "sum_register.write_bit": 480 * 32,
        "sum_register.read_bit": 480 * 32,
        "activation_buffer.write_bit": 8,
        "activation_buffer.read_bit": 2 * 5 * 20 * 16,
        "weight_buffer.write_bit": 8,
        "weight_buffer.read_bit": 20 * 6 // 2 * 18,  # once
        "output_buffer.write_bit": 3 * 5 * 6 * 32,  # once for each block
        "output_buffer.read_bit": 3 * 5 * 6 * 32,  # twice to add, once to store
        "output_buffer.fp32_add": 2 * 5 * 6,
    }


def test_an_output_stationary_product_by_hand() -> None:
    # 8 x 12 times 12 x 6, dense groups of 8: k is padded to 2 groups = 16. A tile has 2 rows x 3 lanes = 6 of i, the
    # last one 2 rows x 1 lane: 2 x 2 tiles. Slots: 2 strips x 16 x (3 + 1) lanes x 8 PEs = 1024.
    # Draining: 4 columns x (1 + 2) x lanes^2 shifts, and 2 x lanes copies a column: 4 x (3 x 10 + 2 x 4) x 2 strips.
    counts = counted(TINY, product_step(TileGemm(8, 12, 6), NM(8, 8), Dataflow.OS))
    assert counts["multiplier.fp16_multiply"] == 8 * 12 * 6
    assert counts["activation_register.write_bit"] == (2 * 8 * 12 + 1024 * 8) * 16
    assert counts["activation_register.read_bit"] == (1024 // 4 * 8 + 1024 * 8) * 16
    assert counts["weight_register.write_bit"] == counts["weight_register.read_bit"] == 1024 * 16
    assert counts["sum_register.write_bit"] == counts["sum_register.read_bit"] == (1024 + 304) * 32
    assert counts["activation_buffer.read_bit"] == 2 * 8 * 12 * 16
    assert counts["weight_buffer.read_bit"] == 2 * 12 * 6 * 16  # once for each row of tiles
    assert counts["output_buffer.write_bit"] == counts["output_buffer.read_bit"] == 8 * 6 * 32
    assert counts["output_buffer.fp32_add"] == 0


@pytest.mark.parametrize("dataflow", Dataflow)
def test_a_reduction_cut_at_the_buffer_is_added_up_there(dataflow: Dataflow) -> None:
    # 3 x 32 times 32 x 4 in two tiles of k = 16, one array block each: the first leaves its sums to the second.
    half = TileGemm(3, 16, 4)
    tiles = Tile(load_a_bytes=96, load_b_bytes=128, gemm=half), Tile(store_bytes=24, gemm=half)
    counts = counted(TINY, product_step(half, NM(8, 8), dataflow, *tiles))
    assert counts["output_buffer.fp32_add"] == 3 * 4
    assert counts["output_buffer.write_bit"] == counts["output_buffer.read_bit"] == 2 * 3 * 4 * 32
    assert counts["activation_buffer.write_bit"] == counts["activation_buffer.read_bit"] // 2 == 96 * 8
    assert counts["weight_buffer.write_bit"] == counts["weight_buffer.read_bit"] // 2 == 128 * 8
    whole = counted(TINY, product_step(TileGemm(3, 32, 4), NM(8, 8), dataflow))
    assert counts["multiplier.fp16_multiply"] == whole["multiplier.fp16_multiply"] == 3 * 32 * 4


def test_equal_products_in_a_tile_count_as_often() -> None:
    for dataflow in Dataflow:
        one = counted(TINY, product_step(TileGemm(5, 24, 6), NM(2, 4), dataflow))
        three = counted(TINY, product_step(TileGemm(5, 24, 6, count=3), NM(2, 4), dataflow))
        loads = {key for key in one if key.endswith("_buffer.write_bit") and "output" not in key}
        for key in one.keys() - loads:
            assert three[key] == (one[key] if key.startswith("dram") else 3 * one[key]), key


def test_precision_decides_which_arithmetic() -> None:
    arch = TINY.with_overrides({"precision.operand_bits": 32, "array.activation_port_bits": 128})
    counts = counted(arch, product_step(TileGemm(4, 8, 4), NM(2, 4), Dataflow.WS))
    assert counts["multiplier.fp32_multiply"] == counts["accumulator.fp32_add"] == 64
    assert counts["activation_buffer.read_bit"] == 4 * 8 * 32
    assert counts["weight_buffer.read_bit"] == 8 * 4 // 2 * 34


def test_pruning_before_use_writes_compact_weights() -> None:
    # 16 x 4 dense FP16 values arrive, 16 groups of four leave SORE with two values and two indices each. The sorters
    # of SAT hold four kept values, its largest N, and compare each of 64 values with all of them.
    tile = Tile(load_b_bytes=128, store_bytes=1, gemm=TileGemm(3, 16, 4), sort_before_groups=16)
    step = product_step(TileGemm(3, 16, 4), NM(2, 4), Dataflow.WS, tile)
    counts = counted(TINY, replace(step, sort_m=4))
    assert counts["weight_buffer.write_bit"] == 16 * 2 * 18
    assert counts["sore.compare_16"] == 64 * 4
    assert counts["dram_access.read_bit"] == 128 * 8


# -- whole iterations ----------------------------------------------------------------------------------------------


def iteration(name: str, arch: Arch, method: str = "bdwp", **sizes: int) -> tuple[Trace, SimResult]:
    trace, _ = apply_method(load(name, **sizes), method, None if method == "dense" else NM(2, 8))
    return trace, simulate_trace(arch, trace, baseline=False)


CASES = [
    ("resnet18", "sat", "bdwp", {"batch": 2}),
    ("vit-tiny-cifar", "sat-zynq", "srste", {"batch": 2}),
    ("bert-base", "sat-u280", "bdwp", {"batch": 1, "seq_len": 16}),
    ("resnet9", "sat", "sdgp", {"batch": 2}),
    ("mlp", "dense", "dense", {"batch": 8}),
]


@pytest.mark.parametrize(("name", "arch_name", "method", "sizes"), CASES)
def test_nothing_is_lost_in_an_iteration(
    name: str, arch_name: str, method: str, sizes: dict[str, int]
) -> None:
    arch = load_arch(arch_name)
    trace, result = iteration(name, arch, method, **sizes)
    done, total = result.action_totals, result.total
    assert done["multiplier.fp16_multiply"] == done["accumulator.fp32_add"] == total.macs
    assert done["dram_access.read_bit"] == 8 * total.read_bytes
    assert done["dram_access.write_bit"] == 8 * total.write_bytes
    assert done["dram_activation.streamed_bit"] == 8 * (total.read_bytes + total.write_bytes)
    assert done["static.leak"] == result.total_cycles
    assert done["dram_background.leak"] == arch.dram.channels * result.total_cycles
    assert done["vector_unit.operation"] == sum(op.operations for op in trace.ops if isinstance(op, VectorOp))
    updated = sum(op.elements for op in trace.ops if isinstance(op, UpdateOp))
    per_parameter = {"sgd": 3, "adamw": 7}[trace.optimizer]
    assert done["wuve.fp32_multiply"] == done["wuve.fp32_add"] == per_parameter * updated
    assert set(done) <= {f"{component}.{action}" for component in ACTIONS for action in ACTIONS[component]}


@pytest.mark.parametrize(("name", "arch_name", "method", "sizes"), CASES)
def test_the_array_uses_what_is_loaded_and_writes_what_is_stored(
    name: str, arch_name: str, method: str, sizes: dict[str, int]
) -> None:
    arch = load_arch(arch_name)
    trace, _ = apply_method(load(name, **sizes), method, None if method == "dense" else NM(2, 8))
    program = schedule(trace, arch)
    products = [step for step in program.steps if step.unit is Unit.STCE]
    assert len(products) > 3
    for step in products:
        counts = counted(arch, step)
        for buffer in ("activation", "weight"):
            assert counts[f"{buffer}_buffer.read_bit"] >= counts[f"{buffer}_buffer.write_bit"] > 0
        assert (
            counts["output_buffer.write_bit"] >= 2 * 8 * step.write_bytes
        )  # sums are twice as wide as results


@settings(deadline=None, max_examples=40)
@given(small_buffers(), traces())
def test_actions_of_random_traces_are_those_of_the_simulator(arch: Arch, trace: Trace) -> None:
    try:
        result = simulate_trace(arch, trace, baseline=False)
    except ScheduleError:
        assume(False)
        raise
    done, bits = result.action_totals, arch.precision.operand_bits
    assert done[f"multiplier.fp{bits}_multiply"] == done["accumulator.fp32_add"] == result.total.macs
    assert (
        done["dram_access.read_bit"] + done["dram_access.write_bit"] == done["dram_activation.streamed_bit"]
    )
    assert done["dram_activation.streamed_bit"] == 8 * (result.total.read_bytes + result.total.write_bytes)
    assert done["static.leak"] == result.total_cycles
    assert min(done.values()) >= 0
    assert result.actions.keys() == result.layers.keys()


def test_pruning_is_counted_wherever_it_happens() -> None:
    weights = sum(layer.weight_params for layer in load("resnet9", batch=2).layers)
    _, ahead = iteration("resnet9", SAT, batch=2)
    _, online = iteration("resnet9", SAT.with_overrides({"optimizations.pregenerate": False}), batch=2)
    # Every weight that is pruned at all is sorted twice, four comparisons each; the stem and the classifier are not.
    assert 0.9 * 8 * weights < ahead.action_totals["sore.compare_16"] < 8 * weights
    assert online.action_totals["sore.compare_16"] >= ahead.action_totals["sore.compare_16"]
    assert ahead.actions.keys() == online.actions.keys()


def test_counts_reach_the_machine_readable_result() -> None:
    result = simulate(SAT, load("resnet9", batch=2), nm=NM(2, 8))
    assert result.as_dict()["actions"] == result.action_totals
    assert result.baseline is not None
    assert result.baseline.action_totals["multiplier.fp16_multiply"] == result.total.dense_macs
