"""Energy of a simulated iteration: its action counts times the prices of an energy table.

Counts stay integers until they are multiplied, once, so every view (components, stages, layers) has the same sum.
What is not counted is said in `codesign.energy.actions`, what is not priced in the table's description; the card or
board around chip and DRAM, and the host, are in neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from codesign.energy.actions import ACTIONS, Counts
from codesign.energy.figures import weakest
from codesign.energy.ranges import ZERO, Range
from codesign.energy.table import EnergyTable
from codesign.errors import SpecError
from codesign.result import STAGES, SimResult
from codesign.units import joules_to_picojoules, picojoules_to_joules


@dataclass(frozen=True, slots=True)
class ComponentEnergy:
    """Energy of one component, and the status of the weakest figure behind it."""

    joules: Range
    status: str


@dataclass(frozen=True)
class EnergyResult:
    """Energy of one training iteration. `baseline` is that of dense training, if it was simulated.

    `components`, `stages` and `layers` (by layer and stage) each sum to `total_joules`. Lower and upper values
    take all prices of the table `source` at their lower and upper ends together.
    """

    source: str
    description: str
    seconds: float
    macs: int
    dense_macs: int
    components: Mapping[str, ComponentEnergy]
    stages: Mapping[str, Range]
    layers: Mapping[str, Mapping[str, Range]]
    baseline: EnergyResult | None = None

    @property
    def total_joules(self) -> Range:
        """Joules of the iteration."""
        return sum((component.joules for component in self.components.values()), ZERO)

    @property
    def average_watts(self) -> Range:
        """Power over the iteration."""
        return self.total_joules / self.seconds

    @property
    def effective_gops_per_watt(self) -> Range:
        """10^9 executed operations a joule, a multiply-accumulate being two."""
        return self._per_joule(2 * self.macs / 1e9)

    @property
    def dense_equivalent_gops_per_watt(self) -> Range:
        """The same with the multiply-accumulates that dense training would execute."""
        return self._per_joule(2 * self.dense_macs / 1e9)

    @property
    def picojoules_per_mac(self) -> Range | None:
        """All energy over the executed multiply-accumulates, None if there are none."""
        return self.total_joules * (joules_to_picojoules(1) / self.macs) if self.macs else None

    @property
    def saving_vs_dense(self) -> Range | None:
        """Energy of dense training over this, at lower, nominal and upper prices."""
        if self.baseline is None:
            return None
        dense, this = self.baseline.total_joules, self.total_joules
        return Range(dense.low / this.low, dense.nominal / this.nominal, dense.high / this.high)

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable object."""
        per_mac, saving = self.picojoules_per_mac, self.saving_vs_dense
        return {
            "source": self.source,
            "total_j": asdict(self.total_joules),
            "average_power_w": asdict(self.average_watts),
            "effective_gops_per_w": asdict(self.effective_gops_per_watt),
            "dense_equivalent_gops_per_w": asdict(self.dense_equivalent_gops_per_watt),
            "pj_per_effective_mac": None if per_mac is None else asdict(per_mac),
            "dense_total_j": None if self.baseline is None else asdict(self.baseline.total_joules),
            "saving_vs_dense": None if saving is None else asdict(saving),
            "components": {
                name: {"energy_j": asdict(component.joules), "status": component.status}
                for name, component in self.components.items()
            },
            "stages": {stage: asdict(joules) for stage, joules in self.stages.items()},
            "layers": [
                {"layer": layer, "stages": {stage: asdict(joules) for stage, joules in stages.items()}}
                for layer, stages in self.layers.items()
            ],
        }

    def _per_joule(self, amount: float) -> Range:
        total = self.total_joules
        return Range(amount / total.high, amount / total.nominal, amount / total.low)


def energy_of(result: SimResult, table: EnergyTable) -> EnergyResult:
    """Energy of `result` and of its baseline at the prices of `table`, which must be those of its architecture.

    Raises SpecError if an action that was counted has no price, or if nothing costs anything.
    """
    counts = result.action_totals
    _check_prices(counts, table)
    layers = {
        layer: {stage: _joules(done, table) for stage, done in stages.items()}
        for layer, stages in result.actions.items()
    }
    energy = EnergyResult(
        source=table.name,
        description=table.description,
        seconds=result.latency_s,
        macs=result.total.macs,
        dense_macs=result.total.dense_macs,
        components=_components(counts, table),
        stages={
            stage: sum((stages[stage] for stages in layers.values() if stage in stages), ZERO)
            for stage in STAGES
        },
        layers=layers,
        baseline=None if result.baseline is None else energy_of(result.baseline, table),
    )
    if not energy.total_joules.low:
        raise SpecError(
            f"{table.name}: the lower energies of all that was counted are 0 pJ, expected more than 0"
        )
    return energy


def _check_prices(counts: Counts, table: EnergyTable) -> None:
    if missing := sorted(counts.keys() - table.prices.keys()):
        raise SpecError(f"{table.name}: no energy for {', '.join(missing)}; add what the architecture does")


def _components(counts: Counts, table: EnergyTable) -> dict[str, ComponentEnergy]:
    """Energy of every component that did something."""
    components = {}
    for component, actions in ACTIONS.items():
        keys = [f"{component}.{action}" for action in actions]
        done = Counter({key: counts[key] for key in keys if counts[key]})
        if done:
            status = weakest(*(table.prices[key].status for key in done))
            components[component] = ComponentEnergy(_joules(done, table), status)
    return components


def _joules(counts: Mapping[str, int], table: EnergyTable) -> Range:
    low = nominal = high = 0.0
    for key, count in counts.items():
        price = table.prices[key].picojoules
        low += count * price.low
        nominal += count * price.nominal
        high += count * price.high
    return Range(picojoules_to_joules(low), picojoules_to_joules(nominal), picojoules_to_joules(high))
