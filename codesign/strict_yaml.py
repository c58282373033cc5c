"""Strict YAML: specifications from untrusted files, and errors that name file, line and key.

Plain data only (mappings with string keys, lists, strings, numbers, booleans, null), by the YAML 1.2 core
schema. PyYAML itself reads YAML 1.1, where `2:8` is the sexagesimal integer 128, `on` a boolean and `1e9` a
string; therefore only its parser is used and values are resolved here. The parser's events are read one by
one rather than as a node graph, because the C composer overflows its stack on deeply nested input.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard, TypeVar

import yaml

from codesign.errors import SpecError
from codesign.input_files import read_file
from codesign.spec_errors import Location, describe, got, printable, shorten

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 100_000  # once aliases are expanded

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG_PREFIX = "tag:yaml.org,2002:"
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN_KEY = re.compile(r"[\w-]{1,60}")

# Plain scalars of the YAML 1.2 core schema (specification 1.2.2, section 10.3.2).
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NAMED = {"null": None, "true": True, "false": False, ".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf}
_CONSTANTS: dict[str, Any] = {
    **{form: value for word, value in _NAMED.items() for form in (word, word.title(), word.upper())},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys(("~", ""), None),
}


@dataclass(frozen=True)
class Document:
    """Plain data and where it was written. `lines` maps a location to its 1-based line; it may be empty."""

    name: str
    data: Any
    lines: Mapping[Location, int] = field(default_factory=dict)

    def line(self, loc: Location) -> int:
        """Line of `loc`, or of the nearest enclosing value that was written (0: unknown)."""
        return next((self.lines[loc[:end]] for end in range(len(loc), -1, -1) if loc[:end] in self.lines), 0)

    def where(self, loc: Location) -> str:
        """`path:line: a.b[0]`, without the parts that are not known."""
        line = self.line(loc)
        return ": ".join(part for part in (f"{self.name}:{line}" if line else self.name, _path(loc)) if part)


def load(path: str | Path) -> Document:
    """Read a YAML file of at most `MAX_BYTES`. Raises SpecError, also if the file cannot be read."""
    path = Path(path)
    name = printable(str(path))
    content = read_file(path, "a YAML specification", MAX_BYTES)
    try:
        return loads(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{error.object[error.start]:02x}"
        raise SpecError(f"{name}:{line}: got {found}, expected UTF-8 text; is this a binary file?") from None


def loads(text: str, name: str = "<text>") -> Document:
    """Read one YAML document from `text`; `name` stands for the file in messages. Raises SpecError."""
    if match := _FORBIDDEN.search(text):
        line = text.count("\n", 0, match.start()) + 1
        found = f"control character U+{ord(match[0]):04X}"
        raise SpecError(f"{name}:{line}: got {found}, expected text; is this a binary file?")
    builder = _Builder(name, _read_events(text, name))
    data, _ = builder.build(0, ())
    return Document(name, data, builder.lines)


def validate(document: Document, model: type[Model]) -> Model:
    """Build `model` from a document, strictly typed. Raises one SpecError about the first problem.

    Types are those of JSON: `true` is no integer, `"32"` no number; a list fills a tuple, a string an enum.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate_json(json.dumps(document.data, default=str), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    # A misspelt key explains a missing one, so it comes first.
    first = min(problems, key=lambda p: (p["type"] != "extra_forbidden", document.line(p["loc"])))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise SpecError(f"{document.where(first['loc'])}: {describe(model, first)}{more}")


def dump(data: Any) -> str:
    """Write plain data as ASCII YAML that `loads` and YAML 1.1 readers understand alike; key order is kept."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=110)


def _read_events(text: str, name: str) -> list[yaml.Event]:
    """Events of the nodes of the only document in `text`, bounded in depth and number."""
    events: list[yaml.Event] = []
    depth = documents = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    place = f"{name}:{_line(event)}"
                    raise SpecError(f"{place}: a second document starts here; expected one document a file")
            elif isinstance(event, (yaml.NodeEvent, yaml.CollectionEndEvent)):
                events.append(event)
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
                    event, yaml.CollectionEndEvent
                )
                if depth > MAX_DEPTH or len(events) > 2 * MAX_NODES:
                    raise _too_much(name, event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise SpecError(f"{place}: not valid YAML: {error.problem or error.context}") from None
    if not events or (len(events) == 1 and _is_plain(events[0]) and not events[0].value):
        raise SpecError(f"{name}: is empty; expected a YAML specification")
    return events


class _Builder:
    """Turns events into data. An alias is built again from the events of its anchor, so nothing is shared."""

    def __init__(self, name: str, events: list[yaml.Event]) -> None:
        self.lines: dict[Location, int] = {}
        self._name = name
        self._events = events
        self._targets = self._resolve_aliases()
        self._nodes = 0

    def build(self, index: int, loc: Location) -> tuple[Any, int]:
        """Value of the node that starts at event `index`, and the index after it."""
        event = self._events[index]
        self.lines.setdefault(loc, _line(event))
        self._nodes += 1
        if self._nodes > MAX_NODES or len(loc) > MAX_DEPTH:
            raise _too_much(self._name, event)
        if isinstance(event, yaml.AliasEvent):
            return self.build(self._targets[index], loc)[0], index + 1
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, loc), index + 1
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(index, loc)
        return self._mapping(index, loc)

    def _resolve_aliases(self) -> dict[int, int]:
        """Event index of each alias, to that of the node it stands for: the last one with this anchor."""
        anchors: dict[str, int] = {}
        targets: dict[int, int] = {}
        for index, event in enumerate(self._events):
            anchor = getattr(event, "anchor", None)
            if isinstance(event, yaml.AliasEvent):
                if anchor not in anchors:
                    self._fail(event, (), f"alias *{anchor} has no anchor &{anchor} before it")
                targets[index] = anchors[anchor]
            elif anchor:
                anchors[anchor] = index
        return targets

    def _sequence(self, index: int, loc: Location) -> tuple[list[Any], int]:
        self._check_tag(self._events[index], "seq", loc)
        items: list[Any] = []
        index += 1
        while not isinstance(self._events[index], yaml.SequenceEndEvent):
            item, index = self.build(index, (*loc, len(items)))
            items.append(item)
        return items, index + 1

    def _mapping(self, index: int, loc: Location) -> tuple[dict[str, Any], int]:
        self._check_tag(self._events[index], "map", loc)
        items: dict[str, Any] = {}
        index += 1
        while not isinstance(self._events[index], yaml.MappingEndEvent):
            event = self._events[index]
            key = self._key(event, loc)
            here = (*loc, key)
            if key in items:
                first = self.lines[here]
                self._fail(event, here, f"duplicate key, first set on line {first}; keep one of the two")
            self.lines[here] = _line(event)
            items[key], index = self.build(index + 1, here)
        return items, index + 1

    def _key(self, event: yaml.Event, loc: Location) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._fail(event, loc, "got a key that is no plain text, expected a string")
        key = self._scalar(event, loc)
        if not isinstance(key, str):
            self._fail(event, loc, f"got the key {got(key)}, expected a string; put it in quotes")
        return key

    def _scalar(self, event: yaml.ScalarEvent, loc: Location) -> Any:
        text: str = event.value
        if not _is_plain(event):
            self._check_tag(event, "str", loc)
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INTEGER.fullmatch(text):
            try:
                return int(text, 0 if text[1:2] in ("o", "x") else 10)
            except ValueError:
                self._fail(event, loc, f"got an integer of {len(text)} digits, which is too long")
        return float(text) if _FLOAT.fullmatch(text) else text

    def _check_tag(self, event: yaml.Event, kind: str, loc: Location) -> None:
        tag = getattr(event, "tag", None)
        if tag not in (None, _TAG_PREFIX + kind):
            self._fail(event, loc, f"tag {printable(str(tag))} is not allowed; expected plain data, no tags")

    def _fail(self, event: yaml.Event, loc: Location, message: str) -> NoReturn:
        where = Document(self._name, None, {loc: _line(event)}).where(loc)
        raise SpecError(f"{where}: {message}")


def _is_plain(event: yaml.Event) -> TypeGuard[yaml.ScalarEvent]:
    """Neither quoted nor tagged, so that the text decides the type."""
    return isinstance(event, yaml.ScalarEvent) and event.tag is None and event.implicit[0]


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _too_much(name: str, event: yaml.Event) -> SpecError:
    limits = f"more than {MAX_DEPTH} levels or {MAX_NODES} values, counting what aliases repeat"
    return SpecError(f"{name}:{_line(event)}: {limits}; expected a YAML specification")


def _path(loc: Location) -> str:
    """`a.b[0]`, keys that are no plain words quoted."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (
                part if _PLAIN_KEY.fullmatch(part) else shorten(json.dumps(part))
            )
    return text


class _Dumper(yaml.SafeDumper):
    """Block mappings, one-line lists of scalars, no anchors, quotes wherever YAML 1.1 or 1.2 needs them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_items(self, data: list[Any]) -> yaml.Node:
        """A list, on one line if it holds only scalars."""
        flow = not any(isinstance(item, (list, dict)) for item in data)
        return self.represent_sequence(_TAG_PREFIX + "seq", data, flow_style=flow)


_Dumper.add_representer(list, _Dumper.represent_items)
for _kind, _pattern in (("int", _INTEGER), ("float", _FLOAT)):
    _Dumper.add_implicit_resolver(
        _TAG_PREFIX + _kind, re.compile(f"(?:{_pattern.pattern})$"), list("+-.0123456789")
    )
