"""Strict YAML: values by YAML 1.2, hostile input refused, and errors that name file, line and key."""

import math
import os
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from codesign import strict_yaml
from codesign.errors import SpecError


def _error(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        strict_yaml.loads(text, "spec.yaml")
    return str(caught.value)


# Expected values from the YAML 1.2.2 specification, section 10.3.2 (core schema).
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2:8", "2:8"),  # YAML 1.1: the sexagesimal integer 128
        ("190:20:30", "190:20:30"),
        ("on", "on"),
        ("No", "No"),
        ("y", "y"),
        ("1e9", 1e9),  # YAML 1.1: a string
        ("200e6", 200e6),
        ("-1.5E-3", -0.0015),
        (".5", 0.5),
        ("5.", 5.0),
        ("1_000", "1_000"),  # YAML 1.1: 1000
        ("010", 10),  # YAML 1.1: 8
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("-7", -7),
        ("+7", 7),
        ("-.inf", -math.inf),
        (".Inf", math.inf),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("~", None),
        ("Null", None),
        ("2001-12-14", "2001-12-14"),  # YAML 1.1: a date
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("<<", "<<"),
        ("[1, 2:8, {a: }]", [1, "2:8", {"a": None}]),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_values_follow_yaml_1_2(text: str, expected: Any) -> None:
    value = strict_yaml.loads(text).data
    assert value == expected
    assert type(value) is type(expected)


def test_nan_is_a_number() -> None:
    assert math.isnan(strict_yaml.loads(".NaN").data)


_treacherous = st.sampled_from(
    ["2:8", "1e9", "0o17", "on", "~", "1_000", "010", ".5", "0x", "+", "", "a: b", "=", "<<"]
)
_plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | _treacherous,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(_plain_data)
def test_dump_survives_the_way_through_both_yaml_versions(data: Any) -> None:
    for wanted in (data, {"key": data}):
        text = strict_yaml.dump(wanted)
        assert yaml.safe_load(text) == wanted
        assert strict_yaml.loads(text).data == wanted


def test_dump_is_readable() -> None:
    shared = ["2:8", "1:4"]
    text = strict_yaml.dump({"name": "sat", "array": {"sparsity": shared, "again": shared, "rows": 32}})
    assert text == "name: sat\narray:\n  sparsity: ['2:8', '1:4']\n  again: ['2:8', '1:4']\n  rows: 32\n"


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet=st.sampled_from("ab12:-[]{},&*!|>'\"#%@ \n\t\x00.e~?")) | st.text())
def test_any_text_gives_data_or_one_line(text: str) -> None:
    try:
        strict_yaml.loads(text, "spec.yaml")
    except SpecError as error:
        assert str(error).startswith("spec.yaml")
        assert str(error).isprintable()


def test_where_names_line_and_key() -> None:
    document = strict_yaml.loads("a:\n  b:\n    - 1\n    - c: 2\n      'd e': 3\n", "dir/spec.yaml")
    assert document.where(("a", "b", 0)) == "dir/spec.yaml:3: a.b[0]"
    assert document.where(("a", "b", 1, "c")) == "dir/spec.yaml:4: a.b[1].c"
    assert document.where(("a", "b", 1, "d e")) == 'dir/spec.yaml:5: a.b[1]."d e"'
    assert document.where(("a", "missing")) == "dir/spec.yaml:1: a.missing"
    assert strict_yaml.Document("no file", {}).where(("a",)) == "no file: a"


def test_aliases_are_copied() -> None:
    document = strict_yaml.loads(
        "base: &base {x: [1]}\nother: *base\nlast: &base 3\nsum: *base\n", "spec.yaml"
    )
    assert document.data == {"base": {"x": [1]}, "other": {"x": [1]}, "last": 3, "sum": 3}
    assert document.data["base"]["x"] is not document.data["other"]["x"]
    assert document.where(("other",)) == "spec.yaml:2: other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n",
         "spec.yaml:5: b.c: duplicate key, first set on line 3; keep one of the two"),
        ("a: 1\n'a': 2\n", "spec.yaml:2: a: duplicate key, first set on line 1; keep one of the two"),
        ("a:\n  8: x\n", "spec.yaml:2: a: got the key 8 (integer), expected a string; put it in quotes"),
        ("true: x\n", "spec.yaml:1: got the key true (boolean), expected a string; put it in quotes"),
        ("a:\n  [1, 2]: x\n", "spec.yaml:2: a: got a key that is no plain text, expected a string"),
        ("a: !!python/object:os.system 1\n",
         "spec.yaml:1: a: tag tag:yaml.org,2002:python/object:os.system is not allowed"),
        ("a:\n  - !!binary AA==\n", "spec.yaml:2: a[0]: tag tag:yaml.org,2002:binary is not allowed"),
        ("a: !local {}\n", "spec.yaml:1: a: tag !local is not allowed; expected plain data, no tags"),
        ("a: !!set {x}\n", "spec.yaml:1: a: tag tag:yaml.org,2002:set is not allowed"),
        ("a: *b\n", "spec.yaml:1: alias *b has no anchor &b before it"),
        ("a: 1\n---\nb: 2\n", "spec.yaml:2: a second document starts here; expected one document a file"),
        ("a: [1, 2\n", "spec.yaml:2:1: not valid YAML: "),
        ("a: 1\n\tb: 2\n", "spec.yaml:2:1: not valid YAML: "),
        ("", "spec.yaml: is empty; expected a YAML specification"),
        ("# only a comment\n", "spec.yaml: is empty"),
        ("---\n...\n", "spec.yaml: is empty"),
        ("a: 1\nb: \x1b[2J\n", "spec.yaml:2: got control character U+001B, expected text; is this a binary file?"),
        ("a: " + "9" * 5000, "spec.yaml:1: a: got an integer of 5000 digits, which is too long"),
    ],
)  # fmt: skip
def test_malformed_text(text: str, message: str) -> None:
    assert _error(text).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        # 10 levels of 9 references each: 3.5e9 values
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 11)),
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
        "[" * 500_000,  # the parser's own node graph overflows the C stack here
        "[" * 70 + "]" * 70,
        "- " * 70 + "x",
        "[" + "1," * 250_000 + "]",
    ],
    ids=["billion laughs", "own list", "own mapping", "half a million", "brackets", "dashes", "long list"],
)
def test_bombs_are_refused(text: str) -> None:
    message = _error(text)
    assert message.startswith("spec.yaml:")
    assert "more than 64 levels or 100000 values, counting what aliases repeat" in message


def test_deep_but_sane_nesting_is_read() -> None:
    value = strict_yaml.loads("[" * 60 + "]" * 60).data
    for _ in range(59):
        (value,) = value
    assert value == []


def _load_error(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        strict_yaml.load(path)
    return str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "missing.yaml"
    assert _load_error(missing) == f"{missing}: no such file; expected a YAML specification"
    assert _load_error(tmp_path) == f"{tmp_path}: is a directory; expected a YAML specification"
    assert "cannot be read: File name too long" in _load_error(tmp_path / ("x" * 300))
    assert "cannot be read: embedded null byte" in _load_error(Path("a\0b"))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert _load_error(pipe) == f"{pipe}: is not a regular file; expected a YAML specification"

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert (
        _load_error(tmp_path / "locked.yaml")
        == f"{tmp_path / 'locked.yaml'}: cannot be read: Permission denied"
    )


def test_files_that_are_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    assert _load_error(path) == f"{path}:2: got byte 0xff, expected UTF-8 text; is this a binary file?"
    path.write_bytes(b"\x7fELF\x02\x01\x01\x00\x00")
    assert (
        _load_error(path) == f"{path}:1: got control character U+007F, expected text; is this a binary file?"
    )
    path.write_bytes(b"#" * ((1 << 20) + 1))
    assert _load_error(path) == f"{path}: larger than 1048576 bytes; expected a YAML specification"
    path.write_bytes(b"")
    assert _load_error(path) == f"{path}: is empty; expected a YAML specification"


def test_windows_text_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: caf\xc3\xa9\r\n")
    assert strict_yaml.load(path).data == {"a": 1, "b": "café"}


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Layer(_Spec):
    width: int = Field(gt=0, description="Outputs (count).")
    kind: Literal["conv", "linear"] = "conv"


class _Network(_Spec):
    layers: tuple[_Layer, ...] = ()
    named: dict[str, _Layer] = {}
    head: _Layer | None = None
    rate: float = 1.0


def _network_error(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        strict_yaml.validate(strict_yaml.loads(text, "net.yaml"), _Network)
    return str(caught.value)


def test_validate_builds_the_model() -> None:
    document = strict_yaml.loads("layers: [{width: 3}, {width: 4, kind: linear}]\nrate: 2\n")
    network = strict_yaml.validate(document, _Network)
    assert network == _Network(layers=(_Layer(width=3), _Layer(width=4, kind="linear")), rate=2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer: []\n",
         'net.yaml:1: layer: unknown key, did you mean "layers"; expected one of: layers, named, head, rate'),
        ("rate: 1\nlayers:\n- width: 1\n- {widht: 2}\n",
         'net.yaml:4: layers[1].widht: unknown key, did you mean "width"; expected one of: width, kind (and 1 more)'),
        ("named:\n  a b: {width: 1, zzz: 2}\n",
         'net.yaml:2: named."a b".zzz: unknown key; expected one of: width, kind'),
        ("head:\n  kinds: conv\n  width: 1\n",
         'net.yaml:2: head.kinds: unknown key, did you mean "kind"; expected one of: width, kind'),
        ("head:\n  kind: conv\n", "net.yaml:1: head.width: key is missing; expected: Outputs (count)."),
        ("layers:\n- width: 0\n", "net.yaml:2: layers[0].width: got 0 (integer), expected greater than 0"),
        ("layers:\n- width: true\n", "net.yaml:2: layers[0].width: got true (boolean), expected a valid integer"),
        ("layers:\n- width: '32'\n", 'net.yaml:2: layers[0].width: got "32" (string), expected a valid integer'),
        ("layers:\n- width: 2.0\n", "net.yaml:2: layers[0].width: got 2.0 (number), expected a valid integer"),
        ("layers:\n- width:\n", "net.yaml:2: layers[0].width: got null, expected a valid integer"),
        ("layers: 3\n", "net.yaml:1: layers: got 3 (integer), expected a list"),
        ("layers: [{width: 1, kind: cnov}]\n",
         "net.yaml:1: layers[0].kind: got \"cnov\" (string), expected 'conv' or 'linear'"),
        ("- a\n", "net.yaml:1: got a list, expected a mapping"),
        ("rate: fast\nhead: {width: -1}\n",
         'net.yaml:1: rate: got "fast" (string), expected a valid number (and 1 more)'),
        (f"rate: {'x' * 200}\n", f'net.yaml:1: rate: got "{"x" * 56}... (string), expected a valid number'),
    ],
)  # fmt: skip
def test_validate_explains(text: str, message: str) -> None:
    assert _network_error(text) == message
