"""What each dataflow optimization is worth: all off, then each one on, then each one alone off."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from codesign.simulate import OnStep, simulate_trace
from hw_models.arch import Arch
from workloads.trace import Trace

OPTIMIZATIONS = {
    "interleave": "interleave mapping",
    "pregenerate": "pre-generated sparse weights",
    "offline_schedule": "offline scheduling",
}
"""Switches under `optimizations` of an architecture, in the order of the ladder, with their names."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One setting of the switches and its iteration. `without_cycles`: all on but the rung's last switch."""

    label: str
    switched_on: tuple[str, ...]
    total_cycles: int
    without_cycles: int | None


def ladder(arch: Arch, trace: Trace, *, full: bool = False, on_step: OnStep | None = None) -> list[Rung]:
    """Simulate the ladder of an iteration whose sparse operands are marked. Raises what `simulate_trace` raises."""

    @cache
    def cycles(on: tuple[str, ...]) -> int:
        variant = arch.with_overrides({f"optimizations.{name}": name in on for name in OPTIMIZATIONS})
        return simulate_trace(variant, trace, full=full, baseline=False, on_step=on_step).total_cycles

    names = tuple(OPTIMIZATIONS)
    rungs = [Rung("all off", (), cycles(()), None)]
    for count, name in enumerate(names, start=1):
        others = tuple(other for other in names if other != name)
        rungs.append(Rung(f"+ {OPTIMIZATIONS[name]}", names[:count], cycles(names[:count]), cycles(others)))
    return rungs
