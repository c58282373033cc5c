"""The canonical form of a dataflow region: declarations and calls of void functions, perhaps in a counting loop."""

from __future__ import annotations

from collections.abc import Iterator

from hls.pragmas.line import Complaint
from hls.pragmas.source import (
    Kind,
    Scope,
    Token,
    Tokens,
    declared,
    function_name,
    locals_of,
    parameters,
    parenthesized,
    split,
    strip_prefixes,
)

_REGION, _LOOP = "dataflow region", "dataflow loop"
_FORM = "declarations and calls of void functions only"
_VOID = "functions that return void"
_KEYWORDS = {"for", "while", "if", "switch", "return", "do", "else"}


def dataflow_complaints(region: Scope, pragma_line: int) -> Iterator[tuple[int, Complaint]]:
    """What in the body of a region, or in the header of its loop, is not canonical, with the line."""
    returning = _returning(region)
    for item in region.items:
        if isinstance(item, Scope):
            first = strip_prefixes(item.header)
            found = f"`{first[0].text}`" if first else "a block"
            yield (first[0].line if first else pragma_line), Complaint(_REGION, found, _FORM)
        elif not isinstance(item, Token):
            check = _declaration if declared(item) else _call
            yield from ((item[0].line, complaint) for complaint in check(item, returning))
    if region.kind is Kind.LOOP:
        yield from ((region.header[0].line, complaint) for complaint in _counter(region))


def _declaration(statement: Tokens, returning: set[str]) -> Iterator[Complaint]:
    words = {token.text for token in statement}
    if statement[0].text == "static" and not words & {"const", "[", "<"}:
        yield Complaint(_REGION, "a static scalar, which is treated as local", "no static scalars")
    _, *values = split(statement, "=")
    for name in (_plain_name(function_name(value)) for value in values):
        if name in returning:
            yield Complaint(_REGION, f"a value of `{name}`", _VOID)


def _call(statement: Tokens, returning: set[str]) -> Iterator[Complaint]:
    """`f(...)`, `a::f<T>(...)`, `object.f(...)`; also `typedef` and `using`, which are declarations."""
    words = [token.text for token in statement]
    name = function_name(statement)
    is_call = (
        words[-1] == ")" and 0 < len(name) < len(statement) and "=" not in {token.text for token in name}
    )
    if words[0] in ("typedef", "using"):
        return
    if not is_call or name[0].kind != "name" or words[0] in _KEYWORDS:
        yield Complaint(_REGION, f"`{' '.join(words[:6])}`", _FORM)
    elif _plain_name(name) in returning:
        yield Complaint(_REGION, f"`{_plain_name(name)}`, which returns a value", _VOID)


def _plain_name(name: Tokens) -> str:
    """`f` of `a::f<T>`."""
    end = next((index for index, token in enumerate(name) if token.text == "<"), len(name))
    return name[end - 1].text if end else ""


def _returning(region: Scope) -> set[str]:
    """Names of the functions of this file that return a value; a deduced type, or `enable_if`'s, may be void."""
    *_, file = region.enclosing
    names: dict[str, bool] = {}
    for scope in file.walk():
        if scope.kind is Kind.FUNCTION and (name := function_name(scope.header)):
            names[name[-1].text] = not {"void", "auto", "type"} & {token.text for token in name}
    return {name for name, returns in names.items() if returns}


def _counter(region: Scope) -> Iterator[Complaint]:
    """`for (int i = 0; i < N; i++)`, N a constant or an argument."""
    header = strip_prefixes(region.header)
    parts = split(parenthesized(header), ";")
    if header[0].text != "for" or len(parts) != 3:
        yield Complaint(_LOOP, f"`{header[0].text}`", "a for loop that declares its counter")
        return
    start, condition, step = ([token.text for token in part] for part in parts)
    names = declared(parts[0])
    if len(names) != 1:
        yield Complaint(_LOOP, f"`{' '.join(start)}`", "one counter, declared in the header")
        return
    counter = names[0]
    if start[-2:] != ["=", "0"]:
        yield Complaint(_LOOP, f"`{' '.join(start)}`", f"{counter} to start at 0")
    if step not in ([counter, "++"], ["++", counter], [counter, "+=", "1"]):
        yield Complaint(_LOOP, f"`{' '.join(step)}`", f"{counter}++")
    if condition[:2] != [counter, "<"] or _varies(parts[1][2:], region):
        yield Complaint(_LOOP, f"`{' '.join(condition)}`", f"{counter} < a constant or an argument")


def _varies(bound: Tokens, region: Scope) -> bool:
    """Whether a bound is a call, or uses a local variable that is neither constant nor an argument."""
    if not bound or any(token.text == "(" for token in bound):
        return True
    names = {token.text for token in bound if token.kind == "name"}
    for scope in region.enclosing:
        if scope.kind is Kind.FILE:
            return False
        arguments = set(parameters(scope)) if scope.kind is Kind.FUNCTION else set()
        if names & (locals_of(scope) - arguments - _constants(scope)):
            return True
    return False


def _constants(scope: Scope) -> set[str]:
    return {
        name
        for item in scope.items
        if not isinstance(item, (Token, Scope)) and {"const", "constexpr"} & {token.text for token in item}
        for name in declared(item)
    }
