"""How far the speedup over dense training depends on what the architecture files assume."""

from __future__ import annotations

from dataclasses import dataclass

from codesign.errors import SpecError
from codesign.simulate import OnStep, simulate_trace
from hw_models.arch import Arch
from workloads.trace import Trace

ASSUMED = ("dram.efficiency", "dram.latency_ns", "vector_unit.lanes", "vector_unit.latency_cycles")
"""The constants that `sat.yaml` marks "assumed". All else there is published, from a data sheet, or a decision."""

_MOST = {"dram.efficiency": 1.0}


@dataclass(frozen=True, slots=True)
class Swing:
    """A constant at half (`low`) and at double (`high`), all others as they are, and the speedups that gives."""

    constant: str
    low: float
    high: float
    low_speedup: float
    high_speedup: float


def sensitivity(
    arch: Arch, trace: Trace, *, full: bool = False, on_step: OnStep | None = None
) -> list[Swing]:
    """Simulate an iteration whose sparse operands are marked, dense and sparse, at both values of each constant.

    Raises SpecError if no operand is sparse, and what `simulate_trace` raises.
    """

    if not any(op.sparsity for op in trace.gemms()):
        raise SpecError("sensitivity: is of the speedup over dense training; choose a sparse method")

    def speedup(constant: str, value: float) -> float:
        result = simulate_trace(arch.with_overrides({constant: value}), trace, full=full, on_step=on_step)
        assert result.speedup_vs_dense is not None
        return result.speedup_vs_dense

    swings = []
    for constant in ASSUMED:
        low, high = _range(constant, _value(arch, constant))
        swings.append(Swing(constant, low, high, speedup(constant, low), speedup(constant, high)))
    return swings


def _value(arch: Arch, constant: str) -> float:
    section, _, name = constant.partition(".")
    value: float = getattr(getattr(arch, section), name)
    return value


def _range(constant: str, value: float) -> tuple[float, float]:
    """Half and double: of a count whole numbers from 1, of a share no more than all."""
    half = max(1, value // 2) if isinstance(value, int) else value / 2
    return half, min(2 * value, _MOST.get(constant, 2 * value))
