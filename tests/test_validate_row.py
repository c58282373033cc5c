"""Rows of a comparison: verdicts, differences, and what is shown of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from codesign.validate.document import cells
from codesign.validate.row import (
    Comparison,
    Row,
    Span,
    ToolMissingError,
    Value,
    Verdict,
    at_least,
    beside,
    equal,
    estimated,
    skipped,
)


def test_what_must_hold() -> None:
    assert equal("a", "b", 5, 5, "").verdict is Verdict.HOLDS
    assert equal("a", "b", 5, 6, "").verdict is Verdict.FAILS
    assert at_least("a", "b", 1, 1.0, "x").verdict is Verdict.HOLDS
    assert at_least("a", "b", 1, 0.999, "x").verdict is Verdict.FAILS


@pytest.mark.parametrize(
    ("reference", "ours", "difference", "shown"),
    [
        (100, 110, 0.1, "+10.00%"),
        (100, 100, 0.0, "0"),
        (Span(10, 20), 15, 0.0, "within"),
        (Span(10, 20), Span(20, 40), 0.0, "within"),
        (Span(10, 20), 8, -0.2, "-20.00%"),  # to the nearest end
        (100, Span(150, 300), 0.5, "+50.00%"),
        (100, Span(20, 50), -0.5, "-50.00%"),
    ],
)
def test_difference(reference: Value, ours: Value, difference: float, shown: str) -> None:
    row = beside("a", "b", reference, ours, "", "why")
    assert (row.verdict, row.note) == (Verdict.EXPLAINED, "why")
    assert row.difference == pytest.approx(difference)
    assert cells(row)[4] == shown


def test_an_estimate_agrees_if_it_holds_what_was_measured() -> None:
    inside = estimated("a", "b", 100, Span(90, 100), "", "why")
    outside = estimated("a", "b", 100, Span(90, 99), "", "why")
    assert (inside.verdict, inside.note) == (Verdict.AGREES, "")
    assert (outside.verdict, outside.note) == (Verdict.EXPLAINED, "why")


def test_a_reference_of_zero_that_is_not_met() -> None:
    row = equal("a", "b", 0, 3, "wrong results")
    assert (row.verdict, row.difference, cells(row)[4]) == (Verdict.FAILS, None, "")


def test_values_as_they_are_shown() -> None:
    row = Row("a", "b", 1_234_567, Span(2.97, 25.22), "x", Verdict.EXPLAINED)
    assert cells(row)[2:4] == ("1,234,567x", "2.97 to 25.22x")
    row = Row("a", "b", 12_345.6, Span(1.0, 1.0), "LUT", Verdict.EXPLAINED)
    assert cells(row)[2:4] == ("12,346 LUT", "1 LUT")
    assert cells(skipped("a", "no\n network"))[2:] == ("", "", "", "skipped: no network", "")


def test_a_missing_tool_leaves_one_row_with_the_reason() -> None:
    def run(tools: Path) -> Iterator[Row]:
        yield equal("a", "b", 1, 1, "")
        raise ToolMissingError("no network")

    (row,) = Comparison("SCALE-Sim", "", run).rows(Path())
    assert (row.what, row.verdict, row.note) == ("SCALE-Sim", Verdict.SKIPPED, "no network")
