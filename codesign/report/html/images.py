"""Charts as image files, drawn by the plotly.js of the page in a Chrome or Chromium that is installed."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from codesign.errors import ExportError, SpecError
from codesign.output_files import write_files
from codesign.report.html.page import Chart, Page
from codesign.report.html.style import safe

WIDTH_PX = 1200
PNG_SCALE = 2
"""Pixels of a PNG for each of the chart."""


def write_images(page: Page, folder: Path, kind: str) -> None:
    """Write every chart of `page` as `png` or `svg`. Raises SpecError without kaleido or a browser, ExportError."""
    with tempfile.TemporaryDirectory() as scratch:
        _draw([_drawing(chart, Path(scratch), kind) for chart in page.charts])
        write_files(folder, {path.name: path.read_bytes() for path in sorted(Path(scratch).iterdir())})


def _drawing(chart: Chart, folder: Path, kind: str) -> dict[str, Any]:
    """What kaleido is to draw: the chart with its title, on white."""
    figure = chart.figure.to_dict()
    title = {"text": safe(chart.title), "x": 0, "xref": "paper", "automargin": True, "yref": "container"}
    figure["layout"] |= {"paper_bgcolor": "#ffffff", "title": title}
    size = {"width": WIDTH_PX, "height": chart.height + 40, "scale": PNG_SCALE}
    return {"fig": figure, "path": str(folder / f"{chart.name}.{kind}"), "opts": {"format": kind, **size}}


def _draw(drawings: list[dict[str, Any]]) -> None:
    try:
        import kaleido
        from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError
    except ImportError:
        raise SpecError("images need the package kaleido; pip install 'codesign[report]'") from None
    logging.getLogger("choreographer").setLevel(logging.CRITICAL)  # what fails is said here
    try:
        # With the plotly.js of the plotly package; without MathJax, which kaleido would fetch from the network.
        errors = kaleido.write_fig_from_object_sync(drawings, kopts={"mathjax": False})
    except ChromeNotFoundError:
        raise SpecError("images need Chrome or Chromium; install it, or set BROWSER_PATH") from None
    except (BrowserFailedError, BrowserClosedError, OSError):
        raise ExportError(
            "images: the browser does not start, or has died; try another, by BROWSER_PATH"
        ) from None
    if errors:
        raise ExportError(f"the browser could not draw the charts: {errors[0]}")
