"""What the points of a sweep are measured by, in units that suit a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from codesign.report.numbers import JOULE_UNITS, joule_unit


class Measure(NamedTuple):
    """A column of a sweep's rows, with its name, a unit and the factor to it, and the format of a cell."""

    column: str
    name: str
    unit: str = ""
    factor: float = 1
    form: str = ",.4g"

    @property
    def title(self) -> str:
        """Name and unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def of(self, row: Mapping[str, Any]) -> float | None:
        """The value in a row, None if it is not known."""
        value = row[self.column]
        return None if value is None else float(f"{self.factor * value:.7g}")


_KNOWN = (
    Measure("latency_s", "iteration time", "ms", 1e3, ",.3f"),
    Measure("speedup", "speedup over dense", form=",.3f"),
    Measure("samples_per_s", "throughput", "samples/s", 1, ",.1f"),
    Measure("energy_j", "energy", "J", 1, ",.3f"),
    Measure("average_w", "power", "W", 1, ",.2f"),
    Measure("gops_per_w", "efficiency", "GOPS/W", 1, ",.2f"),
    Measure("dram_bytes", "DRAM traffic", "MB", 1e-6, ",.1f"),
    Measure("array_utilization", "array utilisation", "%", 100, ",.1f"),
    Measure("lut", "LUT", form=",.0f"),
    Measure("ff", "FF", form=",.0f"),
    Measure("dsp", "DSP48E2", form=",.0f"),
    Measure("bram36", "BRAM36", form=",.1f"),
    Measure("uram288", "URAM288", form=",.0f"),
    Measure("device_share", "fullest resource", "%", 100, ",.1f"),
    Measure("run_s", "training run", "s", 1, ",.1f"),
    Measure("run_energy_j", "energy of the run", "J", 1, ",.3f"),
    Measure("accuracy", "accuracy", "%", 100, ",.2f"),
)
MEASURES = {measure.column: measure for measure in _KNOWN}


def measure_of(column: str, rows: Sequence[Mapping[str, Any]]) -> Measure:
    """The measure of a numeric column; energies are in the unit in which the largest is at least one."""
    measure = MEASURES.get(column, Measure(column, column))
    if measure.unit not in JOULE_UNITS:
        return measure
    unit, size = joule_unit(max((row[column] or 0 for row in rows), default=0))
    return measure._replace(unit=unit, factor=1 / size)
