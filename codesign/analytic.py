"""Closed-form lower bound of an iteration: no schedule on the architecture can be faster than this.

The larger of two bounds. Resources: every multiply-accumulate that is left after pruning takes a slot of the
array, every compulsory byte passes the DRAM once, every vector operation and update takes a lane. Critical path:
an operation starts after those it depends on have stored their results, and lasts at least its own resource
bound (weights excepted, which may be loaded before).
"""

from __future__ import annotations

from codesign.schedule.product import Product
from hw_models.arch import Arch
from hw_models.program import Program, Step, Unit
from workloads.ops import GemmOp, Op, Role
from workloads.trace import Trace


def bound_cycles(trace: Trace, program: Program, arch: Arch) -> int:
    """Lower bound in cycles of executing `program`, the lowering of `trace`, on `arch`."""
    operands = [_compulsory_bytes(op, step, arch) for op, step in zip(trace.ops, program.steps, strict=True)]
    occupancy = dict.fromkeys(Unit, 0)
    finish: list[int] = []
    for step, (_, late_bytes) in zip(program.steps, operands, strict=True):
        busy = _unit_cycles(step, arch)
        occupancy[step.unit] += busy
        ready = max((finish[dep] for dep in step.deps), default=0)
        finish.append(ready + max(busy, arch.dram_cycles(late_bytes)))
    dram = arch.dram_cycles(sum(early + late for early, late in operands))
    return max(dram, *occupancy.values(), *finish)


def compulsory_bytes(trace: Trace, program: Program, arch: Arch) -> int:
    """Bytes that must cross the DRAM interface if every operand and result of an operation does so once."""
    return sum(
        sum(_compulsory_bytes(op, step, arch)) for op, step in zip(trace.ops, program.steps, strict=True)
    )


def _unit_cycles(step: Step, arch: Arch) -> int:
    """Cycles of a step's unit at its peak rate."""
    if step.unit is Unit.STCE:
        return -(-step.macs // arch.peak_macs_per_cycle)
    lanes = arch.vector_unit.lanes if step.unit is Unit.VECTOR else arch.wuve.lanes
    return -(-sum(tile.work * count for tile, count in step.tile_counts()) // lanes)


def _compulsory_bytes(op: Op, step: Step, arch: Arch) -> tuple[int, int]:
    """Compulsory bytes of an operation: (those that need not wait for its dependences, the others)."""
    if not isinstance(op, GemmOp):
        return 0, step.read_bytes + step.write_bytes
    products = [Product.of(op, gemm, arch) for gemm in op.gemms]
    a = [product.gemm.count * product.a_bytes(product.i, product.k) for product in products]
    b = [product.gemm.count * product.b_bytes(product.k, product.j) for product in products]
    y = sum(product.gemm.count * product.y_bytes(product.i, product.j) for product in products)
    # The products of one operation (stride phases) share its gradient and split its weights.
    if products[0].transposed:
        return 0, sum(a) + max(b) + y
    if op.b is Role.WEIGHT:
        return sum(b), max(a) + y
    return 0, max(a) + sum(b) + y
