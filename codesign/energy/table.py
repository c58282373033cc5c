"""The energy table of an architecture: pJ of every action that `codesign.energy.actions` counts.

A buffer is priced as an SRAM of the size of one of its banks. An operation of the vector unit counts as half a
single-precision multiply-add. `leak` is background power over a cycle: of the chip, of a DRAM channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codesign.energy.actions import ACTIONS
from codesign.energy.dram import TABLE_WIDTH_BITS, dram_kind
from codesign.energy.figures import Figure, weakest
from codesign.energy.ranges import Range
from codesign.energy.technology import Technology
from codesign.units import bytes_to_bits, cycles_to_seconds, joules_to_picojoules
from hw_models.arch import Arch


@dataclass(frozen=True, slots=True)
class Price:
    """Energy of one action, and the weakest status of the figures behind it (`imported`: those of an ERT)."""

    picojoules: Range
    status: str


@dataclass(frozen=True)
class EnergyTable:
    """Prices by `component.action`; `description` says what they stand for and leave out."""

    name: str
    description: str
    prices: Mapping[str, Price]

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable object."""
        prices = {
            name: {"energy_pj": asdict(price.picojoules), "status": price.status}
            for name, price in self.prices.items()
        }
        return {"source": self.name, "description": self.description, "prices": prices}


def technology_table(arch: Arch, technology: Technology) -> EnergyTable:
    """The energy table of `arch` in `technology`. Raises SpecError if the energy of its DRAM is not known."""
    chip = _Chip(arch, technology)
    on_chip = {
        f"{component}.{action}": chip.price(component, action)
        for component, actions in ACTIONS.items()
        if not component.startswith("dram_")
        for action in actions
    }
    return EnergyTable(technology.name, technology.description, on_chip | _dram_prices(arch))


class _Chip:
    """Prices of on-chip actions."""

    def __init__(self, arch: Arch, technology: Technology) -> None:
        self._arch = arch
        self._technology = technology
        self._energies = technology.nominal

    def price(self, component: str, action: str) -> Price:
        """Price of one action."""
        if action == "leak":
            static = self._technology.static_power
            return Price(_per_cycle(self._arch, static.value), static.status)
        if action == "read_bit":
            return self._storage(component, "read")
        if action == "write_bit":
            return self._storage(component, "write")
        if action == "operation":
            parts = (self._energies.fp32_multiply, self._energies.fp32_add)
            picojoules = sum(part.value.nominal for part in parts) / 2
            return self._arithmetic(picojoules, weakest(*(part.status for part in parts)))
        figure: Figure = getattr(self._energies, action)
        scale = self._arithmetic if action.startswith("fp") else self._fabric
        return scale(figure.value.nominal, figure.status)

    def _storage(self, component: str, access: Literal["read", "write"]) -> Price:
        name, _, kind = component.rpartition("_")
        if kind == "register":
            figure: Figure = getattr(self._energies, f"register_{access}")
            return self._fabric(figure.value.nominal, figure.status)
        buffer = getattr(self._arch.buffers, name)
        bank_bytes = buffer.capacity_bytes // buffer.banks
        return self._fabric(self._energies.sram_pj(bank_bytes, access), self._energies.sram_status)

    def _arithmetic(self, picojoules: float, status: str) -> Price:
        return self._scaled(picojoules, status, self._technology.arithmetic_factor)

    def _fabric(self, picojoules: float, status: str) -> Price:
        return self._scaled(picojoules, status, self._technology.fabric_factor)

    def _scaled(self, picojoules: float, status: str, factor: Figure) -> Price:
        """Energy times factor. A technology's factor on its own energies is their uncertainty and no new source."""
        if self._technology.base is not None:
            status = weakest(status, factor.status)
        return Price(factor.value * picojoules, status)


def _dram_prices(arch: Arch) -> dict[str, Price]:
    kind = dram_kind(arch)
    power = (kind.standby.value + kind.refresh.value) * (arch.dram.width_bits / TABLE_WIDTH_BITS)
    per_bit = kind.activate.value / bytes_to_bits(kind.row_bytes)
    return {
        "dram_access.read_bit": Price(kind.read.value, kind.read.status),
        "dram_access.write_bit": Price(kind.write.value, kind.write.status),
        "dram_activation.streamed_bit": Price(per_bit, kind.activate.status),
        "dram_background.leak": Price(
            _per_cycle(arch, power), weakest(kind.standby.status, kind.refresh.status)
        ),
    }


def _per_cycle(arch: Arch, watts: Range) -> Range:
    """Picojoules of one clock cycle."""
    return watts * joules_to_picojoules(cycles_to_seconds(1, arch.clock_hz))
