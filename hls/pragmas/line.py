"""One pragma line: its options, and what the grammar has against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from codesign.spec_errors import nearest, shorten
from hls.pragmas.grammar import INTERFACE_MODES, PRAGMAS, PREFIXES, RETURN_MODES, Form, Option
from hls.pragmas.source import Token, closing, split, tokenize

_BINARY = {"+", "-", "*", "/", "%", "<=", ">=", "==", "!=", "&&", "||", "&", "|", "^", "?", ":"}
_JOINS = {"::", ".", "->"}
_DIGITS = {"0x": 16, "0b": 2}


class Problem(NamedTuple):
    """What is wrong with a pragma, what was found and what is expected there."""

    file: str
    line: int
    what: str
    got: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}: got {self.got}, expected {self.expected}"


class Complaint(NamedTuple):
    """A problem whose place is not known yet."""

    what: str
    got: str
    expected: str


@dataclass
class Line:
    """A pragma line that was read: options by name, a bare value of a choice under the name of the choice."""

    kind: str
    options: dict[str, str] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)

    def variables(self) -> Iterator[str]:
        """The variables that it names: all but members and elements, which begin with theirs."""
        for name, option in PRAGMAS[self.kind].options.items():
            if option.form is Form.VARIABLE and name in self.options:
                yield from self.options[name].split(",")


def read(text: str) -> Line | None:
    """Read what follows `#pragma`; None if it is not for HLS. Everything that the grammar refuses is a complaint."""
    tokens = list(tokenize(text))
    prefix = tokens[0].text if tokens else ""
    if prefix.upper() not in PREFIXES:
        return None
    kind = tokens[1].text.lower() if len(tokens) > 1 else ""
    line = Line(kind)
    if prefix not in PREFIXES:
        line.complaints.append(Complaint("pragma", prefix, f"{prefix.upper()}, or it is ignored"))
    if kind not in PRAGMAS:
        got = shorten(repr(kind)) if kind else "nothing"
        expected = f"a pragma of Vitis HLS{nearest(kind, PRAGMAS)}"
        return Line("", complaints=[*line.complaints, Complaint("pragma name", got, expected)])
    if PRAGMAS[kind].instead:
        line.complaints.append(Complaint("deprecated pragma", kind, f"{PRAGMAS[kind].instead} in its place"))
        return line
    _read_options(line, tokens[2:])
    if not line.complaints:
        line.complaints += _missing(line)
        line.complaints += _conflicts(line)
    return line


def _read_options(line: Line, tokens: Sequence[Token]) -> None:
    index = 0
    while index < len(tokens):
        word = tokens[index].text
        has_value = index + 1 < len(tokens) and tokens[index + 1].text == "="
        end = _value_end(tokens, index + 2) if has_value else index + 1
        value = tokens[index + 2 : end] if has_value else None
        if complaint := _read_option(line, word, value):
            line.complaints.append(complaint)
            return  # what follows cannot be told from a value
        index = end


def _read_option(line: Line, word: str, value: Sequence[Token] | None) -> Complaint | None:
    """Note one option of the line, or say what is wrong with it."""
    legal = _options(line)
    name = word.lower()
    if value is None and (choices := [n for n, o in legal.items() if o.bare and name in o.values]):
        name, text = choices[0], name
    elif name not in legal:
        expected = f"one of {', '.join(legal)}" if legal else "no options"
        return Complaint(f"option of {line.kind}", shorten(repr(word)), expected + nearest(name, legal))
    elif legal[name].form is Form.FLAG:
        if value is not None:
            return Complaint(f"{line.kind} {name}", "a value", "a bare word")
        text = ""
    else:
        text = "".join(token.text for token in value or ())
        if not (value and _fits(legal[name], value, text)):
            return Complaint(
                f"{line.kind} {name}", shorten(repr(text)) if text else "no value", _wanted(legal[name])
            )
        text = text.lower() if legal[name].form is Form.CHOICE else text
    if name in line.options:
        return Complaint(f"{line.kind} {name}", "it twice", "it once")
    if legal[name].instead:
        return Complaint(f"deprecated option of {line.kind}", name, f"{legal[name].instead} in its place")
    line.options[name] = text
    return None


def _options(line: Line) -> Mapping[str, Option]:
    """Legal options; those of `interface` depend on its mode, which must come first."""
    options = PRAGMAS[line.kind].options
    if line.kind != "interface":
        return options
    if "mode" not in line.options:
        return {"mode": options["mode"]}
    return {**options, **INTERFACE_MODES[line.options["mode"]]}


def _wanted(option: Option) -> str:
    if option.form is Form.CHOICE:
        return f"one of {', '.join(option.values)}"
    least = "" if option.least is None else f" of at least {option.least}"
    return option.form + least


def _fits(option: Option, value: Sequence[Token], text: str) -> bool:
    parts = split(value)
    if text.endswith(","):
        return False
    match option.form:
        case Form.CHOICE:
            return text.lower() in option.values
        case Form.INTEGER:
            return len(parts) == 1 and _is_integer(text, value, option.least)
        case Form.INTEGERS:
            return all(_is_integer("".join(token.text for token in part), part, None) for part in parts)
        case Form.NUMBER:
            return len(parts) == 1 and value[0].kind != "text"
        case Form.NAME:
            return all(part[0].kind in ("name", "text") for part in parts)
    return all(part[0].kind == "name" for part in parts)


def _is_integer(text: str, value: Sequence[Token], least: int | None) -> bool:
    """Whether this may be an integer constant; only the value of a literal is known."""
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-").lower().rstrip("ul").replace("'", "")
    try:
        number = sign * int(digits, _DIGITS.get(digits[:2], 10))
    except ValueError:
        literals = [token.text for token in value if token.kind == "number"]
        is_fraction = any("." in literal for literal in literals)
        return not is_fraction and value[0].kind != "text" and len(value) > len(literals)
    return least is None or number >= least


def _value_end(tokens: Sequence[Token], index: int) -> int:
    """Index after the value at `index`: operands, in brackets or joined by operators or commas."""
    while index < len(tokens):
        while index < len(tokens) and tokens[index].text in ("-", "+", "!", "~"):
            index += 1
        index = _operand_end(tokens, index)
        if index >= len(tokens) or tokens[index].text not in (*_BINARY, ","):
            break
        index += 1
    return min(index, len(tokens))


def _operand_end(tokens: Sequence[Token], index: int) -> int:
    """Index after a number, a text, something in parentheses, or a name with its members, elements and arguments."""
    if index < len(tokens) and tokens[index].text == "(":
        return closing(tokens, index) + 1
    index += 1
    while index < len(tokens):
        if tokens[index].text in _JOINS:
            index += 2
        elif tokens[index].text in ("[", "(", "<"):
            index = closing(tokens, index) + 1
        else:
            break
    return index


def _missing(line: Line) -> Iterator[Complaint]:
    for name, option in _options(line).items():
        if option.required and name not in line.options:
            yield Complaint(line.kind, f"no {name}", f"{name}= with {option.form}")
    if line.kind == "interface" and "mode" not in line.options:
        yield Complaint(line.kind, "no mode", f"one of {', '.join(INTERFACE_MODES)} first")


def _conflicts(line: Line) -> Iterator[Complaint]:
    """Options that exclude each other."""
    given = line.options
    is_array = line.kind in ("array_partition", "array_reshape")
    if is_array and "factor" in given and given.get("type", "complete") == "complete":
        yield Complaint(f"{line.kind} factor", "type complete", "block or cyclic with a factor")
    if line.kind == "dependence" and ("variable" in given) == ("class" in given):
        yield Complaint("dependence", "both" if "class" in given else "neither", "one of variable and class")
    if line.kind == "pipeline":
        if "style" in given and "off" in given:
            yield Complaint("pipeline style", "off beside it", "one of the two")
        if "rewind" in given and given.get("style", "stp") != "stp":
            yield Complaint("pipeline rewind", f"style={given['style']}", "style=stp")
    if line.kind == "interface" and given.get("port") == "return" and given["mode"] not in RETURN_MODES:
        yield Complaint("interface port=return", given["mode"], f"one of {', '.join(sorted(RETURN_MODES))}")
    bounds = [(name, int(given[name])) for name in ("min", "avg", "max") if given.get(name, "").isdecimal()]
    if bounds != sorted(bounds, key=lambda bound: bound[1]):
        yield Complaint(line.kind, ", ".join(f"{n}={v}" for n, v in bounds), "them in ascending order")
