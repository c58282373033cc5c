"""Structures of the fabric (registers, multiplexers, small memories ...) and block memories, as usages.

Counts follow from what a LUT can do (`operators.yaml`, `fabric`); where synthesis packs worse, the high value says
so. None of them ever falls when a size grows.
"""

from __future__ import annotations

from math import ceil

from codesign.resources.tables import tables
from codesign.resources.usage import Range, Status, Usage

DERIVED = frozenset({Status.DERIVED})


def registers(bits: int) -> Usage:
    """Flip-flops."""
    return Usage(ff=Range.exactly(bits), basis=DERIVED)


def multiplexer(inputs: int, width_bits: int) -> Usage:
    """An inputs:1 multiplexer. Low: a tree of 4:1 LUTs joined by the F7 to F9 multiplexers; high: as measured."""
    if inputs < 2:
        return Usage()
    fabric, measured = tables().fabric, tables().mux_16bit_luts
    if inputs == 2:
        low = ceil(width_bits / fabric.small_mux_bits_per_lut.value)
    else:
        low = width_bits * ceil(inputs / fabric.mux_inputs_per_lut.value)
    high = ceil(measured.at(inputs) * width_bits / 16)
    return Usage(lut=Range(low, max(low, high)), basis=DERIVED | measured.basis)


def comparator(width_bits: int) -> Usage:
    """Which of two magnitudes is larger. Low: two bits a LUT; high: one, as a subtractor takes."""
    per_lut = tables().fabric.compare_bits_per_lut.value
    return Usage(lut=Range(ceil(width_bits / per_lut), width_bits), basis=DERIVED)


def sorter(slots: int, item_bits: int, key_bits: int) -> Usage:
    """An insertion sorter, one item a cycle: a slot takes the item above it or the new one, or (not enabled) neither.

    An item carries a valid bit, which takes part in the comparison.
    """
    slot = registers(item_bits + 1) + multiplexer(2, item_bits + 1) + comparator(key_bits + 1)
    return slot * slots


def counter(bits: int) -> Usage:
    """A loadable counter: a LUT and a flip-flop for each bit."""
    return Usage(lut=Range.exactly(bits), ff=Range.exactly(bits), basis=DERIVED)


def delay_line(cycles: int, width_bits: int) -> Usage:
    """Words delayed by `cycles`: shift registers in LUTs, their last stage in flip-flops."""
    if cycles < 1:
        return Usage()
    luts = ceil((cycles - 1) / tables().fabric.shift_register_bits.value) * width_bits
    return Usage(lut=Range.exactly(luts), basis=DERIVED) + registers(width_bits)


def small_memory(depth: int, width_bits: int) -> Usage:
    """Distributed RAM with one read and one write a cycle and an output register; one word is the register alone.

    Of the LUTs in a slice one is lost to the write address. Low: no slice half empty; high: whole slices.
    """
    fabric = tables().fabric
    memory = registers(width_bits)
    if depth > 1:
        words = fabric.ram_bits_per_lut.value
        bits_per_lut = 2 if depth <= words // 2 else 1
        levels = ceil(depth / words)
        data_luts = ceil(width_bits / bits_per_lut)
        slices = ceil(data_luts / (fabric.slice_luts.value - 1))
        luts = Range(data_luts + slices, slices * fabric.slice_luts.value) * levels
        memory += Usage(lut=luts, basis=DERIVED) + multiplexer(levels, width_bits)
    return memory


def register_file(depth: int, width_bits: int) -> Usage:
    """Words in flip-flops, one of which a multiplexer picks."""
    return registers(depth * width_bits) + multiplexer(depth, width_bits)


def unpacker(word_bits: int, item_bits: int) -> Usage:
    """Takes one item a cycle out of a word: the word, a multiplexer over its items, a counter."""
    items = word_bits // item_bits
    return registers(word_bits) + multiplexer(items, item_bits) + counter((items - 1).bit_length())


def rotator(words: int, word_bits: int) -> Usage:
    """Rotates a row of words by any number: pipelined stages of 4:1 multiplexers."""
    radix = tables().fabric.mux_inputs_per_lut.value
    stages = ceil((words - 1).bit_length() / (radix - 1).bit_length())
    return (multiplexer(radix, words * word_bits) + registers(words * word_bits)) * stages


def block_memory(depth: int, width_bits: int) -> Usage:
    """BRAM with one read and one write a cycle, at the best aspect ratio, half blocks included."""
    memories = tables().memories
    whole = memories.bram36.blocks(depth, width_bits)
    halves = memories.bram36_half.blocks(depth, width_bits)
    return Usage(bram36=Range.exactly(min(whole, halves / 2)), basis=memories.bram36.basis)


def ultra_memory(depth: int, width_bits: int) -> Usage:
    """URAM with one read and one write a cycle."""
    uram = tables().memories.uram288
    return Usage(uram288=Range.exactly(uram.blocks(depth, width_bits)), basis=uram.basis)
