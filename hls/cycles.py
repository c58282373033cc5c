"""Cycles of a program's passes, estimated from the kernels, beside those that the simulator has for the schedule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codesign.nm.format import NM
from hls import loop_nests
from hls.config import KernelConfig
from hls.dma_cycles import load_a_cycles, load_b_cycles, store_cycles
from hls.golden import Pass
from hls.program.capacity import tile_of
from hls.program.encoding import Program, packets
from hls.program.instruction import Gemm, Instruction, LoadA, LoadB, Store
from hw_models.timing import Dataflow
from workloads.ops import Stage


@dataclass(frozen=True, slots=True)
class PassCycles:
    """A pass of a layer; `nm` is None if it is dense.

    - `array_cycles`: its GEMM instructions one after the other, from the loops of the array.
    - `scheduled_cycles`: the same of the simulator, for the tiles of the schedule.
    - `packet_cycles`: packet by packet the longest of GEMM, loads and store, these without memory latency.
    """

    layer: str
    stage: Stage
    dataflow: Dataflow
    nm: NM | None
    gemms: int
    array_cycles: int
    scheduled_cycles: int
    packet_cycles: int


def pass_cycles(passes: Iterable[Pass], program: Program, config: KernelConfig) -> list[PassCycles]:
    """Of every pass."""
    return [
        _of(each, program.instructions[each.instructions.start : each.instructions.stop], config)
        for each in passes
    ]


def _of(found: Pass, instructions: Sequence[Instruction], config: KernelConfig) -> PassCycles:
    product = found.plan.products[0]
    gemms = [each for each in instructions if isinstance(each, Gemm)]
    return PassCycles(
        found.layer,
        found.stage,
        found.plan.dataflow,
        product.nm if product.sparse else None,
        len(gemms),
        sum(loop_nests.cycles(tile_of(gemm), config) for gemm in gemms),
        sum(cost.array for cost in found.plan.costs),
        sum(max(_cycles(each, config) for each in packet) for packet in packets(instructions)),
    )


def _cycles(instruction: Instruction, config: KernelConfig) -> int:
    match instruction:
        case Gemm():
            return loop_nests.cycles(tile_of(instruction), config)
        case LoadA():
            return load_a_cycles(instruction, config)
        case LoadB():
            return load_b_cycles(instruction, config)
        case Store():
            return store_cycles(instruction, config)
    return 0
