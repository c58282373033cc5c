"""The points of a sweep as a page shows them: what varies among them, and what they are measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from codesign.report.html.measures import MEASURES, Measure, measure_of
from codesign.report.html.style import safe
from codesign.spec_errors import printable
from codesign.sweep.export import plain
from codesign.sweep.objectives import Objective
from codesign.sweep.view import Row

NO_RATIO = "none"
TITLES = {"arch": "architecture", "nm": "N:M"}
"""Of traits that are not called by their keys."""
FRONT = {True: "on the front", False: "dominated"}


@dataclass(frozen=True)
class Points:
    """Computed points of a sweep. `front`: hashes of those on the front of their workload."""

    rows: Sequence[Row]
    parameters: Sequence[str]
    objectives: Sequence[Objective]
    front: frozenset[str]

    def on_front(self, row: Row) -> bool:
        """Whether no point of the same workload is better."""
        return row["hash"] in self.front

    @cached_property
    def traits(self) -> dict[str, list[str]]:
        """What each point is, as text, by key; `front` among it."""
        columns = {
            "workload": [workload_label(row) for row in self.rows],
            "arch": [printable(row["arch"]) for row in self.rows],
            **{key: [self.text(row[key]) for row in self.rows] for key in self.parameters},
            "method": [printable(row["method"]) for row in self.rows],
            "nm": [row["nm"] or NO_RATIO for row in self.rows],
        }
        return columns | {"front": [FRONT[self.on_front(row)] for row in self.rows]}

    @cached_property
    def varying(self) -> dict[str, list[str]]:
        """Different values of every trait that has several, in order."""
        found = {key: sorted(set(values), key=in_order) for key, values in self.traits.items()}
        return {key: values for key, values in found.items() if len(values) > 1}

    @cached_property
    def measures(self) -> list[Measure]:
        """Measures of which any point has a value other than nought."""
        return [self.measure(column) for column in MEASURES if any(row[column] for row in self.rows)]

    @cached_property
    def variants(self) -> dict[str, list[int]]:
        """Numbers of the points by training method and ratio."""
        found: dict[str, list[int]] = {}
        for number in sorted(range(len(self.rows)), key=lambda number: in_order(self.traits["nm"][number])):
            found.setdefault(variant(self.rows[number]), []).append(number)
        return found

    def measure(self, column: str) -> Measure:
        """The measure of a numeric column."""
        return measure_of(column, self.rows)

    @staticmethod
    def text(value: Any) -> str:
        """The value of a parameter."""
        return printable(str(plain(value)))

    def values(self, measure: Measure) -> list[float | None]:
        """A measure of every point."""
        return [measure.of(row) for row in self.rows]

    def about(self, row: Row) -> str:
        """What a point is and reaches, for hovering."""
        parameters = ", ".join(f"{key} {self.text(row[key])}" for key in self.parameters)
        lines = [f"<b>{safe(workload_label(row))}</b>", safe(f"{variant(row)} on {row['arch']}")]
        lines += [safe(parameters)] if parameters else []
        for measure in self.measures:
            value = measure.of(row)
            if value is not None and measure.column in _HOVER:
                lines.append(f"{measure.title}: {value:{measure.form}}")
        return "<br>".join([*lines, f"fits: {row['fits']}", FRONT[self.on_front(row)]])


_HOVER = {"latency_s", "speedup", "energy_j", "lut", "accuracy"}


def workload_label(row: Row) -> str:
    """Name, batch and chosen sizes of a workload."""
    sizes = ", ".join(
        f"{name.replace('_', ' ')} {row[name]}"
        for name in ("batch", "seq_len", "classes", "input_size")
        if row[name]
    )
    return printable(f"{row['workload']}, {sizes}")


def variant(row: Row) -> str:
    """How a point is trained."""
    return printable(row["method"] if row["nm"] is None else f"{row['method']} {row['nm']}")


def in_order(text: str) -> tuple[int, float, float, str]:
    """Numbers by size, ratios by M and then N, then everything else by name."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        return (1, 0, 0, text)
    return (0, parts[-1], parts[0], text)
