"""The page itself: what is text stays text, nothing comes from outside, and numbers are shown as they should."""

import json
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saved_results import HOSTILE

from codesign.errors import CodesignError
from codesign.report.html.images import write_images
from codesign.report.html.page import (
    Chart,
    Choice,
    Column,
    Explorer,
    Listing,
    Page,
    Section,
    Table,
    Tile,
    render,
    script_json,
)
from codesign.report.html.style import figure, labels, safe
from codesign.spec_errors import printable


class Document(HTMLParser):
    """Tags with their attributes, and the text between them by the tag around it."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        self.texts.append((self._open[-1] if self._open else "", data))

    def text_of(self, tag):
        return [data for outer, data in self.texts if outer == tag]


def page_with(name):
    """A page that shows `name` wherever a page can show one."""
    chart = Chart(
        "chart", name, figure({"type": "bar", "x": [safe(name)], "y": [1]}), note=name, explored=True
    )
    table = Table(
        name, [Column(name, note=name), Column("n", ",d")], [[name, 1], [name, None]], name, interactive=True
    )
    section = Section("s", name, [chart, table, Listing(name, name)], note=name, lines=[name])
    explorer = Explorer({"trait": [name], "hover": [name]}, [Choice("trait", name, [name])], {"x": name})
    return Page(name, name, [Tile(name, name, name)], [section], explorer)


@pytest.fixture(scope="module")
def plain():
    return Document(render(page_with("name")))


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_add_no_element(name):
    found, plain = (Document(render(page_with(text))) for text in (name, "n" * len(name)))
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(attributes) for _, attributes in found.tags] == [sorted(each) for _, each in plain.tags]
    for tag in ("title", "h1", "dt", "h2", "li", "figcaption", "h3", "td", "summary", "pre", "option"):
        assert name in found.text_of(tag), tag


def test_nothing_is_fetched(plain):
    for tag, attributes in plain.tags:
        assert not {"src", "srcset", "data", "action", "poster"} & attributes.keys(), (tag, attributes)
        assert attributes.get("href", "#").startswith("#")
    (policy,) = (a["content"] for tag, a in plain.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy and "url(" not in "".join(plain.text_of("style"))


def test_empty_cells_and_numbers(plain):
    assert plain.text_of("td") == ["name", "1", "name"]  # the last cell, of None, has no text
    cells = [attributes for tag, attributes in plain.tags if tag == "td"]
    assert cells[1] == {"class": "number", "data-value": "1"}
    assert cells[3] == {"class": "number"}


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (",d", 1234567, "1,234,567"),
        (".1%", 0.1234, "12.3%"),
        ("", "a", "a"),
        (",d", None, ""),
        ("", None, ""),
    ],
)
def test_cells(form, value, text):
    assert Column("x", form).text(value) == text


@given(st.dictionaries(st.text(max_size=9), st.text() | st.none() | st.integers(), max_size=4))
def test_json_in_a_script_comes_back_and_cannot_end_it(data):
    text = script_json({"data": data})
    assert json.loads(text) == {"data": data}
    assert not set("<>&\u2028\u2029") & set(text)


@given(st.lists(st.text(), max_size=8), st.integers(4, 30))
def test_labels_are_short_safe_and_different(names, longest):
    found = labels(names, longest)
    assert len(set(found)) == len(found) == len(names)
    assert not any(set("<>$") & set(label.replace("&#36;", "")) for label in found)
    for name, label in zip(names, found, strict=True):
        if len(printable(name)) <= longest and printable(name) not in map(
            printable, names[: names.index(name)]
        ):
            assert label.startswith(safe(name))


def test_labels_of_equal_ends_are_numbered():
    long = ["a" * 20 + middle + "b" * 20 for middle in "xy"]
    assert labels([*long, "c"], 10) == ["aaaa…bbbbb", "aaaa…bbbbb (2)", "c"]
    assert labels([*long, "aaaa…bbbbb (2)"], 14)[2] != labels(long, 14)[1]


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("ChromeNotFoundError", "images need Chrome or Chromium; install it, or set BROWSER_PATH"),
        ("BrowserFailedError", "the browser does not start, or has died; try another, by BROWSER_PATH"),
        ("BrowserClosedError", "the browser does not start, or has died; try another, by BROWSER_PATH"),
    ],
)
def test_images_without_a_browser_that_works(tmp_path, monkeypatch, failure, message):
    errors = pytest.importorskip("kaleido.errors")

    def fail(*_, **__):
        raise getattr(errors, failure)("of several\nlines")

    monkeypatch.setattr("kaleido.write_fig_from_object_sync", fail)
    with pytest.raises(CodesignError, match=message):
        write_images(page_with("name"), tmp_path / "images", "png")
    assert not list(tmp_path.iterdir())


def test_images_without_kaleido(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(CodesignError, match=r"need the package kaleido; pip install 'codesign\[report\]'"):
        write_images(page_with("name"), tmp_path, "svg")
