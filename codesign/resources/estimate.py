"""FPGA resources of an architecture: every block, from the constants of `operators.yaml`.

| component      | one is                                                                                       |
|----------------|----------------------------------------------------------------------------------------------|
| `uspe.*`       | a part of a processing element (`codesign.resources.array`)                                  |
| `stce.*`       | an edge of the array: window buffers, skew, weight unpackers, accumulating adders            |
| `sore`         | a lane: two insertion sorters, by magnitude and then by index, of the largest N              |
| `wuve`         | a lane: gradient widened, three multiply-adds of SGD, the weight narrowed                    |
| `vector_unit`  | a lane: multiply-add, comparison, interpolated functions (exp, tanh, division, square root)  |
| `buffer.*`     | a bank, mapped to BRAM or URAM, with its read and write address                              |
| `dma`          | an engine with store-and-forward queues                                                      |
| `network`      | between DMA ports and banks: a rotator each way, and the choice of a buffer                  |
| `controller`   | registers, program memory, sequencers                                                        |

Left out: the shell with its memory controllers (devices are net of it), registers and logic that placement and
floorplanning add, optimizers other than SGD.

**How far to trust it.** AutoSA's arrays of 1664 and 1792 FP32 multiply-adds take 483 and 494 LUT, 797 and 806 FF and
5 DSP each on a U250 (AutoSA, docs/examples, post-route, 300 and 265 MHz). The array model with Vitis operators gives
361 to 496 LUT, 520 to 650 FF and 5 DSP (`tests/test_resources.py`): LUTs lie inside the interval, flip-flops above it
by a fifth or more, as AutoSA puts queues between its elements and registers between SLRs. Neither is counted here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from codesign.resources.array import Component, Stce
from codesign.resources.operators import Operators
from codesign.resources.primitives import (
    block_memory,
    comparator,
    counter,
    delay_line,
    multiplexer,
    rotator,
    small_memory,
    sorter,
    ultra_memory,
)
from codesign.resources.tables import tables
from codesign.resources.usage import Usage, total
from codesign.units import bytes_to_bits
from hw_models.arch import Arch
from hw_models.block_specs import Buffer

DEFAULT_OPERATORS = "dsp"


@dataclass(frozen=True)
class Resources:
    """What an architecture takes, by component. The components sum to the total."""

    arch_name: str
    operators: str
    components: dict[str, Component]

    @cached_property
    def total(self) -> Usage:
        """All components together."""
        return total(component.total for component in self.components.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        components = {
            name: {"count": c.count, "what": c.what, "each": c.each.as_dict(), "total": c.total.as_dict()}
            for name, c in self.components.items()
        }
        return {
            "arch": self.arch_name,
            "operators": self.operators,
            "components": components,
            "total": self.total.as_dict(),
        }


def estimate(arch: Arch, *, operators: str = DEFAULT_OPERATORS, uram: bool = True) -> Resources:
    """Resources of `arch` with one of the implementations of operators in `operators.yaml`. Raises SpecError.

    `uram` says whether the device has UltraRAM.
    """
    priced = Operators(operators)
    parts = [
        *Stce(arch, priced).components(),
        _sore(arch),
        _wuve(arch, priced),
        _vector_unit(arch, priced),
        *_buffers(arch, uram),
        _dma(arch),
        _network(arch),
        Component(
            "controller", 1, "registers, program memory, sequencers", tables().pieces["controller"].usage
        ),
    ]
    return Resources(arch.name, operators, {part.name: part for part in parts})


def _sore(arch: Arch) -> Component:
    """The values that a sorter by magnitude has kept leave through a sorter by index, while the next group enters."""
    ratios, bits = arch.array.sparsity, arch.precision.operand_bits
    if not ratios:
        return Component("sore", 0, "none: the array skips no zeros", Usage())
    n, m = max(nm.n for nm in ratios), max(nm.m for nm in ratios)
    index_bits = (m - 1).bit_length()
    item_bits, magnitude_bits = bits + index_bits, bits - 1
    nan_clamp = comparator(magnitude_bits) + multiplexer(2, magnitude_bits)
    sorters = sorter(n, item_bits, magnitude_bits) + sorter(n, item_bits, index_bits)
    lane = nan_clamp + sorters + counter(index_bits)
    return Component("sore", arch.sore.lanes, f"lane: top-{n} sorter of groups up to {m}", lane)


def _wuve(arch: Arch, operators: Operators) -> Component:
    """Weight and momentum wait beside the pipeline for their turn."""
    operand, master = arch.precision.operand_bits, arch.precision.master_bits
    multiply_adds = tables().units.wuve_multiply_adds
    arithmetic = operators.multiply_add(master) * multiply_adds.value
    conversions = operators.convert(operand, master) + operators.convert(master, operand)
    waiting = delay_line(arch.wuve.latency_cycles, 2 * master)
    what = f"lane: {multiply_adds.value} FP{master} multiply-adds, conversions, delays"
    return Component("wuve", arch.wuve.lanes, what, arithmetic + conversions + waiting)


def _vector_unit(arch: Arch, operators: Operators) -> Component:
    """Two operands in, one result out; as many partial sums as the pipeline is deep, for reductions."""
    operand, bits, units = arch.precision.operand_bits, arch.precision.accumulator_bits, tables().units
    multiply_adds = units.vector_multiply_adds.value + units.function_multiply_adds.value
    arithmetic = operators.multiply_add(bits) * multiply_adds + comparator(bits) + multiplexer(2, bits)
    conversions = operators.convert(operand, bits) * 2 + operators.convert(bits, operand)
    table = block_memory(units.function_table_words.value, units.function_table_coefficients.value * bits)
    functions = table + tables().pieces["range_reduction"].usage
    lane = arithmetic + conversions + functions + small_memory(arch.vector_unit.latency_cycles, bits)
    what = f"lane: {multiply_adds} FP{bits} multiply-adds, comparison, function table"
    return Component("vector_unit", arch.vector_unit.lanes, what, lane)


def _buffers(arch: Arch, uram: bool) -> Iterator[Component]:
    word = tables().units.bank_word_bits.value
    for name in type(arch.buffers).model_fields:
        width = arch.array.activation_port_bits if name == "activation" else word
        yield _buffer(f"buffer.{name}", getattr(arch.buffers, name), width, uram)


def _buffer(name: str, buffer: Buffer, width_bits: int, uram: bool) -> Component:
    """Both halves of a double buffer share the blocks: a block reads and writes in the same cycle.

    Stacked blocks have a cascade of their own (low) or a multiplexer behind them (high).
    """
    bank_bits = bytes_to_bits(buffer.capacity_bytes // buffer.banks)
    depth = -(-bank_bits // width_bits)
    in_uram = uram and bank_bits > tables().memories.uram_data_bits.value
    memory = ultra_memory(depth, width_bits) if in_uram else block_memory(depth, width_bits)
    shape = tables().memories.uram288 if in_uram else tables().memories.bram36
    stacked = multiplexer(-(-depth // shape.shapes[0][0]), width_bits)
    addresses = counter(depth.bit_length()) * 2
    each = memory + (Usage() | stacked) + addresses
    kind = "URAM" if in_uram else "BRAM"
    return Component(name, buffer.banks, f"bank: {depth:,} words of {width_bits} bits in {kind}", each)


def _dma(arch: Arch) -> Component:
    port_bits, pieces = arch.dma.port_bits, tables().pieces
    queue = block_memory(tables().units.dma_fifo_words.value, port_bits)
    engine = pieces["dma_engine"].usage + pieces["dma_engine_bit"].usage * port_bits + queue * 2
    return Component("dma", arch.dma.engines, f"engine: {port_bits}-bit AXI, a queue each way", engine)


def _network(arch: Arch) -> Component:
    word = tables().units.bank_word_bits.value
    words = -(-arch.dma.engines * arch.dma.port_bits // word)
    choice = multiplexer(len(type(arch.buffers).model_fields), words * word)
    each = rotator(words, word) * 2 + choice
    return Component("network", 1, f"{words} words of {word} bits between DMA ports and banks", each)
