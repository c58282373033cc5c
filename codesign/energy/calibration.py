"""Where `tables/fpga16.yaml` has its factor on floating-point arithmetic from: one published system that is not SAT.

EF-Train (Tang et al., "EF-Train: Enable Efficient On-device CNN Training on FPGA Through Data Reshaping for Online
Adaptation or Personalization", ACM TODAES 27(5), 2022) trains in single precision on the XCZU9EG of a ZCU102 board,
of the same family and node as the XCVU9P. Its abstract gives throughput and efficiency, hence power. One equation
gives one unknown: what is left of the energy of a multiply-accumulate (MAC) after everything else is arithmetic.

Two things keep this rough. How much of the power is static or the processor's is from memory, so it is a range. And
all control and clocking of EF-Train ends up in the factor, as if another accelerator had as much of it for each MAC.
The lower end of the factor is therefore the gap that Kuon and Rose measured between the same circuits on FPGA and
ASIC. For comparison (from memory, not used): de Fine Licht et al., FPGA 2020, report 15.1 and 10.9 GOp/J of matrix
multiplication in half and single precision for a whole VCU1525 card, which idles at 25 to 30 W; that gives factors of
about 100 to 160 and 30 to 60.
"""

from __future__ import annotations

from codesign.energy.ranges import Range
from codesign.energy.technology import Energies
from codesign.units import joules_to_picojoules

GFLOPS = 46.99
GFLOPS_PER_WATT = 6.09
"""Abstract of the paper, which makes 7.72 W."""

OTHER_WATTS = (3.3, 2.0)
"""(nominal, least) watts of the XCZU9EG besides its logic, from memory: static 0.6 to 1, processors 1.4 to 3."""

UNROLLED = 16
"""Tm and Tn of `source.h`, tangyuelm/EF-Train: so many outputs times so many inputs a cycle."""

KUON_ROSE = 14.0
"""Dynamic power of FPGA over ASIC, abstract of "Measuring the Gap Between FPGAs and ASICs", TCAD 26(2), 2007."""

_WORD_BITS = 32
_BUFFER_BYTES = 4608  # a BRAM36


def arithmetic_factor(energies: Energies) -> Range:
    """Energy of floating-point arithmetic on a 16 nm FPGA over that of the bare operators in `energies` (16 nm)."""
    arithmetic_pj = energies.fp32_multiply.value.nominal + energies.fp32_add.value.nominal
    storage_pj = KUON_ROSE * _storage_pj_per_mac(energies)
    nominal, high = (
        (_logic_pj_per_mac(other_watts) - storage_pj) / arithmetic_pj for other_watts in OTHER_WATTS
    )
    return Range(KUON_ROSE, nominal, high)


def _logic_pj_per_mac(other_watts: float) -> float:
    """Energy of a MAC in EF-Train's logic, all included."""
    macs_per_second = GFLOPS * 1e9 / 2
    return joules_to_picojoules((GFLOPS / GFLOPS_PER_WATT - other_watts) / macs_per_second)


def _storage_pj_per_mac(energies: Energies) -> float:
    """ASIC energy of its operands: an input serves Tm MACs, a sum takes Tn products, a register holds a weight."""
    read = 2 * _WORD_BITS / UNROLLED * energies.sram_pj(_BUFFER_BYTES, "read")
    write = _WORD_BITS / UNROLLED * energies.sram_pj(_BUFFER_BYTES, "write")
    return read + write + _WORD_BITS * energies.register_read.value.nominal
