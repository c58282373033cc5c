"""The offline scheduler: what its tiles cover, move and hold, against a naive loop nest and hand arithmetic."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import RATIOS, SAT, gemm_ops, small_buffers, traces

from codesign.errors import ScheduleError, SpecError
from codesign.nm.format import NM
from codesign.schedule import schedule
from codesign.schedule.planner import Planner
from codesign.schedule.product import Product
from codesign.schedule.tiles import product_blocks
from codesign.schedule.tiling import Target, Tiling, candidates, costs, traffic
from hw_models.accelerator import execute
from hw_models.arch import Arch, load_arch
from hw_models.program import Block, Program, Step, Tile, TileGemm, Unit
from hw_models.stce import Stce
from hw_models.timing import Dataflow, gemm_cycles
from workloads.catalog import load
from workloads.ops import Gemm, GemmOp, Role, Sparsity, Stage, UpdateOp, Window
from workloads.sparsity import LayerSparsity, apply_method, mark
from workloads.trace import Trace

MOST_TILES = 3000
"""Tilings of more tiles are left out where every tile is compared."""


@st.composite
def operations(draw: Any) -> GemmOp:
    """As `gemm_ops`, and weight gradients may be sparse in any number of pixels, too."""
    op: GemmOp = draw(gemm_ops())
    if op.stage is Stage.WU and draw(st.booleans()):
        op = replace(op, sparsity=Sparsity("b", draw(st.sampled_from(RATIOS))))
    return op


# --- tilings against a naive loop nest --------------------------------------------------------------------------


class _Visit(NamedTuple):
    """One iteration of the loop nest: which tiles it uses, their sizes, and what must move.

    `a` and `b` name the operand tiles by product and position; `products` of them are joined.
    """

    a: tuple[int, int, int]
    b: tuple[int, int, int]
    i: int
    k: int
    j: int
    products: int
    load_a: bool
    load_b: bool
    store: bool


def _walk(product: Product, tiling: Tiling) -> Iterator[_Visit]:
    """Products, then i and j in the tiling's order, then k; an operand is loaded when its tile changes."""
    i_sizes = _cut(product.i, tiling.i.size)
    k_sizes = _cut(product.k, tiling.k.size)
    j_sizes = _cut(product.j, tiling.j.size)
    pairs = [(i, j) for i in range(len(i_sizes)) for j in range(len(j_sizes))]
    if tiling.order == "ji":
        pairs.sort(key=lambda pair: pair[1])
    held_a = held_b = (-1, -1, -1)
    for p in range(0, product.gemm.count, tiling.together):
        products = min(tiling.together, product.gemm.count - p)
        for i, j in pairs:
            for k in range(len(k_sizes)):
                a, b = (p, i, k), (p, k, j)
                sizes = i_sizes[i], k_sizes[k], j_sizes[j]
                yield _Visit(a, b, *sizes, products, a != held_a, b != held_b, k == len(k_sizes) - 1)
                held_a, held_b = a, b


def _cut(length: int, size: int) -> list[int]:
    return [min(size, length - start) for start in range(0, length, size)]


def _tile(product: Product, visit: _Visit) -> Tile:
    i, k, j, products = visit.i, visit.k, visit.j, visit.products
    return Tile(
        load_a_bytes=visit.load_a * products * product.a_bytes(i, k),
        load_b_bytes=visit.load_b * products * product.b_bytes(k, j),
        store_bytes=visit.store * products * product.y_bytes(i, j),
        gemm=TileGemm(i, k, j, products),
        sort_before_groups=visit.load_b * products * product.sort_groups(k, j),
    )


def _tilings(op: GemmOp, arch: Arch) -> list[tuple[Product, Tiling]]:
    """Every legal tiling of every product in both loop orders; rejects an example that has none."""
    found = []
    for product in _products(op, arch):
        for tiling in _candidates(product, arch):
            if tiling.i.parts * tiling.k.parts * tiling.j.parts * product.gemm.count <= MOST_TILES:
                found += [(product, ordered) for ordered in _orders(tiling)]
    return found


def _orders(tiling: Tiling) -> list[Tiling]:
    """The tiling in both loop orders; a product that is not cut has none."""
    return [tiling] if tiling.whole else [tiling._replace(order=order) for order in ("ij", "ji")]


def _products(op: GemmOp, arch: Arch) -> list[Product]:
    return [Product.of(op, gemm, arch) for gemm in op.gemms]


def _candidates(product: Product, arch: Arch) -> list[Tiling]:
    found = list(candidates(product, Target.of(arch)))
    assume(found)
    return found


@settings(deadline=None, max_examples=60)
@given(small_buffers(), operations())
def test_tiles_are_those_of_the_naive_loop_nest(arch: Arch, op: GemmOp) -> None:
    for product, tiling in _tilings(op, arch):
        step = _step(op, arch, product_blocks(product, tiling))
        tiles = step.sequence()
        assert tiles == [_tile(product, visit) for visit in _walk(product, tiling)]
        assert sum(tile.gemm.macs for tile in tiles if tile.gemm) == product.gemm.macs
        count = product.gemm.count
        assert (step.read_bytes, step.write_bytes) == tuple(count * part for part in traffic(product, tiling))


def _step(op: GemmOp, arch: Arch, blocks: list[Block]) -> Step:
    nm = Product.of(op, op.gemms[0], arch).nm
    return Step(op.name, op.layer, op.stage, "gemm", Unit.STCE, (), tuple(blocks), n=nm.n, m=nm.m)


@settings(deadline=None, max_examples=60)
@given(small_buffers(), operations())
def test_resident_means_loaded_once(arch: Arch, op: GemmOp) -> None:
    for product, tiling in _tilings(op, arch):
        visits = list(_walk(product, tiling))
        loads_a = Counter(visit.a for visit in visits if visit.load_a)
        loads_b = Counter(visit.b for visit in visits if visit.load_b)
        assert tiling.a_resident == (max(loads_a.values()) == 1)
        assert tiling.b_resident == (max(loads_b.values()) == 1)


@settings(deadline=None, max_examples=60)
@given(small_buffers(), operations())
def test_tiles_fit_their_buffers_and_keep_groups_whole(arch: Arch, op: GemmOp) -> None:
    buffers = arch.buffers
    for product, tiling in _tilings(op, arch):
        for visit in _walk(product, tiling):
            i, k, j, products = visit.i, visit.k, visit.j, visit.products
            assert products * product.a_bytes(i, k) <= buffers.activation.tile_bytes
            # On chip a sparse B is compact, whether it came so or was pruned on the way in.
            held = (
                product.nm.compact_bytes(-(-k // product.nm.m) * product.nm.m, j, product.operand_bits)
                if product.sparse
                else product.b_bytes(k, j)
            )
            assert products * held <= buffers.weight.tile_bytes
            assert products * i * j * arch.precision.accumulator_bits <= 8 * buffers.output.tile_bytes
            if product.sparse and (product.pixel_axis == "i" or visit.b[1] < tiling.k.parts - 1):
                assert k % product.nm.m == 0  # of pixels, the last group may be ragged


# --- the planner ------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(small_buffers(), operations())
def test_the_planner_finds_the_cheapest_combination(arch: Arch, op: GemmOp) -> None:
    arch = arch.with_overrides({"optimizations.offline_schedule": True})
    target = Target.of(arch)

    def cheapest(product: Product, dataflow: Dataflow) -> int:
        ordered = [ordered for tiling in _candidates(product, arch) for ordered in _orders(tiling)]
        return min(costs(product, tiling, (dataflow,), target)[0].total for tiling in ordered)

    products = _products(op, arch)
    best = min(sum(cheapest(product, dataflow) for product in products) for dataflow in arch.array.dataflows)
    plan = Planner(arch).plan(op)
    assert plan.predicted_cycles() == best
    assert plan.choice().predicted_cycles == best


@settings(deadline=None, max_examples=60)
@given(small_buffers(), operations())
def test_the_prediction_of_array_and_memory_is_what_the_program_does(arch: Arch, op: GemmOp) -> None:
    for product in _products(op, arch):
        _candidates(product, arch)
    (step,) = schedule(Trace("one", 1, (), (op,)), arch).steps
    assert step.choice is not None
    stce = Stce(arch)
    array = sum(stce.cycles(step, tile) * count for tile, count in step.tile_counts())
    assert step.choice.predicted_array_cycles == array
    ports = -(-max(step.read_bytes, step.write_bytes) // arch.dma_bytes_per_cycle)
    memory = max(ports, arch.dram_cycles(step.read_bytes + step.write_bytes))
    assert memory <= step.choice.predicted_dram_cycles
    if len(op.gemms) == 1:  # each product of a split input gradient is rounded up for itself
        assert memory == step.choice.predicted_dram_cycles
    execution = execute(arch, Program("one", 1, "dense", (step,)))
    assert execution.steps[0].compute_cycles == array
    assert execution.total_cycles >= max(array, memory)


def test_a_prediction_by_hand() -> None:
    # 64 x 128 x 32 in FP16 fits on chip: reads 64 x 128 x 2 + 128 x 32 x 2 = 24576 B, writes 4096 B.
    # Memory: read port 24576 / 256 = 96 cycles, DRAM 28672 / 307.2 = 93.3. Load alone 96, store alone 16.
    trace = load("gemm:64x128x32")
    choice = schedule(trace, SAT).steps[0].choice
    assert choice is not None
    assert (choice.i, choice.k, choice.j, choice.together) == (64, 128, 32, 1)
    assert choice.resident == ("a", "b")
    assert choice.predicted_dram_cycles == 96
    assert choice.predicted_cycles == max(choice.predicted_array_cycles, 96) + 96 + 16


@pytest.mark.parametrize(
    ("workload", "batch", "method"),
    [("resnet9", 4, "bdwp"), ("vit-tiny-cifar", 2, "sdgp"), ("mlp", 64, "bdwp")],
)
def test_predictions_hold_in_the_event_model(workload: str, batch: int, method: str) -> None:
    """Of GEMMs that run alone. The closed form leaves out waits for single tiles and for the sparsifier."""
    predicted = executed = 0
    for step in schedule(_sparse(workload, method, batch=batch), SAT).steps:
        if step.choice is not None:
            alone = execute(SAT, Program(step.name, 1, "alone", (replace(step, deps=()),)))
            predicted += step.choice.predicted_cycles
            executed += alone.total_cycles
            assert 0.8 * step.choice.predicted_cycles < alone.total_cycles
            assert alone.total_cycles < 1.4 * step.choice.predicted_cycles
    assert 0.97 * predicted < executed < 1.03 * predicted


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_without_offline_scheduling_the_dataflow_is_fixed(dataflow: str) -> None:
    arch = SAT.with_overrides(
        {"optimizations.offline_schedule": False, "optimizations.fixed_dataflow": dataflow}
    )
    trace = _sparse("resnet9", batch=2)
    steps = [step for step in schedule(trace, arch).steps if step.choice is not None]
    assert len(steps) == len(list(trace.gemms()))
    for step, op in zip(steps, trace.gemms(), strict=True):
        assert step.choice is not None
        first = next(candidates(Product.of(op, op.gemms[0], arch), Target.of(arch)))
        choice = step.choice
        assert (choice.dataflow, choice.order) == (dataflow, "ij")
        assert (choice.i, choice.k, choice.j) == (first.i.size, first.k.size, first.j.size)
    # With it, both dataflows are in use.
    assert len({step.choice.dataflow for step in schedule(trace, SAT).steps if step.choice}) == 2


# --- lowering ---------------------------------------------------------------------------------------------------


def _sparse(workload: str, method: str = "bdwp", nm: str = "2:8", **options: Any) -> Trace:
    return apply_method(load(workload, **options), method, NM.parse(nm))[0]


def _named(program: Program, name: str) -> Step:
    (step,) = (step for step in program.steps if step.name == name)
    return step


def _total(step: Step, field: str) -> int:
    return sum(int(getattr(tile, field)) * count for tile, count in step.tile_counts())


@settings(deadline=None, max_examples=100)
@given(small_buffers(), traces())
def test_a_program_keeps_the_trace(arch: Arch, trace: Trace) -> None:
    program = _schedule(trace, arch)
    assert len(program.steps) == len(trace.ops)
    for step, op in zip(program.steps, trace.ops, strict=True):
        assert (step.name, step.layer, step.stage) == (op.name, op.layer, op.stage)
        assert tuple(program.steps[dep].name for dep in step.deps) == op.deps
        if isinstance(op, GemmOp):
            assert (
                step.dense_macs
                == op.dense_macs
                == sum(tile.gemm.macs * count for tile, count in step.tile_counts() if tile.gemm)
            )
            nm = op.sparsity.nm if op.sparsity else NM(1, 1)
            assert step.macs * nm.m == step.dense_macs * nm.n
    assert Program.from_json(program.to_json()) == program
    assert schedule(trace, arch, Planner(arch)) == program


def _schedule(trace: Trace, arch: Arch) -> Program:
    try:
        return schedule(trace, arch)
    except ScheduleError:
        assume(False)
        raise


@settings(deadline=None, max_examples=100)
@given(small_buffers(), traces())
def test_streaming_work_is_cut_into_chunks_that_fit(arch: Arch, trace: Trace) -> None:
    streams = {Unit.VECTOR: arch.buffers.vector, Unit.UPDATE: arch.buffers.update}
    for step, op in zip(_schedule(trace, arch).steps, trace.ops, strict=True):
        if isinstance(op, GemmOp):
            continue
        assert _total(step, "work") == (op.elements if isinstance(op, UpdateOp) else op.operations)
        for tile, _ in step.tile_counts():
            assert tile.load_a_bytes + tile.store_bytes <= streams[step.unit].tile_bytes


@pytest.mark.parametrize("workload", ["vit-tiny-cifar", "gpt2-small"])
def test_data_movement_without_arithmetic_is_cut_too(workload: str) -> None:
    # The token embedding of GPT-2 gathers 1024 x 768 values: nothing to compute, 3 MiB through a 256 KiB tile.
    for step in schedule(load(workload, batch=2), SAT).steps:
        if step.unit is Unit.VECTOR:
            assert max(t.load_a_bytes + t.store_bytes for t, _ in step.tile_counts()) <= 262_144


def test_planning_is_shared_between_equal_operations() -> None:
    planner = Planner(SAT)
    trace = _sparse("vit-tiny-cifar", batch=2)
    assert schedule(trace, SAT, planner) == schedule(trace, SAT, planner) == schedule(trace, SAT)
    ops = list(trace.gemms())
    assert len({id(planner.plan(op)) for op in ops}) < len(ops) / 5  # twelve equal blocks


def test_the_program_does_not_depend_on_the_process() -> None:
    script = (
        "import hashlib; from test_schedule import SAT, _sparse, schedule\n"
        "for name in ('resnet9', 'vit-tiny-cifar'):\n"
        "    program = schedule(_sparse(name, batch=2), SAT)\n"
        "    print(hashlib.sha256(program.to_json().encode()).hexdigest())"
    )
    outputs = {_in_a_process(script, hash_seed) for hash_seed in ("1", "2")}
    assert len(outputs) == 1
    assert len(set(outputs.pop().split())) == 2


def _in_a_process(script: str, hash_seed: str) -> str:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


# --- sparse operands --------------------------------------------------------------------------------------------


def test_compact_weights_are_loaded_or_dense_ones_sorted_online() -> None:
    # fc2 of the perceptron: 64 inputs, 32 outputs, 16 rows. Forward weight at 2:8: 8 x 32 = 256 groups of
    # 2 values of 16 bits and 2 indices of 3 bits: 1024 B + 192 B. Dense: 64 x 32 x 2 = 4096 B.
    trace = _sparse("mlp:8x64x32", batch=16)
    compact = _named(schedule(trace, SAT), "fc2.ff")
    assert (_total(compact, "load_b_bytes"), _total(compact, "sort_before_groups")) == (1216, 0)
    assert (compact.n, compact.m, compact.sort_m, compact.prefetch_b) == (2, 8, 0, True)
    online = SAT.with_overrides({"optimizations.pregenerate": False})
    sorted_ = _named(schedule(trace, online), "fc2.ff")
    assert (_total(sorted_, "load_b_bytes"), _total(sorted_, "sort_before_groups")) == (4096, 256)
    assert (sorted_.n, sorted_.m, sorted_.sort_m, sorted_.prefetch_b) == (2, 8, 8, True)
    for step in (compact, sorted_):
        assert (step.macs, step.dense_macs) == (16 * 64 * 32 // 4, 16 * 64 * 32)
        assert (_total(step, "load_a_bytes"), step.write_bytes) == (16 * 64 * 2, 16 * 32 * 2)


def test_sdgp_transposes_and_sorts_the_gradient() -> None:
    # BP of fc2: dx (16 x 64) = dy (16 x 32) . w'. USPEs index the dense operand, so the array computes dx' (64 x 16)
    # = w (64 x 32) . dy': A is the dense weight, B the gradient, 4 x 16 groups pruned online.
    trace = _sparse("mlp:8x64x32", method="sdgp", batch=16)
    step = _named(schedule(trace, SAT), "fc2.bp")
    assert step.choice is not None and step.choice.transposed
    assert (step.choice.i, step.choice.k, step.choice.j) == (64, 32, 16)
    assert (_total(step, "load_a_bytes"), _total(step, "load_b_bytes")) == (64 * 32 * 2, 16 * 32 * 2)
    assert (_total(step, "sort_before_groups"), step.sort_m, step.prefetch_b) == (64, 8, False)
    assert step.write_bytes == 16 * 64 * 2
    forward = _named(schedule(trace, SAT), "fc2.ff")
    assert forward.choice is not None and not forward.choice.transposed
    assert (forward.n, forward.m) == (8, 8)


def _pruned_for_wu(trace: Trace, *layers: str, nm: str = "2:8") -> Trace:
    """`trace` with the output gradients of `layers` pruned for the weight gradient, else dense."""
    rows = tuple(LayerSparsity(layer, Stage.WU, Role.GRADIENT, NM.parse(nm)) for layer in layers)
    return mark(trace, rows, "mvue")


@pytest.mark.parametrize("pregenerate", [True, False])
def test_a_gradient_pruned_for_wu_is_sorted_on_its_way_in(pregenerate: bool) -> None:
    # WU of fc2: dw (64 x 32) = x' (64 x 20) . dy (20 x 32), whose 20 rows are two groups of 8 and one of 4. Memory
    # holds the dense gradient; the array multiplies 2 + 2 + 2 rows of 20 and spends the slots of 3 groups.
    arch = SAT.with_overrides({"optimizations.pregenerate": pregenerate})
    trace = _pruned_for_wu(load("mlp:8x64x32", batch=20), "fc2")
    step = _named(schedule(trace, arch), "fc2.wu")
    assert step.choice is not None and not step.choice.transposed
    assert (_total(step, "load_a_bytes"), _total(step, "load_b_bytes")) == (64 * 20 * 2, 20 * 32 * 2)
    assert (_total(step, "sort_before_groups"), step.sort_m, step.prefetch_b) == (3 * 32, 8, False)
    assert (step.macs, step.dense_macs) == (64 * 32 * (2 + 2 + 2), 64 * 32 * 20)
    assert (step.n, step.m, step.write_bytes) == (2, 8, 64 * 32 * 2)
    (op,) = (op for op in trace.gemms(Stage.WU) if op.layer == "fc2")
    product = Product.of(op, op.gemms[0], arch)
    assert product.b_buffer_bytes(20, 32) == 3 * 32 * 4 + 3 * 32 * 6 // 8
    assert (step.choice.i, step.choice.k, step.choice.j) == (64, 20, 32)
    padded = gemm_cycles(arch.array_params, step.choice.dataflow, 64, 24, 32, 2, 8)
    assert step.choice.predicted_array_cycles == padded.total
    assert _named(schedule(trace, arch), "fc2.update").sort_m == 0


@pytest.mark.parametrize(("nm", "unit"), [("2:4", 12), ("2:8", 24), ("4:16", 48), (None, 6)])
def test_tiles_of_wu_keep_groups_and_rows_of_pixels_whole(nm: str | None, unit: int) -> None:
    # rows of 6 pixels: 2 of them hold 3 groups of 4
    gemm = Gemm(3 * 9, 72, 16, taps=9, window=Window(6, 6, 6, 6, 3, 3))
    op = GemmOp("wu", "layer", Stage.WU, (gemm,), Role.ACTIVATION, Role.GRADIENT, pixel_axis="k")
    sparsity = None if nm is None else Sparsity("b", NM.parse(nm))
    assert Product.of(replace(op, sparsity=sparsity), gemm, SAT).k_unit == unit


def test_a_pruned_gradient_makes_wu_faster_in_the_event_model_too() -> None:
    dense = load("resnet9", batch=4)
    layers = [layer.name for layer in dense.layers if layer.cin and not layer.first]
    sparse = _pruned_for_wu(dense, *layers)
    programs = [schedule(trace, SAT) for trace in (dense, sparse)]
    busy = [
        sum(
            record.compute_cycles
            for step, record in zip(program.steps, execute(SAT, program).steps, strict=True)
            if step.stage == "wu" and step.unit is Unit.STCE
        )
        for program in programs
    ]
    assert busy[1] < 0.5 * busy[0]
    assert execute(SAT, programs[1], full=True) == execute(SAT, programs[1])


@pytest.mark.parametrize(
    ("method", "pregenerate", "stored_weights_bytes", "sorted_groups"),
    [
        ("bdwp", True, 2 * 1216 + 32 * 2, 2 * 256),  # both orientations compact, the bias in FP16
        ("bdwp", False, 2080 * 2, 0),  # a dense FP16 copy, pruned before each use
        ("srste", True, 1216 + 2080 * 2, 256),  # compact for the forward pass, dense for the backward pass
        ("sdwp", True, 1216 + 2080 * 2, 256),
        ("dense", True, 2080 * 2, 0),
    ],
)
@pytest.mark.parametrize(("optimizer", "states"), [("sgd", 1), ("adamw", 2)])
def test_update_traffic_by_hand(
    method: str, pregenerate: bool, stored_weights_bytes: int, sorted_groups: int, optimizer: str, states: int
) -> None:
    # fc2 has 64 x 32 = 2048 weights and 32 biases. Read and written back in FP32: the master and `states` values
    # of optimizer state. Read besides: the FP16 gradient.
    arch = SAT.with_overrides({"optimizations.pregenerate": pregenerate})
    trace = replace(_sparse("mlp:8x64x32", method=method, batch=16), optimizer=optimizer)
    step = _named(schedule(trace, arch), "fc2.update")
    masters_bytes = 2080 * 4 * (1 + states)
    assert step.read_bytes == masters_bytes + 2080 * 2
    assert step.write_bytes == masters_bytes + stored_weights_bytes
    assert _total(step, "work") == 2080
    assert _total(step, "sort_after_groups") == sorted_groups
    assert step.sort_m == (8 if sorted_groups else 0)


def test_a_tied_weight_is_pruned_in_the_update_of_its_owner() -> None:
    # GPT-2's head uses the token embedding, 50257 x 768. Forward: groups along 768, 96 for each word. Backward:
    # 50257 is no multiple of 8, so it stays dense and needs the dense copy too.
    trace = _sparse("gpt2-small", batch=1, seq_len=16)
    step = _named(schedule(trace, SAT), "wte.update")
    parameters, groups = 50_257 * 768, 50_257 * 96
    compact_bytes = groups * 4 + groups * 6 // 8
    assert _total(step, "sort_after_groups") == groups
    assert step.write_bytes == parameters * (8 + 4) + parameters * 2 + compact_bytes


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "needs"), [("activation", 16), ("weight", 512), ("output", 128)])
def test_a_buffer_too_small_is_named(name: str, needs: int) -> None:
    # The first layer is dense: a tile takes at least 8 of its k, and 32 columns of its j. A 1 x 8 and B 8 x 32 in
    # 2 B each, sums 1 x 32 in 4 B each.
    arch = SAT.with_overrides({f"buffers.{name}.capacity_bytes": 4, f"buffers.{name}.banks": 1})
    with pytest.raises(ScheduleError) as caught:
        schedule(load("mlp:8x64x32", batch=16), arch)
    assert str(caught.value) == (
        "operation 'fc1.ff': the smallest tile (1 x 8 x 32) does not fit: "
        f"buffers.{name} holds 2 B a tile, needs {needs} B; enlarge the buffer or turn double buffering off"
    )


@settings(deadline=None, max_examples=200)
@given(small_buffers(), operations())
def test_what_fits_is_scheduled(arch: Arch, op: GemmOp) -> None:
    """A tile of one granule of each axis, as wide as the array, is all that is asked for."""
    arch = arch.with_overrides({f"buffers.{name}.capacity_bytes": 1024 for name in ("weight", "output")})
    buffers = arch.buffers
    fits = []
    for product in _products(op, arch):
        i, k = min(product.i, product.i_unit), min(product.k, product.k_unit)
        j = min(product.j, -(-arch.array.cols // product.j_unit) * product.j_unit)
        fits.append(
            product.a_bytes(i, k) <= buffers.activation.tile_bytes
            and product.b_buffer_bytes(k, j) <= buffers.weight.tile_bytes
            and i * j * arch.precision.accumulator_bits <= 8 * buffers.output.tile_bytes
        )
    trace = Trace("one", 1, (), (op,))
    if all(fits):
        assert schedule(trace, arch).steps[0].dense_macs == op.dense_macs
    else:
        with pytest.raises(
            ScheduleError, match=r"^operation 'op': the smallest tile \(.*\) does not fit: buffers\."
        ):
            schedule(trace, arch)


@pytest.mark.parametrize("arch_name", ["sat", "dense"])
def test_an_unsupported_ratio_is_refused(arch_name: str) -> None:
    arch = load_arch(arch_name)
    supported = (
        "1:2, 2:4, 1:4, 2:8, 1:8, 4:8, 2:16, 1:16, 4:16" if arch_name == "sat" else "none (dense only)"
    )
    with pytest.raises(SpecError) as caught:
        schedule(_sparse("mlp:8x64x32", nm="3:8", batch=16), arch)
    assert str(caught.value) == (
        f"operation 'fc2.ff' needs 3:8 sparsity, which architecture {arch_name!r} does not have in "
        f"array.sparsity; it supports {supported}"
    )
