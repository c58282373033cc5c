"""Checks `#pragma HLS` lines of C++ sources as Vitis HLS would, and more strictly: what it ignores is a problem here.

Checked are the grammar (`grammar.py`), the place of a pragma, whether the variables that it names exist, and the
canonical form of dataflow regions: declarations and calls of void functions, in a loop that counts from 0 by 1 to a
constant or an argument (DiagnosticHLSKinds.td of the same front end, at 14e9eba6).

Not checked, because it takes a compiler: types of variables, values of constants, members of classes, names in files
that `#include "..."` does not find, pragmas that macros or `_Pragma` make.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from codesign.input_files import read_file
from codesign.spec_errors import nearest, printable, shorten
from hls.pragmas.dataflow import dataflow_complaints
from hls.pragmas.grammar import PRAGMAS, Place
from hls.pragmas.line import Complaint, Line, Problem, read
from hls.pragmas.source import Kind, Scope, Token, is_method, locals_of, parameters, parse

MAX_BYTES = 4 << 20
"""Of a source file; headers of weights may be larger."""

_LEGAL = {
    Place.FUNCTION: {Kind.FUNCTION},
    Place.LOOP: {Kind.LOOP},
    Place.FUNCTION_OR_LOOP: {Kind.FUNCTION, Kind.LOOP},
    Place.ANYWHERE: set(Kind),
}


def check_pragmas(source: str | Path) -> list[Problem]:
    """All problems of a source, given as a text or as the path of a file. Raises SpecError if that cannot be read."""
    text, name, folder = source, "<source>", None
    if isinstance(source, Path):
        text, name, folder = _read(source), printable(str(source)), source.parent
    file = parse(str(text))
    included = _included_names(file, folder, set())
    return [
        Problem(name, line, *complaint)
        for scope in file.walk()
        for position, item in enumerate(scope.items)
        if isinstance(item, Token) and item.kind == "pragma"
        for line, complaint in _complaints(item, scope, position, included)
    ]


def _read(path: Path) -> str:
    return read_file(path, "a C++ source", MAX_BYTES).decode(errors="replace")


def _included_names(file: Scope, folder: Path | None, seen: set[Path]) -> set[str] | None:
    """What the files declare that `#include "..."` names; None if one of them is not found or too large."""
    names: set[str] = set()
    for item in file.items:
        if not (isinstance(item, Token) and item.kind == "include" and item.text.startswith('"')):
            continue
        path = folder / item.text.strip('"') if folder else None
        if path is None or not path.is_file() or not 0 < path.stat().st_size <= MAX_BYTES:
            return None
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        header = parse(_read(path))
        inner = _included_names(header, path.parent, seen)
        if inner is None:
            return None
        names |= inner | {
            name for scope in header.walk() if scope.kind is Kind.FILE for name in locals_of(scope)
        }
    return names


def _complaints(
    pragma: Token, scope: Scope, position: int, included: set[str] | None
) -> Iterator[tuple[int, Complaint]]:
    """Problems of one pragma, with their lines."""
    line = read(pragma.text)
    if line is None:
        return
    found = line.complaints or [*_place(line, scope)] or [*_names(line, scope, position, included)]
    yield from ((pragma.line, complaint) for complaint in found)
    if line.kind == "dataflow" and not found:
        yield from dataflow_complaints(scope, pragma.line)


def _place(line: Line, scope: Scope) -> Iterator[Complaint]:
    place = PRAGMAS[line.kind].place
    if scope.function is None:
        yield Complaint("pragma", "it outside of a function", "it in the body of a function")
    elif scope.kind not in _LEGAL[place]:
        yield Complaint(line.kind, f"it in the body of a {scope.kind}", f"it {place}")


def _names(line: Line, scope: Scope, position: int, included: set[str] | None) -> Iterator[Complaint]:
    """Ports and variables that are not declared, unless a class or a file that was not found may do so."""
    for variable in line.variables():
        match = re.match(r"\w+", variable)
        name = match[0] if match else ""
        if line.kind == "interface":
            ports = [*parameters(scope), "return"]
            if name not in ports:
                expected = f"a parameter of the function{nearest(name, ports)}"
                yield Complaint("interface port", shorten(repr(name)), expected)
        elif (names := _visible(scope, position, included)) is not None and name not in names:
            expected = f"a variable declared before it{nearest(name, names)}"
            yield Complaint(f"{line.kind} variable", shorten(repr(name)), expected)


def _visible(scope: Scope, position: int, included: set[str] | None) -> set[str] | None:
    """Names declared before item `position` of a scope, in it and around it; None if some cannot be known."""
    if included is None or any(around.kind is Kind.TYPE or is_method(around) for around in scope.enclosing):
        return None
    names = {"return"} | included
    end, inner = position, scope
    for around in scope.enclosing:
        if around is not inner:
            end = next(index for index, item in enumerate(around.items) if item is inner)
        names |= locals_of(around, end)
        inner = around
    return names
