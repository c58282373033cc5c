"""What the pragma checker needs to know of a C++ source: its scopes, what they declare, and where pragmas stand.

This is no compiler. Comments and branches that synthesis does not see (`#ifndef __SYNTHESIS__`, `#if 0`) are dropped,
macros are not expanded, and whatever the scanner does not understand becomes a statement like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<space>\s+ | //[^\n]* | /\*.*?(?:\*/|\Z))
    | (?P<directive>\#(?:\\\r?\n|[^\n])*)
    | (?P<text>R"\((?:.*?)\)" | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*')
    | (?P<name>[^\W\d]\w*)
    | (?P<number>\.?\d(?:[eEpP][+-]|'\w|[\w.])*)
    | (?P<sign>::|->|\+\+|--|[-+*/%<>=!]=|&&|\|\||.)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"//.*|/\*.*?\*/", re.DOTALL)
_UNSEEN = re.compile(r"ifndef\s+__SYNTHESIS__|if\s+!\s*defined\s*\(?\s*__SYNTHESIS__\s*\)?|if\s+0")
_SEEN = re.compile(r"ifdef\s+__SYNTHESIS__|if\s+defined\s*\(?\s*__SYNTHESIS__\s*\)?|if\s+1")

_OPENING, _CLOSING = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
_LOOPS = {"for", "while", "do"}
_BRANCHES = {"if", "else", "switch", "try", "catch", "case", "default"}
_TYPES = {"class", "struct", "union", "enum"}
_NOT_A_TYPE = {
    "return",
    "goto",
    "delete",
    "throw",
    "using",
    "typedef",
    "namespace",
    "template",
    "new",
    "else",
    "case",
}


class Token(NamedTuple):
    """A word, number, literal, sign or pragma (its text without `#pragma`), and its line."""

    kind: str
    text: str
    line: int


Tokens = Sequence[Token]


class Kind(StrEnum):
    """What braces enclose; `FILE` is a namespace, too."""

    FILE = "file"
    TYPE = "class"
    FUNCTION = "function"
    LOOP = "loop"
    BLOCK = "block"


@dataclass
class Scope:
    """A pair of braces: the tokens before it, and pragmas (`Token`), statements and scopes inside, in order."""

    kind: Kind
    header: Tokens = ()
    parent: Scope | None = None
    items: list[Token | Tokens | Scope] = field(default_factory=list)

    @property
    def enclosing(self) -> Iterator[Scope]:
        """This scope and all around it, from the inside."""
        scope: Scope | None = self
        while scope:
            yield scope
            scope = scope.parent

    @property
    def function(self) -> Scope | None:
        """The innermost function around it."""
        return next((scope for scope in self.enclosing if scope.kind is Kind.FUNCTION), None)

    def walk(self) -> Iterator[Scope]:
        """This scope and all inside, in the order of the source."""
        waiting = [self]
        while waiting:  # not recursively: braces may be nested deeply
            scope = waiting.pop()
            yield scope
            waiting += [item for item in reversed(scope.items) if isinstance(item, Scope)]


def tokenize(source: str) -> Iterator[Token]:
    """Tokens that synthesis sees, `pragma` and `include` directives among them; other directives are dropped."""
    line = 1
    branches: list[bool | None] = []
    for match in _TOKEN.finditer(source):
        kind, text = str(match.lastgroup), match.group()
        if kind == "directive":
            directive = _COMMENT.sub(" ", re.sub(r"\\\r?\n", " ", text))[1:].strip()
            _follow_branches(branches, directive)
            word, _, rest = directive.partition(" ")
            kind, text = (word, rest.strip()) if word in ("pragma", "include") else ("space", "")
        if kind != "space" and False not in branches:
            yield Token(kind, '""' if kind == "text" else text, line)
        line += match.group().count("\n")


def _follow_branches(branches: list[bool | None], directive: str) -> None:
    """Keep for each open conditional whether synthesis sees its branch; None: not known, both are kept."""
    if directive.startswith("if"):
        branches.append(
            False if _UNSEEN.fullmatch(directive) else True if _SEEN.fullmatch(directive) else None
        )
    elif directive.startswith("el") and branches:
        branches[-1] = None if branches[-1] is None else not branches[-1]
    elif directive.startswith("endif") and branches:
        branches.pop()


def parse(source: str) -> Scope:
    """The scopes of a source."""
    file = scope = Scope(Kind.FILE)
    pending: list[Token] = []
    nested = 0  # parentheses and initializers, whose semicolons and braces belong to the statement
    for token in tokenize(source):
        if token.kind in ("pragma", "include"):
            scope.items.append(token)
        elif token.text == "{" and not nested and (kind := _kind(pending, scope)):
            scope.items.append(inner := Scope(kind, pending, scope))
            scope, pending = inner, []
        elif token.text == "}" and not nested:
            _finish(scope, pending)
            scope, pending = scope.parent or scope, []
        elif token.text == ";" and not nested:
            _finish(scope, pending)
            pending = []
        else:
            nested = max(0, nested + (token.text in _OPENING) - (token.text in _CLOSING))
            pending.append(token)
    _finish(file, pending)
    return file


def _finish(scope: Scope, pending: list[Token]) -> None:
    if pending:
        scope.items.append(pending)


def _kind(header: Tokens, outer: Scope) -> Kind | None:
    """What a brace behind `header` opens, None for an initializer."""
    words = [token.text for token in strip_prefixes(header)]
    first = words[0] if words else ""
    if not words or first in _BRANCHES:
        return Kind.BLOCK
    if first in _LOOPS:
        return Kind.LOOP
    if first == "namespace" or words == ["extern", '""']:
        return Kind.FILE
    if "(" not in words:
        return Kind.TYPE if _TYPES & set(words) and "=" not in words else None
    if outer.function is None:
        in_constructor = ":" in words[words.index("(") :] and header[-1].kind == "name"
        return None if in_constructor else Kind.FUNCTION
    return Kind.FUNCTION if "[" in words and words[-1] in (")", "mutable") else None  # a lambda


def strip_prefixes(tokens: Tokens) -> Tokens:
    """Without labels and `template<...>` in front."""
    while len(tokens) > 1:
        if tokens[0].text == "template" and tokens[1].text == "<":
            tokens = tokens[closing(tokens, 1) + 1 :]
        elif tokens[0].kind == "name" and tokens[1].text == ":":
            tokens = tokens[2:]
        else:
            break
    return tokens


def closing(tokens: Tokens, opening: int) -> int:
    """Index of the bracket that closes the one at `opening`, or of the last token."""
    if tokens[opening].text == "<":
        pairs = {"<": 1, ">": -1, "(": 1, ")": -1}
    else:
        pairs = dict.fromkeys(_OPENING, 1) | dict.fromkeys(_CLOSING, -1)
    depth = 0
    for index in range(opening, len(tokens)):
        depth += pairs.get(tokens[index].text, 0)
        if depth <= 0:
            return index
    return len(tokens) - 1


def split(tokens: Tokens, sign: str = ",") -> list[Tokens]:
    """The parts between signs that stand in no bracket; between commas, `<` opens a template list."""
    opening = (*_OPENING, "<") if sign == "," else tuple(_OPENING)
    parts: list[list[Token]] = [[]]
    index = 0
    while index < len(tokens):
        end = closing(tokens, index) if tokens[index].text in opening else index
        if tokens[index].text == sign:
            parts.append([])
        else:
            parts[-1] += tokens[index : end + 1]
        index = end + 1
    return [part for part in parts if part]


def parenthesized(header: Tokens) -> Tokens:
    """What the first parentheses hold that stand in no template list."""
    header = strip_prefixes(header)
    opening = len(function_name(header))
    return header[opening + 1 : closing(header, opening)] if opening < len(header) else ()


def parameters(function: Scope) -> list[str]:
    """Names of the parameters of a function."""
    return [name for part in split(parenthesized(function.header)) if (name := _last_name(part))]


def locals_of(scope: Scope, end: int | None = None) -> set[str]:
    """Names that a scope declares: parameters, in the header of a loop, in its items before `end`."""
    statements = [item for item in scope.items[:end] if not isinstance(item, (Token, Scope))]
    if scope.kind is Kind.LOOP:
        statements += split(parenthesized(scope.header), ";")[:1]
    names = {name for statement in statements for name in declared(statement)}
    return names | set(parameters(scope)) if scope.kind is Kind.FUNCTION else names


def function_name(header: Tokens) -> Tokens:
    """What stands before the parameters in the header of a function, or before the arguments in a call."""
    header = strip_prefixes(header)
    index = 0
    while index < len(header) and header[index].text != "(":
        index = (closing(header, index) if header[index].text == "<" else index) + 1
    return header[:index]


def is_method(scope: Scope) -> bool:
    """Whether this is the body of a function `A::f`."""
    before = function_name(scope.header)
    return scope.kind is Kind.FUNCTION and len(before) > 1 and before[-2].text == "::"


def _last_name(declarator: Tokens) -> str:
    """The name that `T (&name)[N] = value` declares."""
    names = []
    index = 0
    while index < len(declarator) and declarator[index].text not in ("=", "["):
        if declarator[index].text == "<":
            index = closing(declarator, index)
        if declarator[index].kind == "name":
            names.append(declarator[index].text)
        index += 1
    return names[-1] if names else ""


def declared(statement: Tokens) -> list[str]:
    """Names that a statement declares, none if it is no declaration: a type, then a name."""
    statement = strip_prefixes(statement)
    if not statement or statement[0].kind != "name" or statement[0].text in _NOT_A_TYPE:
        return []
    index = words = 0
    while index < len(statement):
        token = statement[index]
        if token.text == "<":
            index = closing(statement, index)
        elif token.kind == "name" and (index == 0 or statement[index - 1].text != "::"):
            words += 1
        elif token.kind != "name" and token.text not in ("*", "&", "&&", "::"):
            break
        index += 1
    if words < 2 or statement[index - 1].kind != "name":
        return []
    rest = split(statement[index - 1 :])
    return [name for part in rest if (name := next((t.text for t in part if t.kind == "name"), ""))]
