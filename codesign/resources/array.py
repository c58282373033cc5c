"""STCE, the array of USPEs: what the micro-architecture of `hw_models.timing` needs, register by register.

Symbols: A operand bits, S accumulator bits, F interleave depth, V values in an activation vector (the largest group
that a slot can pick from), W weight registers, N:M the ratios that the array can skip.

**A processing element** gets a vector of V activations from its left neighbour each cycle, picks the one that the
index names, multiplies it by the weight and adds the product to one of F sums. A dense-only array serialises groups
once a row, at its edge; its elements pass on single values and have no selector and no indices.

**Skew** needs no data registers: rows and columns have their own banks, so only the control words are delayed, from
row to row by a queue, from column to column by a register.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codesign.resources.operators import Operators
from codesign.resources.primitives import (
    counter,
    delay_line,
    multiplexer,
    register_file,
    registers,
    small_memory,
    unpacker,
)
from codesign.resources.tables import tables
from codesign.resources.usage import Usage
from hw_models.arch import Arch
from hw_models.timing import Dataflow

CONTROL_FLAGS = 5
"""Bits of a control word beside round and lane: valid, tile parity, begins or completes a sum, last of its tile."""


@dataclass(frozen=True, slots=True)
class Component:
    """`count` equal parts of the machine: what one is, and what it takes."""

    name: str
    count: int
    what: str
    each: Usage

    @property
    def total(self) -> Usage:
        """Resources of all of them."""
        return self.each * self.count


class Stce:
    """Resources of the array of one architecture."""

    def __init__(self, arch: Arch, operators: Operators) -> None:
        array, precision = arch.array, arch.precision
        self._array, self._operators = array, operators
        self._operand_bits = precision.operand_bits
        self._sum_bits = precision.accumulator_bits
        self._ws = Dataflow.WS in array.dataflows
        self._os = Dataflow.OS in array.dataflows
        self._group = max([array.weight_registers, *(nm.m for nm in array.sparsity)])
        self._vector = self._group if array.sparsity else 1
        self._index_bits = (self._vector - 1).bit_length()
        self._port = arch.array_params.activation_port_values
        self._round_bits = (array.weight_registers - 1).bit_length()
        self._lane_bits = (array.interleave_depth - 1).bit_length()
        self._control_bits = CONTROL_FLAGS + self._round_bits + self._lane_bits

    def components(self) -> Iterator[Component]:
        """All parts, those of the processing elements first."""
        array, n, v = self._array, self._array.rows * self._array.cols, self._vector
        operand, sums = f"FP{self._operand_bits}", f"FP{self._sum_bits}"
        sets = "two sets" if array.double_weights else "one set"
        select = f", {v}:1 selector" if array.sparsity else ""
        for name, what, each in (
            ("multiplier", f"{operand} multiplier, product widened to {sums}", self._multiplier()),
            ("adder", f"{sums} adder, {array.accumulator_latency_cycles} cycles deep", self._adder()),
            ("selector", f"activation register of {v} x {operand}{select}", self._selector()),
            ("weights", f"{array.weight_registers} weights with index, {sets}", self._weights()),
            ("sums", f"{array.interleave_depth} {sums} sums, operand and drain multiplexers", self._sums()),
            ("control", "control word, passed on and delayed beside the pipeline", self._control()),
        ):
            yield Component(f"uspe.{name}", n, what, each)
        yield Component(
            "stce.row_edge",
            array.rows,
            f"two windows of {array.interleave_depth} groups, skew queue",
            self._row(),
        )
        yield Component(
            "stce.column_edge", array.cols, "weight unpackers, accumulating adder, narrowing", self._column()
        )

    def _multiplier(self) -> Usage:
        multiplier = self._operators.multiply(self._operand_bits, self._array.multiplier_latency_cycles)
        return multiplier + self._operators.convert(self._operand_bits, self._sum_bits)

    def _adder(self) -> Usage:
        return self._operators.add(self._sum_bits, self._array.accumulator_latency_cycles)

    def _selector(self) -> Usage:
        passed_on = registers(self._vector * self._operand_bits)
        if not self._array.sparsity:
            return passed_on
        return passed_on + multiplexer(self._vector, self._operand_bits) + registers(self._operand_bits)

    def _weights(self) -> Usage:
        """The weight that moves down; in WS also those held, in distributed RAM (low) or in registers (high)."""
        bits = self._operand_bits + self._index_bits
        moving = registers(bits)
        if not self._ws:
            return moving
        depth = self._array.weight_registers * (1 + self._array.double_weights)
        return moving + (small_memory(depth, bits) | register_file(depth, bits))

    def _sums(self) -> Usage:
        """Sums in distributed RAM. An adder takes its own sum or zero, in WS also the one above.

        In OS sums shift down through a register; doubled accumulators are a second memory, which drains.
        """
        memory = small_memory(self._array.interleave_depth, self._sum_bits)
        adding = memory + multiplexer(2 + self._ws, self._sum_bits)
        if not self._os:
            return adding
        drain = registers(self._sum_bits) + multiplexer(2, self._sum_bits) + counter(self._lane_bits)
        return adding + drain + memory * int(self._array.double_accumulators)

    def _control(self) -> Usage:
        """The whole word moves right each cycle; all but the round goes along multiplier and adder."""
        pipeline = self._array.multiplier_latency_cycles + self._array.accumulator_latency_cycles
        return registers(self._control_bits) + delay_line(pipeline, self._control_bits - self._round_bits)

    def _row(self) -> Usage:
        """Window buffer of two halves, as wide as what enters or leaves it; the queue that skews the rows."""
        width = max(self._vector, self._port)
        depth = -(-2 * self._array.interleave_depth * self._group // width)
        window = small_memory(depth, width * self._operand_bits)
        leaving = multiplexer(-(-width // self._vector), self._vector * self._operand_bits)
        addresses = counter(depth.bit_length()) * 2
        return window + leaving + addresses + small_memory(self._skew_cycles(), self._control_bits)

    def _skew_cycles(self) -> int:
        """Longest delay from a row to the next: one in OS, all dependent rounds and the adder in WS."""
        array = self._array
        pace = max(array.interleave_depth, array.accumulator_latency_cycles)
        return (array.weight_registers - 1) * pace + array.accumulator_latency_cycles if self._ws else 1

    def _column(self) -> Usage:
        """Values and indices out of bank words; the adder that accumulates WS results; the way back to A bits."""
        word = tables().units.bank_word_bits.value
        skew = registers(self._control_bits)
        feeder = unpacker(word, self._operand_bits)
        if self._index_bits:
            feeder += unpacker(word, self._index_bits)
        result = self._operators.convert(self._sum_bits, self._operand_bits)
        if self._ws:
            result += self._adder() + registers(self._sum_bits)
        return skew + feeder + result
