"""What a page is made of, and how it becomes one HTML file without any reference to the outside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, NamedTuple

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from codesign import __version__

_SCRIPT_SAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


class Tile(NamedTuple):
    """A headline figure."""

    title: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure; `name` is its file name as an image. `wide` ones take the whole width of the page.

    `explored`: its points follow the filters of the page. `axes`: those that the reader may choose (x, y), with the
    keys in `Explorer.axes` that they show at first.
    """

    name: str
    title: str
    figure: go.Figure
    note: str = ""
    wide: bool = True
    explored: bool = False
    axes: dict[str, str] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """Pixels."""
        height: int = self.figure.layout.height
        return height

    @property
    def json(self) -> Markup:
        """The figure as JSON that may stand in a script."""
        return script_json(self.figure.to_plotly_json())


class Column(NamedTuple):
    """A column of a table. With a format such as `,.1f` it holds numbers, to the right; without one, text."""

    title: str
    form: str = ""
    note: str = ""

    def text(self, value: Any) -> str:
        """A cell; None is empty."""
        return "" if value is None else format(value, self.form) if self.form else str(value)


@dataclass(frozen=True)
class Table:
    """Rows of values. Long ones are `interactive`: they sort, filter and scroll. `emphasis`: rows in bold.

    `explored`: rows are the points of the page's explorer, in order.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    wide: bool = True
    interactive: bool = False
    explored: bool = False
    emphasis: Sequence[int] = ()


@dataclass(frozen=True)
class Listing:
    """Text as it is, such as a configuration."""

    title: str
    text: str


Item = Chart | Table | Listing


@dataclass(frozen=True)
class Section:
    """Part of a page, with an entry in its table of contents. `lines` is a list of sentences."""

    name: str
    title: str
    items: Sequence[Item]
    note: str = ""
    lines: Sequence[str] = ()


class Choice(NamedTuple):
    """A filter: one of the values of a column, or all."""

    key: str
    title: str
    options: Sequence[str]
    initial: str = ""


@dataclass(frozen=True)
class Explorer:
    """Controls over points that charts and a table share. Traces say in `customdata` which point they show.

    `columns`: values of every point by key; `axes`: titles of those that a chart may show.
    """

    columns: Mapping[str, Sequence[Any]]
    filters: Sequence[Choice]
    axes: dict[str, str]


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    subtitle: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    explorer: Explorer | None = None

    @property
    def charts(self) -> list[Chart]:
        """All charts, in order."""
        return [item for section in self.sections for item in section.items if isinstance(item, Chart)]


def render(page: Page) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader(__package__, "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["zip"] = zip
    environment.tests["of_type"] = lambda item, name: type(item).__name__ == name
    assets = files(__package__) / "assets"
    return environment.get_template("page.html").render(
        page=page,
        version=__version__,
        asset=lambda name: Markup((assets / name).read_text(encoding="utf-8")),
        plotly_js=Markup(get_plotlyjs()),
        script_json=script_json,
    )


def script_json(data: Any) -> Markup:
    """JSON that cannot end the script that it stands in."""
    return Markup(json.dumps(data, allow_nan=False).translate(_SCRIPT_SAFE))
