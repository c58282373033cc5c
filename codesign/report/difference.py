"""Two results side by side: what was configured differently, and what changed by how much.

The cycles of an iteration are the sum over causes, over stages, and over layers, so their changes are, too: each list
accounts for the whole difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from codesign.report.parts import cycles_by_cause
from codesign.report.saved import SavedResult, Simulation
from codesign.result import Share
from codesign.spec_errors import printable
from codesign.sweep.export import plain


class Setting(NamedTuple):
    """A part of the configuration that differs; None where it is not known, or there is none."""

    key: str
    a: Any
    b: Any


def shown(value: Any) -> str:
    """The value of a setting as people read it."""
    if value is None:
        return "none"
    return f"{value:,}" if type(value) is int else printable(str(value))


class Change(NamedTuple):
    """A quantity in both results; its unit is in the name, or in that of its list."""

    name: str
    a: float
    b: float

    @property
    def difference(self) -> float:
        """How much more it is in B."""
        return self.b - self.a

    @property
    def ratio(self) -> float | None:
        """That of B over that of A, None if A has none."""
        return self.b / self.a if self.a else None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "a": self.a,
            "b": self.b,
            "difference": self.difference,
            "ratio": self.ratio,
        }


@dataclass(frozen=True)
class Difference:
    """B against A. `notes` say what limits the comparison; each list of changes has the largest first.

    `measures` are figures of the whole iteration, in a fixed order. `stage_cycles`, `cause_cycles` and `layer_cycles`
    each sum to the total, `stage_bytes` to the DRAM traffic, `component_joules` to the energy (nominal; empty if one
    result has none).
    """

    a: Simulation
    b: Simulation
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]
    measures: tuple[Change, ...]
    stage_cycles: tuple[Change, ...]
    cause_cycles: tuple[Change, ...]
    layer_cycles: tuple[Change, ...]
    stage_bytes: tuple[Change, ...]
    component_joules: tuple[Change, ...]

    @property
    def identical(self) -> bool:
        """Whether configuration and every figure are the same."""
        return self.a.result == self.b.result and self.a.arch == self.b.arch

    @property
    def total(self) -> Change:
        """Cycles of the iteration."""
        return self.measures[0]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the words."""
        lists = (
            "measures", "stage_cycles", "cause_cycles", "layer_cycles", "stage_bytes", "component_joules"
        )  # fmt: skip
        return {
            "a": self.a.name,
            "b": self.b.name,
            "identical": self.identical,
            "same_workload": same_workload(self.a, self.b),
            "notes": list(self.notes),
            "settings": [setting._asdict() for setting in self.settings],
            **{name: [change.as_dict() for change in getattr(self, name)] for name in lists},
        }


def compare(a: Simulation, b: Simulation) -> Difference:
    """B against A."""

    def changes(figures: Callable[[SavedResult], Mapping[str, float]]) -> tuple[Change, ...]:
        return tuple(_changes(figures(a.result), figures(b.result)))

    return Difference(
        a,
        b,
        settings=tuple(_settings(a, b)),
        notes=tuple(_notes(a, b)),
        measures=tuple(_measures(a.result, b.result)),
        stage_cycles=changes(lambda result: {stage: share.cycles for stage, share in result.stages.items()}),
        cause_cycles=changes(lambda result: cycles_by_cause(sum(result.stages.values(), Share()))),
        layer_cycles=changes(_by_layer),
        stage_bytes=changes(lambda result: {stage: _moved(share) for stage, share in result.stages.items()}),
        component_joules=changes(_joules) if a.result.energy and b.result.energy else (),
    )


def same_workload(a: Simulation, b: Simulation) -> bool:
    """Whether both iterations do the same work."""
    return a.result.workload_sha256 == b.result.workload_sha256


def title(simulation: Simulation) -> str:
    """What was simulated."""
    result = simulation.result
    training = result.method if result.nm == "dense" else f"{result.method} {result.nm}"
    return printable(f"{result.workload.name}, batch {result.workload.batch}, {training} on {result.arch}")


def _moved(share: Share) -> int:
    return share.read_bytes + share.write_bytes


def _by_layer(result: SavedResult) -> dict[str, int]:
    return {layer.layer: sum(share.cycles for share in layer.stages.values()) for layer in result.layers}


def _joules(result: SavedResult) -> dict[str, float]:
    components = result.energy.components if result.energy else {}
    return {name: component.energy_j.nominal for name, component in components.items()}


def _changes(a: Mapping[str, float], b: Mapping[str, float]) -> list[Change]:
    """Everything that is in either, the largest change first; what is in one only counts as nought in the other."""
    found = [Change(name, a.get(name, 0), b.get(name, 0)) for name in dict.fromkeys([*a, *b])]
    return sorted((each for each in found if each.a or each.b), key=lambda each: -abs(each.difference))


# -- configuration -------------------------------------------------------------------------------------------------


def _settings(a: Simulation, b: Simulation) -> Iterator[Setting]:
    flat = [_chosen(each.result) for each in (a, b)]
    if a.arch and b.arch:
        for settings, arch in zip(flat, (a.arch, b.arch), strict=True):
            settings |= _flat(arch.model_dump(mode="json", exclude={"name", "description"}))
    for key in dict.fromkeys(key for settings in flat for key in settings):
        first, second = (settings.get(key) for settings in flat)
        if first != second:
            yield Setting(key, first, second)


def _chosen(result: SavedResult) -> dict[str, Any]:
    return {
        "workload": result.workload.name,
        "batch": result.workload.batch,
        "method": result.method,
        "nm": result.nm,
        "arch": result.arch,
        "energy": result.energy.source if result.energy else None,
    }


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by dotted key; a list becomes JSON."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: plain(value)}
    return found


def _notes(a: Simulation, b: Simulation) -> Iterator[str]:
    if not same_workload(a, b):
        yield (
            f"The workloads differ: {title(a)}; {title(b)}. Their cycles are of different work; figures of one "
            "sample or multiply-accumulate compare better."
        )
    if a.result.clock_hz != b.result.clock_hz:
        clocks = " and ".join(f"{each.result.clock_hz / 1e6:g} MHz" for each in (a, b))
        yield f"The clocks differ ({clocks}): compare times where cycles mislead."
    if alone := [each.name for each in (a, b) if each.arch is None]:
        yield f"No resolved.yaml beside {' and '.join(alone)}: parameters of the architectures are not compared."
    sources = [each.result.energy.source for each in (a, b) if each.result.energy]
    if len(sources) == 1:
        yield "Only one result has energies; simulate both with --energy to compare them."
    elif len(set(sources)) == 2:
        yield f"Energies rest on different prices: {printable(sources[0])}, {printable(sources[1])}."


# -- figures -------------------------------------------------------------------------------------------------------


def _measures(a: SavedResult, b: SavedResult) -> Iterator[Change]:
    """Figures that both results have."""
    figures = [_figures(result) for result in (a, b)]
    for name, value in figures[0].items():
        other = figures[1].get(name)
        if value is not None and other is not None:
            yield Change(name, value, other)


def _figures(result: SavedResult) -> dict[str, float | None]:
    batch, macs = result.workload.batch, result.macs
    energy = result.energy.total_j.nominal if result.energy else None
    return {
        "total_cycles": result.total_cycles,
        "latency_s": result.latency_s,
        "s_per_sample": result.latency_s / batch,
        "cycles_per_dense_mac": result.total_cycles / macs.dense if macs.dense else None,
        "dense_cycles": result.dense_cycles,
        "speedup_vs_dense": result.speedup_vs_dense,
        "dense_macs": macs.dense,
        "executed_macs": macs.executed,
        "array_utilization": result.array_utilization,
        "dram_read_bytes": result.dram_bytes.read,
        "dram_write_bytes": result.dram_bytes.write,
        "energy_j": energy,
        "energy_j_per_sample": None if energy is None else energy / batch,
    }
