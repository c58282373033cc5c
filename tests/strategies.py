"""Hypothesis strategies that several tests share: random architectures, programs and training operations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from codesign.nm.format import NM
from hw_models.arch import Arch, load_arch
from hw_models.program import Block, Choice, Program, Run, Step, Tile, TileGemm, Unit
from hw_models.timing import Dataflow
from workloads.ops import Gemm, GemmOp, Op, Role, Sparsity, Stage, UpdateOp, VectorOp, Window
from workloads.trace import Layer, Trace

SAT = load_arch("sat")
BUFFERS = ("activation", "weight", "output", "vector", "update")
RATIOS = [NM.parse(text) for text in ("2:4", "2:8", "1:8", "4:16")]

# --- machines and programs --------------------------------------------------------------------------------------


@st.composite
def machines(draw: Any) -> Arch:
    """SAT with a small array, random memory, random numbers of lanes and random double buffering."""
    flags = {f"buffers.{name}.double_buffered": draw(st.booleans()) for name in BUFFERS}
    return SAT.with_overrides(
        flags
        | {
            "array.rows": draw(st.integers(2, 8)),
            "array.cols": draw(st.integers(2, 8)),
            "array.double_weights": draw(st.booleans()),
            "array.double_accumulators": draw(st.booleans()),
            "array.fill_policy": draw(st.sampled_from(("hidden", "every_tile"))),
            "dma.setup_cycles": draw(st.integers(0, 40)),
            "dma.engines": draw(st.integers(1, 4)),
            "dma.port_bits": draw(st.sampled_from((64, 512))),
            "dram.channels": draw(st.integers(1, 4)),
            "dram.rate_mtps": draw(st.integers(100, 4000)),
            "dram.latency_ns": draw(st.sampled_from((0.0, 5.0, 100.0, 333.3, 20_000.0))),
            "sore.lanes": draw(st.integers(1, 64)),
            "vector_unit.lanes": draw(st.integers(1, 64)),
            "wuve.lanes": draw(st.integers(1, 64)),
            "optimizations.interleave": draw(st.booleans()),
        }
    )


@st.composite
def tiles(draw: Any, unit: Unit) -> Tile:
    """Any tile that `unit` can execute; loads, stores and sorting may be absent."""
    volumes = st.sampled_from((0, 1, 64, 500, 4096, 30_000))
    sorts = st.sampled_from((0, 0, 0, 1, 40, 300))
    gemm = None
    if unit is Unit.STCE:
        i, k, j = (draw(st.integers(1, 24)) for _ in range(3))
        gemm = TileGemm(i, k, j, count=draw(st.sampled_from((1, 1, 3))))
    return Tile(
        load_a_bytes=draw(volumes),
        load_b_bytes=draw(volumes),
        store_bytes=draw(volumes),
        gemm=gemm,
        work=0 if gemm else draw(st.integers(0, 5000)),
        sort_before_groups=draw(sorts),
        sort_after_groups=draw(sorts),
    )


@st.composite
def blocks(draw: Any, unit: Unit, most_tiles: int = 200) -> Block:
    """Up to three runs, the whole repeated up to hundreds of times, about `most_tiles` tiles in all."""
    lengths = st.sampled_from((1, 1, 2, 3, 7, 60))
    runs = tuple(Run(draw(tiles(unit)), draw(lengths)) for _ in range(draw(st.integers(1, 3))))
    body = sum(run.count for run in runs)
    repeats = draw(st.sampled_from((1, 1, 2, 3, 50, 400)))
    return Block(runs, min(repeats, max(1, most_tiles // body)))


def choice(dataflow: Dataflow) -> Choice:
    """A choice of `dataflow`, which is all that an execution reads of it."""
    return Choice(
        dataflow=dataflow,
        order="ij",
        i=1,
        k=1,
        j=1,
        together=1,
        resident=(),
        transposed=False,
        predicted_cycles=0,
        predicted_array_cycles=0,
        predicted_dram_cycles=0,
    )


@st.composite
def steps(draw: Any, index: int) -> Step:
    """A step on any unit that depends on some of the `index` steps before it."""
    unit = draw(st.sampled_from(Unit))
    nm = draw(st.sampled_from([NM(8, 8), *RATIOS]))
    return Step(
        name=f"step{index}",
        layer="layer",
        stage="ff",
        kind="random",
        unit=unit,
        deps=draw(_subset(range(index))),
        blocks=tuple(draw(st.lists(blocks(unit), min_size=1, max_size=3))),
        n=nm.n,
        m=nm.m,
        sort_m=draw(st.sampled_from((4, 8))),
        prefetch_b=draw(st.booleans()),
        choice=choice(draw(st.sampled_from(Dataflow))) if unit is Unit.STCE else None,
    )


@st.composite
def programs(draw: Any) -> Program:
    """A few steps on all units."""
    count = draw(st.integers(1, 6))
    return Program("random", 1, "dense", tuple(draw(steps(index)) for index in range(count)))


# --- operations and traces --------------------------------------------------------------------------------------


@st.composite
def small_buffers(draw: Any) -> Arch:
    """SAT with a small array and buffers of a few hundred bytes to some 10 KiB a tile, and any optimizations."""
    sizes = {f"buffers.{name}.capacity_bytes": 1 << draw(st.integers(10, 17)) for name in BUFFERS}
    return SAT.with_overrides(
        sizes
        | {f"buffers.{name}.banks": 1 for name in BUFFERS}
        | {f"buffers.{name}.double_buffered": draw(st.booleans()) for name in BUFFERS}
        | {
            "array.rows": draw(st.integers(2, 12)),
            "array.cols": draw(st.integers(2, 12)),
            "precision.operand_bits": draw(st.sampled_from((16, 32))),
            "optimizations.interleave": draw(st.booleans()),
            "optimizations.pregenerate": draw(st.booleans()),
            "optimizations.offline_schedule": draw(st.booleans()),
        }
    )


@st.composite
def gemm_ops(draw: Any) -> GemmOp:
    """A plain product, or a convolution in one of the three stages; its operands sparse where a method allows."""
    stage = draw(st.sampled_from((Stage.FF, Stage.BP, Stage.WU)))
    sparse = stage is not Stage.WU and draw(st.booleans())
    nm = draw(st.sampled_from(RATIOS))
    reduced = nm.m * draw(st.integers(1, 4)) if sparse else draw(st.integers(1, 50))
    draw_gemm = draw(st.sampled_from((_plain_gemm, _convolution)))
    gemms = tuple(
        draw(draw_gemm(stage, reduced)) for _ in range(draw(st.integers(1, 3 if stage is Stage.BP else 1)))
    )
    a, b = {
        Stage.FF: (Role.ACTIVATION, Role.WEIGHT),
        Stage.BP: (Role.GRADIENT, Role.WEIGHT),
        Stage.WU: (Role.ACTIVATION, Role.GRADIENT),
    }[stage]
    sparsity = None
    if sparse:
        sparsity = Sparsity(draw(st.sampled_from(("a", "b"))) if stage is Stage.BP else "b", nm)
    op = GemmOp("op", "layer", stage, gemms, a, b, sparsity=sparsity)
    return replace(op, pixel_axis="k") if stage is Stage.WU else op


@st.composite
def _plain_gemm(draw: Any, stage: Stage, reduced: int) -> Gemm:
    return Gemm(draw(st.integers(1, 150)), reduced, draw(st.integers(1, 150)), count=draw(st.integers(1, 20)))


@st.composite
def _convolution(draw: Any, stage: Stage, channels: int) -> Gemm:
    """`channels` are those of the operand with the window, for FF and BP the ones that are summed over."""
    taps_h, taps_w, stride = (draw(st.integers(1, 3)) for _ in range(3))
    out_h, out_w, batch = (draw(st.integers(1, 6)) for _ in range(3))
    in_h, in_w = (out_h - 1) * stride + taps_h, (out_w - 1) * stride + taps_w
    window = Window(in_h, in_w, out_h, out_w, taps_h, taps_w, stride)
    taps, pixels = taps_h * taps_w, batch * out_h * out_w
    i, k = (channels * taps, pixels) if stage is Stage.WU else (pixels, channels * taps)
    return Gemm(i, k, draw(st.integers(1, 60)), draw(st.sampled_from((1, 1, 3))), taps, window)


@st.composite
def traces(draw: Any) -> Trace:
    """A few operations of all kinds with random dependences; not a training iteration of any network."""
    layer = Layer("layer", "linear", params=0, weight_params=16 * draw(st.integers(1, 500)))
    layer = replace(layer, params=layer.weight_params + draw(st.integers(0, 40)))
    ops: list[Op] = []
    for index in range(draw(st.integers(1, 6))):
        op = draw(st.one_of(gemm_ops(), _vector_ops(), _updates(layer)))
        deps = tuple(ops[dep].name for dep in draw(_subset(range(index))))
        ops.append(replace(op, name=f"op{index}", deps=deps))
    return Trace("random", 1, (layer,), tuple(ops), draw(st.sampled_from(("sgd", "adamw"))))


@st.composite
def _vector_ops(draw: Any) -> VectorOp:
    operations, read_elements, write_elements = (draw(st.integers(0, 30_000)) for _ in range(3))
    return VectorOp("op", "layer", Stage.OTHER, "random", operations, read_elements, write_elements)


@st.composite
def _updates(draw: Any, layer: Layer) -> UpdateOp:
    nm = draw(st.sampled_from(RATIOS))
    return UpdateOp("op", "layer", layer.params, prunes=(nm,) * draw(st.integers(0, 2)))


def _subset(indices: range) -> st.SearchStrategy[tuple[int, ...]]:
    if not indices:
        return st.just(())
    return st.sets(st.sampled_from(indices), max_size=2).map(lambda chosen: tuple(sorted(chosen)))
