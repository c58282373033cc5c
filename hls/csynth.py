"""Reads the reports of Vitis HLS, `syn/report/MODULE_csynth.xml`, and makes an overlay of an architecture from them.

Read are, all below the root `profile`:

- `UserAssignments`: TopModelName, Part, TargetClockPeriod, ClockUncertainty (nanoseconds)
- `PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod` (nanoseconds)
- `PerformanceEstimates/SummaryOfOverallLatency`: Best-caseLatency, Worst-caseLatency, Interval-min, Interval-max
  (cycles)
- `PerformanceEstimates/SummaryOfLoopLatency/LOOP`: PipelineII, PipelineDepth (cycles)
- `AreaEstimates/Resources` and `AvailableResources`: LUT, FF, DSP (DSP48E of older releases), BRAM_18K, URAM
- every `BindNode` with BINDTYPE "op": OPTYPE and LATENCY (cycles) of an operator

Cycles that depend on run-time values are `undef`, `-` or `?` there and None here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from codesign.errors import SpecError
from codesign.input_files import read_file
from codesign.spec_errors import printable, shorten
from codesign.strict_yaml import dump
from hw_models.arch import Arch

MAX_BYTES = 64 << 20

_DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")
_UNKNOWN = {"undef", "-", "?", ""}
_RESOURCES = {
    "lut": ("LUT",),
    "ff": ("FF",),
    "dsp": ("DSP", "DSP48E"),
    "bram36": ("BRAM_18K",),
    "uram288": ("URAM",),
}
_OLDER_RELEASES_LACK = {"uram288"}


class Span(NamedTuple):
    """Smallest and largest number of cycles."""

    low: int
    high: int


class Loop(NamedTuple):
    """A pipelined loop: initiation interval and depth of its pipeline (cycles, None if not known)."""

    name: str
    ii_cycles: int | None
    depth_cycles: int | None


@dataclass(frozen=True)
class Synthesis:
    """The report of one module. `operators` maps an operator such as `hmul` to its largest latency (cycles)."""

    file: str
    top: str
    part: str
    target_ns: float
    uncertainty_ns: float
    estimated_ns: float
    latency: Span | None
    interval: Span | None
    loops: tuple[Loop, ...]
    resources: Mapping[str, float]
    available: Mapping[str, float]
    operators: Mapping[str, int]

    @property
    def clock_hz(self) -> int:
        """The fastest clock that its longest path allows, the uncertainty kept free, in whole hertz."""
        return math.floor(1e9 / (self.estimated_ns + self.uncertainty_ns))


def read_csynth(path: Path) -> Synthesis:
    """Read one report. Raises SpecError if it is none, is damaged or lacks what every report has."""
    fields = _Fields(printable(str(path)), _parse(path))
    period = "PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod"
    summary = "PerformanceEstimates/SummaryOfOverallLatency"
    return Synthesis(
        file=fields.file,
        top=fields.text("UserAssignments/TopModelName"),
        part=fields.text("UserAssignments/Part", "unknown"),
        target_ns=fields.period("UserAssignments/TargetClockPeriod"),
        uncertainty_ns=fields.number("UserAssignments/ClockUncertainty", "0"),
        estimated_ns=fields.period(period),
        latency=fields.span(f"{summary}/Best-caseLatency", f"{summary}/Worst-caseLatency"),
        interval=fields.span(f"{summary}/Interval-min", f"{summary}/Interval-max"),
        loops=tuple(fields.loops()),
        resources=fields.resources("AreaEstimates/Resources"),
        available=fields.resources("AreaEstimates/AvailableResources"),
        operators=fields.operators(),
    )


def _parse(path: Path) -> ElementTree.Element:
    """The root element. Declarations are refused, and entities with them: no report has any."""
    name = printable(str(path))
    content = read_file(path, "a synthesis report of Vitis HLS", MAX_BYTES)
    try:
        text = content.decode("utf-8-sig")
        if _DECLARATION.search(text):
            raise SpecError(
                f"{name}: got a document type declaration, expected a plain XML report of Vitis HLS"
            )
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise SpecError(f"{name}: is damaged ({error}); expected MODULE_csynth.xml of Vitis HLS") from None
    if root.tag != "profile":
        got = shorten(printable(root.tag))
        raise SpecError(f"{name}: got root element <{got}>, expected <profile>, the report of a module")
    return root


class _Fields:
    """The fields of a report by path, in messages with file and path."""

    def __init__(self, file: str, root: ElementTree.Element) -> None:
        self.file = file
        self._root = root

    def text(self, path: str, default: str | None = None) -> str:
        found = (self._root.findtext(path) or "").strip() or default
        if found is None:
            raise SpecError(f"{self.file}: {path} is missing; expected a whole report of a module")
        return printable(found)

    def number(self, path: str, default: str | None = None) -> float:
        return self._number(path, self.text(path, default))

    def period(self, path: str) -> float:
        found = self.number(path)
        if not found:
            raise SpecError(f"{self.file}: {path}: got 0, expected a clock period in nanoseconds")
        return found

    def span(self, low: str, high: str) -> Span | None:
        least, most = self.cycles(low, self.text(low)), self.cycles(high, self.text(high))
        return None if least is None or most is None else Span(least, most)

    def cycles(self, path: str, found: str) -> int | None:
        if found in _UNKNOWN:
            return None
        number = self._number(path, found)
        if number != int(number):
            raise SpecError(f"{self.file}: {path}: got {found}, expected a whole number of cycles")
        return int(number)

    def loops(self) -> Iterator[Loop]:
        for loop in self._root.iterfind("PerformanceEstimates/SummaryOfLoopLatency/*"):
            name = printable((loop.findtext("Name") or loop.tag).strip())
            ii, depth = (
                self.cycles(f"{name}/{field}", (loop.findtext(field) or "").strip())
                for field in ("PipelineII", "PipelineDepth")
            )
            if ii is not None or depth is not None:
                yield Loop(name, ii, depth)

    def resources(self, path: str) -> dict[str, float]:
        """As `codesign.resources` counts them: one BRAM36 is two BRAM_18K."""
        amounts = {}
        for name, tags in _RESOURCES.items():
            tag = next((tag for tag in tags if self._root.find(f"{path}/{tag}") is not None), tags[0])
            default = "0" if name in _OLDER_RELEASES_LACK else None
            amounts[name] = self.number(f"{path}/{tag}", default) / (2 if tag == "BRAM_18K" else 1)
        return amounts

    def operators(self) -> dict[str, int]:
        latencies: dict[str, int] = {}
        for node in self._root.iter("BindNode"):
            operator, latency = node.get("OPTYPE", ""), node.get("LATENCY", "")
            if node.get("BINDTYPE") == "op" and operator and latency.isascii() and latency.isdigit():
                latencies[operator] = max(int(latency), latencies.get(operator, 0))
        return latencies

    def _number(self, path: str, found: str) -> float:
        try:
            number = float(found)
        except ValueError:
            number = math.nan
        if not 0 <= number < 1e15:
            raise SpecError(f"{self.file}: {path}: got {shorten(found)}, expected a number of at least 0")
        return number


def operator_names(arch: Arch) -> dict[str, str]:
    """The array's two operators as the report calls them: `hmul` or `fmul`, `hadd` or `fadd`, by architecture key."""
    letter = {16: "h", 32: "f"}
    return {
        "array.multiplier_latency_cycles": letter[arch.precision.operand_bits] + "mul",
        "array.accumulator_latency_cycles": letter[arch.precision.accumulator_bits] + "add",
    }


def overlay(arch: Arch, reports: Iterable[Synthesis]) -> dict[str, int]:
    """Parameters of the architecture as synthesis found them, by dotted key.

    The clock is that of the slowest report. Latencies of multiplier and adder come from the operators of `stce` or
    `sat`, where these are named; the depth of `wuve` and `vector_unit` from their only pipelined loop.
    """
    known = list(reports)
    found = {"clock_hz": min(report.clock_hz for report in known)}
    for report in known:
        if report.top in ("stce", "sat"):
            for key, operator in operator_names(arch).items():
                if latency := report.operators.get(operator):
                    found[key] = max(latency, found.get(key, 0))
        if report.top in ("wuve", "vector_unit") and len(report.loops) == 1 and report.loops[0].depth_cycles:
            found[f"{report.top}.latency_cycles"] = report.loops[0].depth_cycles
    arch.with_overrides(found)  # raises what a value out of bounds raises
    return found


def overlay_text(arch: Arch, reports: Iterable[Synthesis]) -> str:
    """The overlay as a YAML file; resources, which no parameter of an architecture states, are comments."""
    known = list(reports)
    lines = [
        f"# Synthesis of {arch.name} by Vitis HLS. Use: codesign simulate --arch ... --overlay THIS_FILE"
    ]
    for report in known:
        amounts = ", ".join(f"{amount:.12g} {name}" for name, amount in report.resources.items())
        lines.append(
            f"# {report.top} on {report.part}: {report.estimated_ns:g} ns of {report.target_ns:g} ns; {amounts}"
        )
    return "\n".join(lines).encode("ascii", "backslashreplace").decode() + "\n" + dump(overlay(arch, known))
