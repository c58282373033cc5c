"""Programs as words of memory: 64 bytes of header, then one word for each instruction.

Lanes of the header: magic ("SATP"), version, number of instructions, 0, then the SHA-256 of the configuration that
the program was made for, as 32 bytes. The last instruction is HALT.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from codesign.errors import SpecError
from hls.program.instruction import (
    INSTRUCTIONS,
    LANES,
    WORD_BYTES,
    Gemm,
    Halt,
    Instruction,
    LoadA,
    LoadB,
    Opcode,
    Place,
    Store,
)

MAGIC = 0x50544153
VERSION = 1
OVERLAPPING = (LoadA, LoadB, Gemm, Store)
"""Instructions that may share a packet, in their order in it."""

_HEADER = struct.Struct("<4I32s16x")
_LANES = struct.Struct(f"<{LANES}I")
_REAL = struct.Struct("<f")
_BITS = struct.Struct("<I")


@dataclass(frozen=True)
class Program:
    """Instructions for the configuration of hash `config` (32 bytes); `notes` say what begins at an instruction.

    Raises SpecError for packets that break a rule of `hls.program.instruction`.
    """

    config: bytes
    instructions: tuple[Instruction, ...]
    notes: Mapping[int, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.instructions or not isinstance(self.instructions[-1], Halt):
            raise SpecError("program: the last instruction is no HALT; append one")
        for number, packet in enumerate(packets(self.instructions)):
            if problem := _packet_problem(packet):
                raise SpecError(f"program: packet {number}: {problem}")

    def to_bytes(self) -> bytes:
        """The words of the program. Raises SpecError for a value that its field cannot hold."""
        header = _HEADER.pack(MAGIC, VERSION, len(self.instructions), 0, self.config)
        return header + b"".join(map(encode, self.instructions))

    @classmethod
    def from_bytes(cls, data: bytes) -> Program:
        """The inverse of `to_bytes`, without notes. Raises SpecError for what is no program."""
        if len(data) < WORD_BYTES or len(data) % WORD_BYTES:
            raise SpecError(f"program of {len(data)} bytes: expected a multiple of {WORD_BYTES}")
        magic, version, count, _, config = _HEADER.unpack(data[:WORD_BYTES])
        if (magic, version, count) != (MAGIC, VERSION, len(data) // WORD_BYTES - 1):
            raise SpecError(
                f"program: magic {magic:#x}, version {version}, {count} instructions in {len(data)} bytes; "
                f"expected {MAGIC:#x}, {VERSION} and all that follow"
            )
        words = range(WORD_BYTES, len(data), WORD_BYTES)
        return cls(config, tuple(decode(data[at : at + WORD_BYTES]) for at in words))


def packets(instructions: Sequence[Instruction]) -> Iterator[Sequence[Instruction]]:
    """Instructions that run at the same time."""
    begin = 0
    for at, instruction in enumerate(instructions, start=1):
        if instruction.end:
            yield instructions[begin:at]
            begin = at


def encode(instruction: Instruction) -> bytes:
    """The word of an instruction. Raises SpecError for a value that its field cannot hold."""
    lanes = [int(instruction.opcode)] + [0] * (LANES - 1)
    for name, place in places(type(instruction)).items():
        value = getattr(instruction, name)
        raw = _BITS.unpack(_REAL.pack(value))[0] if place.real else value
        low = -(1 << place.width - 1) if place.signed else 0
        if not low <= raw < low + (1 << place.width):
            raise SpecError(
                f"{instruction.opcode.name} {name}={value}: expected {low} to {low + (1 << place.width) - 1}; "
                "the tensor or tile is too large for the program's format"
            )
        lanes[place.lane] |= (raw & ((1 << place.width) - 1)) << place.low
    return _LANES.pack(*lanes)


def decode(word: bytes) -> Instruction:
    """The instruction of a word. Raises SpecError for an unknown opcode or bits that belong to no field."""
    lanes = _LANES.unpack(word)
    if lanes[0] & 0xFF not in INSTRUCTIONS:
        raise SpecError(f"opcode {lanes[0] & 0xFF}: expected one of: {', '.join(Opcode.__members__)}")
    kind = INSTRUCTIONS[Opcode(lanes[0] & 0xFF)]
    values: dict[str, Any] = {name: _value(lanes, place) for name, place in places(kind).items()}
    found = kind(**values)
    if encode(found) != word:
        raise SpecError(f"{found.opcode.name}: bits are set that belong to no field; assemble it again")
    return found


_PLACES: dict[Opcode, dict[str, Place]] = {
    opcode: {each.name: each.metadata["place"] for each in fields(kind)}
    for opcode, kind in INSTRUCTIONS.items()
}


def places(kind: type[Instruction]) -> dict[str, Place]:
    """Where the fields of an instruction lie, by name."""
    return _PLACES[kind.opcode]


def _value(lanes: Sequence[int], place: Place) -> int | float:
    raw = lanes[place.lane] >> place.low & ((1 << place.width) - 1)
    if place.real:
        return float(_REAL.unpack(_BITS.pack(raw))[0])
    return raw - (1 << place.width) if place.signed and raw >> place.width - 1 else raw


def _packet_problem(packet: Sequence[Instruction]) -> str:
    """Which rule a packet breaks, if any."""
    kinds = [type(each) for each in packet]
    if len(packet) > 1 and [kind for kind in OVERLAPPING if kind in kinds] != kinds:
        names = ", ".join(each.opcode.name for each in packet)
        return f"holds {names}; expected some of LOAD_A, LOAD_B, GEMM, STORE, in this order"
    by_kind = {type(each): each for each in packet}
    gemm, a, b, store = (by_kind.get(kind) for kind in (Gemm, LoadA, LoadB, Store))
    if not isinstance(gemm, Gemm):
        return ""
    loads_a = isinstance(a, LoadA) and a.half == gemm.half_a
    loads_b = isinstance(b, LoadB) and b.half == gemm.half_b
    if loads_a or loads_b:
        return "loads the half that its GEMM reads; expected the other one"
    if isinstance(store, Store) and store.half == gemm.half_out and not store.zero:
        return "stores the half that its GEMM writes; expected the other one"
    return ""
