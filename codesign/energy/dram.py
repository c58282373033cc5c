"""Energy of DRAM by kind, from `tables/dram.yaml`. It does not depend on the technology of the chip."""

from __future__ import annotations

from functools import cache

from pydantic import Field

from codesign.energy.figures import Energy, EnergyPerBit, Power
from codesign.energy.technology import DRAM_TABLE
from codesign.errors import SpecError
from codesign.strict_yaml import load, validate
from hw_models.arch import Arch
from hw_models.block_specs import Spec

TABLE_WIDTH_BITS = 64
"""Channel width that rows and powers of the table are stated for; they scale with it."""


class DramKind(Spec):
    """A kind of DRAM."""

    row_bytes: int = Field(gt=0, description="Bytes that one activation opens (bytes, in 64 bits of width).")
    read: EnergyPerBit = Field(description="Reading one bit of an open row.")
    write: EnergyPerBit = Field(description="Writing one bit of an open row.")
    activate: Energy = Field(description="Opening and closing one row.")
    standby: Power = Field(description="Background power of open banks.")
    refresh: Power = Field(description="Power of refreshing, on top of the standby power.")


class _Kinds(Spec):
    kinds: dict[str, DramKind]


@cache
def dram_kinds() -> dict[str, DramKind]:
    """Every kind by its name, which is the first part of that of a speed grade: ddr4 of ddr4-2400."""
    return validate(load(DRAM_TABLE), _Kinds).kinds


def dram_kind(arch: Arch) -> DramKind:
    """The kind of DRAM that `arch` has. Raises SpecError if its energy is not known."""
    kinds = dram_kinds()
    name = arch.dram.kind.partition("-")[0]
    if name not in kinds:
        raise SpecError(
            f"{arch.name}: energy of DRAM {arch.dram.kind!r} is not known, expected dram.kind of one of: "
            f"{', '.join(kinds)}; or give an energy table (ERT) that prices it"
        )
    return kinds[name]
