"""The instructions of the exported accelerator. This text is normative.

An instruction is one AXI word: 16 lanes of 32 bits, little-endian. Lane 0 holds the opcode (bits 0-7), `end` (bit 8)
and flags; where other fields lie is told by the classes below. Unused bits are zero. Integers are unsigned unless
marked signed, `real` fields are FP32.

**Memory** is one array of words of 64 bytes. A *word address* counts words; tensors start at one. Offsets and
strides count elements of a tensor from there, or of compact weights N:M groups.

**Packets.** Instructions up to and including the next one with `end` set form a packet and run at the same time; the
next packet waits for all of them. A packet holds at most one each of LOAD_A, LOAD_B, GEMM and STORE, in this order,
or one of the others alone. Each buffer has two halves; in a packet, LOAD_A and LOAD_B fill other halves than its GEMM
reads, STORE reads another half than its GEMM writes, and what it stores is not loaded. So the result of a packet does
not depend on which of its instructions is faster.

**Sums.** LOAD_A, LOAD_B and GEMM have tiles of k in the order of `codesign.compute.order`: taps, then channels,
numbered without gaps and cut into groups of m. The last group is filled up with +0; dense groups may straddle taps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple

LANES = 16
WORD_BYTES = 64
MAX_STRIPS = 64
"""Most blocks of as many columns as the array has in a tile: the kernels hold a bias for each of their columns."""


class Opcode(IntEnum):
    """What an instruction does."""

    HALT = 0
    LOAD_A = 1
    LOAD_B = 2
    GEMM = 3
    STORE = 4
    UPDATE = 5
    PRUNE = 6
    VECTOR = 7


class Place(NamedTuple):
    """Where a field lies: bits `low` to `low + width - 1` of a lane; `real` is FP32."""

    lane: int
    low: int = 0
    width: int = 32
    signed: bool = False
    real: bool = False


def _at(lane: int, low: int = 0, width: int = 32, *, signed: bool = False, real: bool = False) -> Any:
    return field(default=0.0 if real else 0, metadata={"place": Place(lane, low, width, signed, real)})


def _flag(bit: int) -> Any:
    return _at(0, bit, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """Base of all instructions. `end`: the packet ends here."""

    opcode: ClassVar[Opcode]
    end: int = field(default=1, metadata={"place": Place(0, 8, 1)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt(Instruction):
    """The end of the program."""

    opcode: ClassVar[Opcode] = Opcode.HALT


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadA(Instruction):
    """Gather a tile of FP16 A from an image (B, height, width, stored_channels), zeros beyond its borders.

    Pixel p of the product, b * grid_h * grid_w + gy * grid_w + gx, and tap ty * taps_w + tx meet at image pixel
    (gy * stride_y + origin_y + ty * step_y, gx * stride_x + origin_x + tx * step_x) of sample b. The tile has all
    taps, `pixels` from pixel_first and `channels` from channel_first: pixels are its rows and (tap, channel) is k or,
    `transposed`, the other way round. A linear layer has images, grids and windows of one pixel.
    """

    opcode: ClassVar[Opcode] = Opcode.LOAD_A
    half: int = _flag(9)
    transposed: int = _flag(10)
    dataflow: int = _flag(11)  # 0 WS, 1 OS: how the tile is spread over the banks
    base: int = _at(1)
    stored_channels: int = _at(2)
    height: int = _at(3, 0, 16)
    width: int = _at(3, 16, 16)
    grid_h: int = _at(4, 0, 16)
    grid_w: int = _at(4, 16, 16)
    taps_h: int = _at(5, 0, 16)
    taps_w: int = _at(5, 16, 16)
    step_y: int = _at(6, 0, 16, signed=True)
    step_x: int = _at(6, 16, 16, signed=True)
    origin_y: int = _at(7, 0, 16, signed=True)
    origin_x: int = _at(7, 16, 16, signed=True)
    stride_y: int = _at(8, 0, 16)
    stride_x: int = _at(8, 16, 16)
    pixel_first: int = _at(9)
    pixels: int = _at(10)
    channel_first: int = _at(11)
    channels: int = _at(12)
    m: int = _at(13)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadB(Instruction):
    """Load a tile of B. Unit (k2, k1, k0) of column j lies at offset + j * column_stride + sum of k_d * stride_d.

    stride0 is 1 or, of a dense tile, column_stride is.
    Dense (n == m), a unit is an FP16 value, and units are numbered into groups of m in the order of k2, k1, k0.
    Compact, a unit is a group: its n values at `values`, its n indices of ceil(log2 m) bits at `indices`, the streams
    of `codesign.nm.format`.
    """

    opcode: ClassVar[Opcode] = Opcode.LOAD_B
    half: int = _flag(9)
    values: int = _at(1)
    indices: int = _at(2)
    offset: int = _at(3)
    n: int = _at(4, 0, 16)
    m: int = _at(4, 16, 16)
    count0: int = _at(5)
    stride0: int = _at(6)
    count1: int = _at(7)
    stride1: int = _at(8)
    count2: int = _at(9)
    stride2: int = _at(10)
    columns: int = _at(11)
    column_stride: int = _at(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm(Instruction):
    """Multiply `rows` of A by `columns` of B over `groups` of m. `clear`: sums start at +0, else at what is there."""

    opcode: ClassVar[Opcode] = Opcode.GEMM
    half_a: int = _flag(9)
    half_b: int = _flag(10)
    half_out: int = _flag(11)
    dataflow: int = _flag(12)
    clear: int = _flag(13)
    n: int = _at(1, 0, 16)
    m: int = _at(1, 16, 16)
    rows: int = _at(2)
    groups: int = _at(3)
    columns: int = _at(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store(Instruction):
    """Store a tile of sums, or of `zero`s, narrowed to FP16 or, `wide`, as FP32.

    Row i of the tile is row r = row_first + i = (r2 * count1 + r1) * count0 + r0, and its column j goes to
    offset + j * column_stride + sum of r_d * stride_d, where column_stride is 1 or else stride0 is, and the tile has
    whole rows r0. `biased`: the FP32 vector at `bias`, from its element bias_first, is added to the columns before.
    """

    opcode: ClassVar[Opcode] = Opcode.STORE
    half: int = _flag(9)
    wide: int = _flag(10)
    biased: int = _flag(11)
    zero: int = _flag(12)
    base: int = _at(1)
    offset: int = _at(2)
    bias: int = _at(3)
    bias_first: int = _at(4)
    row_first: int = _at(5)
    rows: int = _at(6)
    count0: int = _at(7)
    stride0: int = _at(8)
    count1: int = _at(9)
    stride1: int = _at(10)
    stride2: int = _at(11)
    columns: int = _at(12)
    column_stride: int = _at(13)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Instruction):
    """An SGD step of `codesign.compute.optimizers` over `count` parameters, FP32 weight and velocity in place.

    The gradient is FP16 or, `wide`, FP32. `decays` and `moves` switch weight decay and momentum; `narrows`: the new
    weight is also stored as FP16, at `result`.
    """

    opcode: ClassVar[Opcode] = Opcode.UPDATE
    decays: int = _flag(9)
    moves: int = _flag(10)
    wide: int = _flag(11)
    narrows: int = _flag(12)
    weight: int = _at(1)
    velocity: int = _at(2)
    gradient: int = _at(3)
    result: int = _at(4)
    count: int = _at(5)
    unscale: float = _at(6, real=True)
    decay: float = _at(7, real=True)
    momentum: float = _at(8, real=True)
    step: float = _at(9, real=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(Instruction):
    """Prune FP16 `source` n:m into the streams of `codesign.nm.format`, from `values` and `indices` on.

    The last word of each stream is filled up with zeros.
    Member t of group g of vector (v1, v0) is v1 * outer_stride + v0 * inner_stride + (g * m + t) * member_stride.
    """

    opcode: ClassVar[Opcode] = Opcode.PRUNE
    source: int = _at(1)
    values: int = _at(2)
    indices: int = _at(3)
    n: int = _at(4, 0, 16)
    m: int = _at(4, 16, 16)
    outer: int = _at(5)
    outer_stride: int = _at(6)
    inner: int = _at(7)
    inner_stride: int = _at(8)
    groups: int = _at(9)
    member_stride: int = _at(10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector(Instruction):
    """Operation `op` of `codesign.compute.vector_unit` on tensors of rows x channels at word addresses.

    What y, z, out2 and the parameters p0 to p6 (raw 32 bits) mean depends on the operation.
    """

    opcode: ClassVar[Opcode] = Opcode.VECTOR
    op: int = _at(1)
    x: int = _at(2)
    y: int = _at(3)
    z: int = _at(4)
    out: int = _at(5)
    out2: int = _at(6)
    rows: int = _at(7)
    channels: int = _at(8)
    p0: int = _at(9)
    p1: int = _at(10)
    p2: int = _at(11)
    p3: int = _at(12)
    p4: int = _at(13)
    p5: int = _at(14)
    p6: int = _at(15)


INSTRUCTIONS: dict[Opcode, type[Instruction]] = {
    each.opcode: each for each in (Halt, LoadA, LoadB, Gemm, Store, Update, Prune, Vector)
}
