"""Programs as text: one instruction a line, `OPCODE field=value ...`.

Fields that are 0 are left out; a line that ends in `&` shares a packet with the next. Text after `#` is a comment.
The first line is `.program VERSION CONFIG`, the configuration's hash in hexadecimal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from codesign.errors import SpecError
from hls.program.encoding import VERSION, Program, places
from hls.program.instruction import INSTRUCTIONS, Instruction, Opcode, Place

_TOGETHER = "&"


def disassemble(program: Program) -> str:
    """The text of a program, its notes as comments; `assemble` is the inverse."""
    lines = [f".program {VERSION} {program.config.hex()}"]
    for at, instruction in enumerate(program.instructions):
        if at in program.notes:
            lines += ["", f"# {program.notes[at]}"]
        lines.append(_line(instruction))
    return "\n".join(lines) + "\n"


def assemble(text: str) -> Program:
    """Read a program's text. Raises SpecError, with the line, for what is none."""
    lines = [
        (number, line.partition("#")[0].split()) for number, line in enumerate(text.splitlines(), start=1)
    ]
    (_, header), *body = [(number, words) for number, words in lines if words] or [(0, [])]
    if header[:2] != [".program", str(VERSION)] or len(header) != 3:
        raise SpecError(
            f"program text: first line is {' '.join(header)!r}, expected .program {VERSION} CONFIG"
        )
    try:
        config = bytes.fromhex(header[2])
    except ValueError:
        raise SpecError(f"program text: configuration {header[2]!r}: expected hexadecimal digits") from None
    return Program(config, tuple(_instruction(number, words) for number, words in body))


def _line(instruction: Instruction) -> str:
    values = ((name, getattr(instruction, name)) for name in places(type(instruction)) if name != "end")
    words = [instruction.opcode.name, *(f"{name}={value}" for name, value in values if value)]
    return " ".join(words if instruction.end else [*words, _TOGETHER])


def _instruction(number: int, words: list[str]) -> Instruction:
    name, *assignments = words
    if name not in Opcode.__members__:
        raise SpecError(
            f"program text, line {number}: {name!r}: expected one of: {', '.join(Opcode.__members__)}"
        )
    kind = INSTRUCTIONS[Opcode[name]]
    end = assignments[-1:] != [_TOGETHER]
    return kind(end=int(end), **dict(_fields(number, kind, assignments if end else assignments[:-1])))


def _fields(number: int, kind: type[Instruction], assignments: list[str]) -> Iterator[tuple[str, Any]]:
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        place = places(kind).get(name)
        if place is None or name == "end":
            raise SpecError(
                f"program text, line {number}: {kind.opcode.name} has no field {name!r}; remove it"
            )
        yield name, _number(number, assignment, value, place)


def _number(number: int, assignment: str, value: str, place: Place) -> int | float:
    try:
        return float(value) if place.real else int(value, 0)
    except ValueError:
        raise SpecError(f"program text, line {number}: {assignment!r}: expected a number") from None
