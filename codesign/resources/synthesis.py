"""What synthesis reports of a block, beside what the models say of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from codesign.resources.estimate import Resources, estimate
from codesign.resources.usage import RESOURCES, Range, Usage, total
from hls.csynth import Synthesis, operator_names
from hw_models.arch import Arch

OPERATORS = "vitis"
"""Synthesis by Vitis HLS is compared with operators as it picks them."""

_COMPONENTS = {
    "stce": ("uspe.", "stce."),
    "sore": ("sore",),
    "wuve": ("wuve",),
    "vector_unit": ("vector_unit",),
    "sat": ("",),
}
"""Components of the resource model that make up a block, by how their names begin."""

_PACES = ("stce", "sore", "wuve", "vector_unit")
"""Blocks that the models let take an item in every cycle."""


@dataclass(frozen=True)
class Row:
    """A quantity of a module: what synthesis found, and what the models expect (None: they say nothing)."""

    module: str
    quantity: str
    found: float
    expected: Range | None

    @property
    def verdict(self) -> str:
        """Where the finding lies: as expected, below or above."""
        if self.expected is None:
            return ""
        below, above = self.found < self.expected.low, self.found > self.expected.high
        return "below" if below else "above" if above else "as expected"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"verdict": self.verdict}


def compare(arch: Arch, reports: list[Synthesis]) -> list[Row]:
    """All quantities of all reports, in their order; a report stands for the block that its top is called after."""
    resources = estimate(arch, operators=OPERATORS)
    return [row for report in reports for row in _rows(arch, report, resources)]


def _rows(arch: Arch, report: Synthesis, resources: Resources) -> list[Row]:
    """Clock in MHz, cycles, counts."""
    top = report.top
    rows = [Row(top, "clock MHz", report.clock_hz / 1e6, Range.exactly(arch.clock_hz / 1e6))]
    for name, span in (("latency", report.latency), ("interval", report.interval)):
        if span:
            rows += [Row(top, f"{name} {end}", cycles, None) for end, cycles in span._asdict().items()]
    depth = getattr(arch, top).latency_cycles if top in ("wuve", "vector_unit") else None
    for loop in report.loops:
        if loop.ii_cycles is not None:
            rows.append(
                Row(top, f"II of {loop.name}", loop.ii_cycles, _exactly(1 if top in _PACES else None))
            )
        if loop.depth_cycles is not None:
            rows.append(Row(top, f"depth of {loop.name}", loop.depth_cycles, _exactly(depth)))
    if top in ("stce", "sat"):
        for key, operator in operator_names(arch).items():
            if operator in report.operators:
                expected = getattr(arch.array, key.removeprefix("array."))
                rows.append(
                    Row(top, f"latency of {operator}", report.operators[operator], _exactly(expected))
                )
    usage = _usage(top, resources)
    return rows + [
        Row(top, name, report.resources[name], usage[name] if usage else None) for name in RESOURCES
    ]


def _exactly(cycles: int | None) -> Range | None:
    return None if cycles is None else Range.exactly(cycles)


def _usage(top: str, resources: Resources) -> Usage | None:
    """What the resource model says of a block."""
    if top not in _COMPONENTS:
        return None
    parts = [part.total for name, part in resources.components.items() if name.startswith(_COMPONENTS[top])]
    return total(parts)
