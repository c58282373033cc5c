"""What a sweep is to make best: columns of its rows, each with a direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from codesign.errors import SpecError
from codesign.spec_errors import nearest, shorten
from codesign.sweep.columns import NUMBERS


class Objective(NamedTuple):
    """A column to make as small or as large as possible."""

    name: str
    column: str
    maximize: bool

    def cost(self, row: Mapping[str, Any]) -> float | None:
        """Its value in a row so that lower is better, None if it is not known."""
        value = row[self.column]
        return None if value is None else -float(value) if self.maximize else float(value)


_NAMED = {
    "time": ("latency_s", False),
    "run-time": ("run_s", False),
    "throughput": ("samples_per_s", True),
    "speedup": ("speedup", True),
    "energy": ("energy_j", False),
    "power": ("average_w", False),
    "efficiency": ("gops_per_w", True),
    "traffic": ("dram_bytes", False),
    "lut": ("lut", False),
    "ff": ("ff", False),
    "dsp": ("dsp", False),
    "bram": ("bram36", False),
    "uram": ("uram288", False),
    "accuracy": ("accuracy", True),
}

NAMED = {name: Objective(name, column, maximize) for name, (column, maximize) in _NAMED.items()}
"""Objectives that have a name; any other number of a row is `column:min` or `column:max`."""

DEFAULT = ("time", "energy", "lut")
"""To which accuracy comes where it is known."""


def objectives_of(names: Sequence[str]) -> tuple[Objective, ...]:
    """Objectives by name. Raises SpecError for one that does not exist, or comes twice."""
    found = tuple(_objective(name) for name in names)
    columns = [objective.column for objective in found]
    if repeated := [name for name, column in zip(names, columns, strict=True) if columns.count(column) > 1]:
        raise SpecError(f"objective {shorten(repeated[0])!r} is named twice; name each once")
    return found


def _objective(name: str) -> Objective:
    if name in NAMED:
        return NAMED[name]
    column, _, direction = name.partition(":")
    if column not in NUMBERS or direction not in ("min", "max"):
        known = [*NAMED, *NUMBERS]
        raise SpecError(
            f"unknown objective {shorten(name)!r}{nearest(column, known)}; expected COLUMN:min, COLUMN:max or "
            f"one of: {', '.join(NAMED)}"
        )
    return Objective(name, column, direction == "max")
