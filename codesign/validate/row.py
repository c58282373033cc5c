"""What a comparison finds: rows of a reference value beside this project's, with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from codesign.errors import CodesignError


class ToolMissingError(CodesignError):
    """A comparison needs a tool that is not installed and cannot be."""


class Span(NamedTuple):
    """From low to high."""

    low: float
    high: float


Value = float | Span


class Verdict(StrEnum):
    """What came of a row: it must hold, and does or does not; an estimate agrees; a difference is explained."""

    HOLDS = "holds"
    FAILS = "FAILS"
    AGREES = "agrees"
    EXPLAINED = "explained"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `source` names where the reference comes from; a skipped row has no values.

    `note` explains a difference, or why the row was skipped.
    """

    what: str
    source: str
    reference: Value | None
    ours: Value | None
    unit: str
    verdict: Verdict
    note: str = ""

    @property
    def difference(self) -> float | None:
        """Ours over the reference, less one; of spans, between the nearest ends, and 0 if they meet.

        None without values, and for a reference of 0 that is not met.
        """
        if self.reference is None or self.ours is None:
            return None
        ours, reference = _span(self.ours), _span(self.reference)
        if ours.high < reference.low:
            return _relative(ours.high, reference.low)
        if ours.low > reference.high:
            return _relative(ours.low, reference.high)
        return 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a span is a list of two."""
        return {
            "what": self.what,
            "source": self.source,
            "reference": self.reference,
            "ours": self.ours,
            "unit": self.unit,
            "difference": self.difference,
            "verdict": str(self.verdict),
            "note": self.note,
        }


def equal(what: str, source: str, reference: float, ours: float, unit: str, note: str = "") -> Row:
    """A row that holds if both values are the same."""
    return Row(what, source, reference, ours, unit, _must(ours == reference), note)


def at_least(what: str, source: str, reference: float, ours: float, unit: str, note: str = "") -> Row:
    """A row that holds if ours is not below the reference."""
    return Row(what, source, reference, ours, unit, _must(ours >= reference), note)


def beside(what: str, source: str, reference: Value, ours: Value, unit: str, note: str) -> Row:
    """A row of different things, whose values need not agree; `note` says what differs."""
    return Row(what, source, reference, ours, unit, Verdict.EXPLAINED, note)


def estimated(what: str, source: str, reference: float, ours: Span, unit: str, note: str) -> Row:
    """A row that agrees if our estimate holds the reference; else `note` says why it does not."""
    row = beside(what, source, reference, ours, unit, note)
    return row if row.difference else replace(row, verdict=Verdict.AGREES, note="")


def skipped(what: str, reason: str) -> Row:
    """What could not be compared."""
    return Row(what, "", None, None, "", Verdict.SKIPPED, " ".join(reason.split()))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing to compare with. `text` explains its rows, in Markdown.

    `run` takes the folder in which tools are kept and gives the rows; it raises ToolMissingError. `figure` draws
    rows as SVG.
    """

    title: str
    text: str
    run: Callable[[Path], Iterator[Row]]
    figure: Callable[[Sequence[Row]], str] | None = None

    def rows(self, tools: Path) -> tuple[Row, ...]:
        """All rows, or the reason why there are none."""
        try:
            return tuple(self.run(tools))
        except ToolMissingError as error:
            return (skipped(self.title, str(error)),)


def _must(holds: bool) -> Verdict:
    return Verdict.HOLDS if holds else Verdict.FAILS


def _span(value: Value) -> Span:
    return value if isinstance(value, Span) else Span(value, value)


def _relative(ours: float, reference: float) -> float | None:
    return ours / reference - 1 if reference else None
