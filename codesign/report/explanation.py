"""What changed between two results and where it comes from, in sentences.

The cycles of an iteration are charged to causes without remainder, so the changes of all causes account for the whole
difference. The figures and settings that are named beside a cause are those that bear on it; which of several
settings did what only shows when they are changed one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codesign.report.difference import Change, Difference, shown
from codesign.report.numbers import byte_text, compact, joule_unit, short
from codesign.report.parts import CAUSES, USEFUL, cycles_by_cause
from codesign.report.saved import SavedResult

ENOUGH = 0.95
"""Share of all changes that the sentences cover."""
MOST_SENTENCES = 6

_ARRAY = ("array.", "precision.", "optimizations.")
_MEMORY = ("dram.", "dma.", "buffers.", "clock_hz", "precision.")
BEARING: dict[str, tuple[str, ...]] = {
    USEFUL: ("array.rows", "array.cols"),
    **dict.fromkeys(("padding", "accumulator", "port", "weight_load", "fill_drain"), _ARRAY),
    **dict.fromkeys(("memory_read", "memory_write"), _MEMORY),
    "sort": ("sore.", "optimizations.pregenerate"),
    "vector": ("vector_unit.", *_MEMORY),
    "update": ("wuve.", "sore.", *_MEMORY),
}
"""Settings that bear on a cause; method and ratio bear on all."""

MEASURE = {USEFUL: "executed_macs", "memory_read": "dram_read_bytes", "memory_write": "dram_write_bytes"}
"""Figures that bear on a cause."""

SHOWN = {
    "executed_macs": "executed multiply-accumulates",
    "dram_read_bytes": "bytes read",
    "dram_write_bytes": "bytes written",
}


def explain(difference: Difference) -> list[str]:
    """Sentences, the largest contributions first."""
    if difference.identical:
        return ["The results are identical: the same configuration, and every figure is the same."]
    return [_headline(difference), *_causes(difference), *_traffic(difference), *_energy(difference)]


def _headline(difference: Difference) -> str:
    total = difference.total
    if not total.difference:
        return f"Both take {total.a:,} cycles."
    more = "more" if total.difference > 0 else "fewer"
    return (
        f"B takes {abs(total.difference):,} cycles {more} than A: {total.b:,} instead of {total.a:,} "
        f"({total.difference / total.a:+.1%}), which is {total.a / total.b:.3f}x as fast in cycles."
    )


def _causes(difference: Difference) -> Iterator[str]:
    """A sentence for each cause that matters."""
    for change in largest(difference.cause_cycles):
        weight = _weight(change.difference, difference.total.difference)
        place, beside = _where(difference, change), _bearing(difference, change.name)
        what = f"{change.name} ({CAUSES[change.name]})"
        yield f"{what}: {_signed(change.difference)} cycles{weight}; {place}.{beside}"


def _weight(part: float, whole: float) -> str:
    """What share of the whole difference a cause accounts for."""
    if not whole:
        return ""
    return f", {part / whole:.0%} of the difference" if part / whole > 0 else ", against the difference"


def largest(changes: Sequence[Change]) -> list[Change]:
    """The first changes, until they cover ENOUGH of all."""
    everything = sum(abs(change.difference) for change in changes)
    covered, chosen = 0.0, []
    for change in changes[:MOST_SENTENCES]:
        if covered >= ENOUGH * everything:
            break
        covered += abs(change.difference)
        chosen.append(change)
    return chosen


def _where(difference: Difference, change: Change) -> str:
    """The stage and the layer that contribute most in the same direction."""
    a, b = (_by_place(each.result, change.name) for each in (difference.a, difference.b))
    direction = 1 if change.difference > 0 else -1
    found = []
    for first, second in zip(a, b, strict=True):
        deltas = {name: second.get(name, 0) - first.get(name, 0) for name in first | second}
        name = max(deltas, key=lambda name: direction * deltas[name])
        found.append(f"{name} ({_signed(deltas[name])})")
    return f"most in {' and in '.join(found)}"


def _by_place(result: SavedResult, cause: str) -> tuple[dict[str, int], dict[str, int]]:
    """Cycles of a cause by stage and by layer."""
    stages = {stage.upper(): cycles_by_cause(share)[cause] for stage, share in result.stages.items()}
    layers = {
        layer.layer: sum(cycles_by_cause(share)[cause] for share in layer.stages.values())
        for layer in result.layers
    }
    return stages, layers


def _bearing(difference: Difference, cause: str) -> str:
    """Figures and settings that differ and bear on a cause."""
    measures = {change.name: change for change in difference.measures}
    found = []
    if (name := MEASURE.get(cause)) and measures[name].difference:
        figure = measures[name]
        found.append(f"{SHOWN[name]} {compact(figure.a)} -> {compact(figure.b)}")
    prefixes = ("method", "nm", *BEARING[cause])
    settings = [setting for setting in difference.settings if setting.key.startswith(prefixes)]
    found += [f"{setting.key} {shown(setting.a)} -> {shown(setting.b)}" for setting in settings]
    return f" Beside it: {', '.join(found)}." if found else ""


def _traffic(difference: Difference) -> Iterator[str]:
    a, b = (sum(getattr(change, side) for change in difference.stage_bytes) for side in ("a", "b"))
    if a != b and a:
        most = difference.stage_bytes[0]
        yield (
            f"DRAM traffic: {byte_text(b)} instead of {byte_text(a)} ({(b - a) / a:+.1%}); most in "
            f"{most.name.upper()} ({'+' if most.difference > 0 else ''}{byte_text(most.difference)})."
        )


def _energy(difference: Difference) -> Iterator[str]:
    a, b = (sum(getattr(change, side) for change in difference.component_joules) for side in ("a", "b"))
    if a != b and a:
        unit, size = joule_unit(max(a, b))
        parts = ", ".join(
            f"{change.name} ({'+' if change.difference > 0 else '-'}{short(abs(change.difference) / size)})"
            for change in largest(difference.component_joules)
        )
        yield f"Energy: {short(b / size)} {unit} instead of {short(a / size)} {unit} ({(b - a) / a:+.1%}): {parts}."


def _signed(cycles: float) -> str:
    return f"{'+' if cycles > 0 else '-' if cycles < 0 else ''}{compact(abs(cycles))}"
