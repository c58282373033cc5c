"""Energies of on-chip actions in a process technology, read from `tables/*.yaml` or from a user's file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from codesign.energy.figures import Energy, EnergyPerBit, Power, Ratio, weakest
from codesign.strict_yaml import load, validate
from hw_models.block_specs import Spec

TABLES = Path(__file__).parent / "tables"
DRAM_TABLE = TABLES / "dram.yaml"


class Sram(Spec):
    """Energy of one bit in an SRAM of some capacity."""

    capacity_bytes: int = Field(gt=0, description="Capacity of the memory (bytes).")
    read: EnergyPerBit = Field(description="Reading one bit.")
    write: EnergyPerBit = Field(description="Writing one bit.")

    @field_validator("read", "write")
    @classmethod
    def _check_value(cls, figure: EnergyPerBit) -> EnergyPerBit:
        if not figure.value.nominal:
            raise ValueError(
                "got 0 pJ/bit, expected more than 0: energies are interpolated by their logarithm"
            )
        return figure


class Energies(Spec):
    """Energies of on-chip actions at one node. Bare circuits: no clock tree, no control, no long wires."""

    fp16_multiply: Energy = Field(description="Half-precision multiplication.")
    fp32_multiply: Energy = Field(description="Single-precision multiplication.")
    fp16_add: Energy = Field(description="Half-precision addition.")
    fp32_add: Energy = Field(description="Single-precision addition.")
    compare_16: Energy = Field(description="Comparison of two 16-bit keys.")
    compare_32: Energy = Field(description="Comparison of two 32-bit keys.")
    mux_bit: EnergyPerBit = Field(description="One bit through a two-way multiplexer.")
    register_read: EnergyPerBit = Field(description="Reading one bit of a register.")
    register_write: EnergyPerBit = Field(description="Writing one bit of a register.")
    sram: Annotated[tuple[Sram, ...], Field(min_length=1)] = Field(
        description="SRAMs in the order of their capacity; between two of them, interpolation on log-log axes."
    )

    @field_validator("sram")
    @classmethod
    def _check_order(cls, sram: tuple[Sram, ...]) -> tuple[Sram, ...]:
        capacities = [memory.capacity_bytes for memory in sram]
        if capacities != sorted(set(capacities)):
            raise ValueError(f"capacities are {capacities}, expected each larger than the one before")
        return sram

    def sram_pj(self, capacity_bytes: int, action: Literal["read", "write"]) -> float:
        """Nominal pJ of a bit in an SRAM of `capacity_bytes`; beyond the table that of its nearest entry."""
        capacities = [memory.capacity_bytes for memory in self.sram]
        energies = [getattr(memory, action).value.nominal for memory in self.sram]
        return float(np.exp(np.interp(np.log(capacity_bytes), np.log(capacities), np.log(energies))))

    @property
    def sram_status(self) -> str:
        """The weakest status of an SRAM figure."""
        return weakest(*(figure.status for memory in self.sram for figure in (memory.read, memory.write)))


class Technology(Spec):
    """How the chip is realised: energies at a node, factors on them, static power."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Short name.")
    description: str = Field(max_length=2000, description="What it stands for and leaves out.")
    base: Literal["asic45", "asic16", "asic7"] | None = Field(
        default=None, description="Packaged technology whose `energies` are taken; else state your own."
    )
    energies: Energies | None = Field(
        default=None, description="Energies at the node, if they are not those of `base`."
    )
    arithmetic_factor: Ratio = Field(description="Floating-point arithmetic over its nominal energy.")
    fabric_factor: Ratio = Field(description="Every other on-chip action over its nominal energy.")
    static_power: Power = Field(description="What the chip draws at all times.")

    @model_validator(mode="after")
    def _check_energies(self) -> Technology:
        if (self.base is None) == (self.energies is None):
            found = "neither" if self.base is None else "both"
            raise ValueError(f"got {found} of base and energies, expected one of them")
        return self

    @property
    def nominal(self) -> Energies:
        """The energies that the factors apply to."""
        return self.energies or packaged_technology(str(self.base)).nominal


def packaged() -> list[str]:
    """Names of the technologies that come with the package."""
    return sorted(path.stem for path in TABLES.glob("*.yaml") if path != DRAM_TABLE)


@cache
def packaged_technology(name: str) -> Technology:
    """A technology that comes with the package."""
    return validate(load(TABLES / f"{name}.yaml"), Technology)
