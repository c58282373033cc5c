"""Wording of specification errors: what was found, what was expected, and the nearest legal name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]

_TYPES = {dict: "mapping", list: "list", str: "string", bool: "boolean", int: "integer", float: "number"}
_YAML_TERMS = {"an object": "a mapping", "a valid array": "a list"}


def nearest(word: str, options: Iterable[str]) -> str:
    """`, did you mean "rows"` if an option resembles `word`, else nothing: the middle of a message."""
    match = get_close_matches(word, list(options), n=1)
    return f', did you mean "{match[0]}"' if match else ""


def got(value: Any) -> str:
    """What was found, with its YAML type, short enough for a message."""
    if value is None:
        return "null"
    kind = _TYPES.get(type(value), "value")
    return f"a {kind}" if isinstance(value, (dict, list)) else f"{shorten(json.dumps(value))} ({kind})"


def shorten(text: str) -> str:
    """`text` cut to 60 characters."""
    return text if len(text) <= 60 else text[:57] + "..."


def printable(text: str) -> str:
    """`text` without line breaks and terminal escapes."""
    return text if text.isprintable() else repr(text)


def describe(model: type[BaseModel], problem: ErrorDetails) -> str:
    """Say what is wrong in one pydantic error of `model`, in the terms of the YAML file."""
    kind, (*parents, key) = problem["type"], problem["loc"] or ("",)
    if kind == "extra_forbidden":
        legal = list(_fields(model, parents))
        return f"unknown key{nearest(str(key), legal)}; expected one of: {', '.join(legal)}"
    if kind == "missing":
        field = _fields(model, parents).get(str(key))
        return "key is missing" + (f"; expected: {field.description}" if field and field.description else "")
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    # "Input should be greater than 0", "String should match pattern 'x'", "Tuple should have at least 1 item"
    expected = re.sub(r"^\w+ should (be|have|match) ", "", problem["msg"]).replace(" after validation", "")
    return f"got {got(problem['input'])}, expected {_YAML_TERMS.get(expected, expected)}"


def _fields(model: type[BaseModel], loc: Iterable[str | int]) -> dict[str, FieldInfo]:
    """Legal keys at `loc`. List positions, mapping keys and union tags lead to the same models."""
    models = [model]
    for part in map(str, loc):
        annotations = [keys[part].annotation for keys in map(_keys, models) if part in keys]
        models = [inner for annotation in annotations for inner in _models(annotation)] or models
    return {key: field for owner in models for key, field in _keys(owner).items()}


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models anywhere in an annotation such as `dict[str, Buffer] | None`."""
    if hasattr(annotation, "model_fields"):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
