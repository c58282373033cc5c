"""Turns a trace into a program: every operation becomes a step, its tiles in the order of its plan."""

from __future__ import annotations

from codesign.errors import ScheduleError, SpecError
from codesign.schedule.planner import Planner
from codesign.schedule.tiles import product_blocks
from codesign.units import bits_to_bytes
from hw_models.arch import Arch
from hw_models.program import Block, Program, Run, Step, Tile, Unit
from workloads.ops import GemmOp, Op, Role, UpdateOp, VectorOp
from workloads.trace import Layer, Trace

OPTIMIZER_STATES = {"sgd": 1, "adamw": 2}
"""Values of optimizer state a parameter: the momentum; the first and the second moment."""


def schedule(trace: Trace, arch: Arch, planner: Planner | None = None) -> Program:
    """Lower `trace` for `arch`. Pure: the same input gives the same program.

    `planner` (for the same `arch`) may be shared between calls so that equal operations are planned once. Raises
    SpecError if the array lacks an N:M ratio of the trace, ScheduleError if a buffer cannot hold one tile.
    """
    planner = planner or Planner(arch)
    layers = {layer.name: layer for layer in trace.layers}
    positions = {op.name: index for index, op in enumerate(trace.ops)}

    def lower(op: Op) -> Step:
        deps = tuple(positions[dep] for dep in op.deps)
        if isinstance(op, GemmOp):
            return _gemm_step(op, deps, planner)
        if isinstance(op, VectorOp):
            return _vector_step(op, deps, arch)
        return _update_step(op, deps, layers[op.layer], OPTIMIZER_STATES[trace.optimizer], arch)

    return Program(trace.name, trace.batch, trace.method, tuple(lower(op) for op in trace.ops))


def _gemm_step(op: GemmOp, deps: tuple[int, ...], planner: Planner) -> Step:
    _check_supported(op, planner.arch)
    plan = planner.plan(op)
    first = plan.products[0]
    return Step(
        name=op.name,
        layer=op.layer,
        stage=op.stage,
        kind="gemm",
        unit=Unit.STCE,
        deps=deps,
        blocks=tuple(
            block
            for product, tiling in zip(plan.products, plan.tilings, strict=True)
            for block in product_blocks(product, tiling)
        ),
        n=first.nm.n,
        m=first.nm.m,
        sort_m=first.nm.m if first.sparse and not first.compact else 0,
        prefetch_b=op.b is Role.WEIGHT and not first.transposed,
        macs=sum(product.macs for product in plan.products),
        dense_macs=op.dense_macs,
        choice=plan.choice(),
    )


def _check_supported(op: GemmOp, arch: Arch) -> None:
    if op.sparsity is not None and op.sparsity.nm not in arch.array.sparsity:
        supported = ", ".join(map(str, arch.array.sparsity)) or "none (dense only)"
        raise SpecError(
            f"operation {op.name!r} needs {op.sparsity.nm} sparsity, which architecture {arch.name!r} does not have "
            f"in array.sparsity; it supports {supported}"
        )


def _vector_step(op: VectorOp, deps: tuple[int, ...], arch: Arch) -> Step:
    bits = arch.precision.operand_bits
    whole = Tile(
        load_a_bytes=bits_to_bytes(op.read_elements * bits),
        store_bytes=bits_to_bytes(op.write_elements * bits),
        work=op.operations,
    )
    chunks = _chunks(op.name, whole, "vector", arch)
    return Step(op.name, op.layer, op.stage, op.kind, Unit.VECTOR, deps, chunks)


def _update_step(op: UpdateOp, deps: tuple[int, ...], layer: Layer, states: int, arch: Arch) -> Step:
    """WUVE reads master weight, optimizer state and gradient and writes them back with the next FP16 weights.

    With pre-generation, SORE prunes the updated weight once for each sparse orientation, and only an orientation
    that stays dense needs the dense FP16 copy. Without it, the dense copy serves both.
    """
    precision = arch.precision
    prunes = op.prunes if arch.optimizations.pregenerate else ()
    master_bits = op.elements * (1 + states) * precision.master_bits
    dense_elements = op.elements if len(prunes) < 2 else op.elements - layer.weight_params
    weights_bytes = sum(
        nm.compact_bytes(nm.m, layer.weight_params // nm.m, precision.operand_bits) for nm in prunes
    )
    whole = Tile(
        load_a_bytes=bits_to_bytes(master_bits + op.elements * precision.operand_bits),
        store_bytes=bits_to_bytes(master_bits + dense_elements * precision.operand_bits) + weights_bytes,
        work=op.elements,
        sort_after_groups=sum(layer.weight_params // nm.m for nm in prunes),
    )
    chunks = _chunks(op.name, whole, "update", arch)
    sort_m = prunes[0].m if prunes else 0
    return Step(op.name, op.layer, op.stage, "update", Unit.UPDATE, deps, chunks, sort_m=sort_m)


def _chunks(name: str, whole: Tile, buffer: str, arch: Arch) -> tuple[Block, ...]:
    """Cut streaming work into equal chunks whose loads and stores fit the buffer, and smaller ones for what is left.

    Raises ScheduleError if a half of the buffer does not even hold a word of the memory port each way.
    """
    tile_bytes = getattr(arch.buffers, buffer).tile_bytes
    least_bytes = 2 * arch.dma.port_bytes_per_cycle
    if tile_bytes < least_bytes:
        raise ScheduleError(
            f"operation {name!r}: buffers.{buffer} holds {tile_bytes} B a tile, needs {least_bytes} B (a word of the "
            "memory port each way); enlarge the buffer or turn double buffering off"
        )
    runs: list[Run] = []
    left = (whole.load_a_bytes, whole.store_bytes, whole.work, whole.sort_after_groups)
    while any(left) or not runs:
        count = max(1, -(-(left[0] + left[1]) // tile_bytes))
        load, store, work, groups = (amount // count for amount in left)
        tile = Tile(load_a_bytes=load, store_bytes=store, work=work, sort_after_groups=groups)
        runs.append(Run(tile, count))
        left = (left[0] % count, left[1] % count, left[2] % count, left[3] % count)
    return (Block(tuple(runs)),)
