"""`kernels/instruction.hpp`, generated from the instructions: `python -m hls.program.header` writes it."""

from __future__ import annotations

from pathlib import Path

from hls.program.encoding import MAGIC, VERSION, places
from hls.program.instruction import INSTRUCTIONS, LANES, MAX_STRIPS, Instruction, Opcode, Place

HEADER = Path(__file__).parents[1] / "kernels" / "instruction.hpp"


def header() -> str:
    """The text."""
    opcodes = [f"  OPCODE_{opcode.name} = {opcode.value}," for opcode in Opcode]
    structs = [line for kind in INSTRUCTIONS.values() if len(places(kind)) > 1 for line in _struct(kind)]
    lines = [
        "// Generated from hls/program/instruction.py, which says what the fields mean, by hls/program/header.py.",
        "#pragma once",
        '#include "types.hpp"',
        "",
        "namespace sat {",
        "",
        "struct Word {  // of memory, AXI_BYTES long",
        f"  uint32_t lane[{LANES}];",
        "};",
        "",
        'static_assert(sizeof(Word) == AXI_BYTES, "a word is a beat of the bus");',
        "",
        f"constexpr uint32_t PROGRAM_MAGIC = {MAGIC:#x}, PROGRAM_VERSION = {VERSION};",
        f"constexpr uint32_t MAX_STRIPS = {MAX_STRIPS};  // of COLS columns in a tile",
        "",
        "enum Opcode : uint32_t {",
        *opcodes,
        "};",
        "",
        "inline uint32_t opcode_of(const Word& word) { return word.lane[0] & 0xFF; }",
        "inline bool ends_packet(const Word& word) { return word.lane[0] >> 8 & 1; }",
        "",
        *structs,
        "}  // namespace sat",
    ]
    return "\n".join(lines) + "\n"


def _struct(kind: type[Instruction]) -> list[str]:
    name = f"{kind.__name__}Instruction"
    fields = {field: place for field, place in places(kind).items() if field != "end"}
    return [
        f"struct {name} {{",
        *(f"  {_type(place)} {field};" for field, place in fields.items()),
        "",
        f"  explicit {name}(const Word& word)",
        *(
            f"      {',' if at else ':'} {field}({_value(place)})" + (" {}" if at == len(fields) - 1 else "")
            for at, (field, place) in enumerate(fields.items())
        ),
        "};",
        "",
    ]


def _type(place: Place) -> str:
    if place.real:
        return "float"
    return "int32_t" if place.signed else "uint32_t"


def _value(place: Place) -> str:
    lane = f"word.lane[{place.lane}]"
    if place.real:
        return f"float_of({lane})"
    if place.signed:
        return f"int{place.width}_t({lane} >> {place.low})"
    if place.width == 32:
        return lane
    return f"{lane} >> {place.low} & {(1 << place.width) - 1:#x}"


if __name__ == "__main__":
    HEADER.write_text(header(), "utf-8")
