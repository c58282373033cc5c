"""Published FPGA accelerators that train (`accelerators.yaml`), beside what the simulator says of this one.

Operations are counted as publications do, a multiply-accumulate (MAC) as two. For a sparse accelerator there are two
answers: *effective* operations, which it executes, and *dense-equivalent* ones, which dense training would have
executed in the same time. Neither precision, nor networks, nor what is inside the power figure are the same from row
to row, so ratios say no more than an order of magnitude.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, PositiveFloat

from codesign.energy.estimate import energy_of
from codesign.energy.ranges import Range
from codesign.energy.table import EnergyTable
from codesign.result import SimResult
from codesign.strict_yaml import load, validate
from hw_models.block_specs import Spec

FILE = Path(__file__).parent / "accelerators.yaml"

PUBLISHED_THROUGHPUT_RATIOS = (2.97, 25.22)
"""Throughput of SAT over that of earlier FPGA training accelerators: Fang et al., TCAD 2023, abstract."""

PUBLISHED_EFFICIENCY_RATIOS = (1.36, 3.58)
"""Energy efficiency of SAT over theirs, same source. Which accelerators these are is not in the abstract."""

Origin = Literal["published", "memory"]


class Accelerator(Spec):
    """A published accelerator."""

    name: str
    year: int
    platform: str
    precision: str
    networks: str
    gops: PositiveFloat
    gops_status: Origin
    gops_per_w: PositiveFloat
    gops_per_w_status: Origin
    source: str


class _Accelerators(Spec):
    accelerators: Annotated[tuple[Accelerator, ...], Field(min_length=1)]


@cache
def published_accelerators() -> tuple[Accelerator, ...]:
    """All that are known."""
    return validate(load(FILE), _Accelerators).accelerators


class Throughput(NamedTuple):
    """What a simulated training iteration reaches, in 10^9 operations a second and a joule."""

    workload: str
    nm: str
    effective_gops: float
    dense_equivalent_gops: float
    effective_gops_per_w: Range
    dense_equivalent_gops_per_w: Range

    @classmethod
    def of(cls, result: SimResult, prices: EnergyTable) -> Throughput:
        """Raises SpecError if the prices do not cover what was simulated."""
        energy, total = energy_of(result, prices), result.total
        giga_per_s = 2e-9 / result.latency_s
        return cls(
            result.workload_name,
            result.nm,
            total.macs * giga_per_s,
            total.dense_macs * giga_per_s,
            energy.effective_gops_per_watt,
            energy.dense_equivalent_gops_per_watt,
        )

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable row."""
        row = self._asdict()
        return row | {name: asdict(value) for name, value in row.items() if isinstance(value, Range)}


def throughputs(results: list[SimResult], prices: EnergyTable) -> list[Throughput]:
    """Dense and sparse training of every result that has a baseline. Raises SpecError as `Throughput.of` does."""
    runs = [run for result in results for run in (result.baseline, result) if run]
    return [Throughput.of(run, prices) for run in runs]


def comparison(reached: list[Throughput]) -> dict[str, Any]:
    """What was simulated and what is published, machine-readable."""
    return {
        "simulated": [each.as_dict() for each in reached],
        "published": [each.model_dump() for each in published_accelerators()],
        "published_throughput_ratios": PUBLISHED_THROUGHPUT_RATIOS,
        "published_efficiency_ratios": PUBLISHED_EFFICIENCY_RATIOS,
    }
