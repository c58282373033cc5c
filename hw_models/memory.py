"""The servers that all units share: DMA with the DRAM behind it, and the sparsifier."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from hw_models.arch import Arch
from hw_models.dma import Dma
from hw_models.dram import Dram
from hw_models.program import Unit
from hw_models.sore import Sore


class Port:
    """The requests that a unit may have under way side by side."""

    LOAD_A = 0
    LOAD_B = 1
    PRUNE = 2
    STORE = 3


PORTS = 4


def first_client(unit: Unit) -> int:
    """Number of a unit's first port among the clients of the shared servers: the order of arbitration."""
    return PORTS * list(Unit).index(unit)


class Kind(IntEnum):
    """What a unit may ask for."""

    READ = 0
    WRITE = 1
    SORT = 2


class Work(NamedTuple):
    """`amount` bytes to move, or `amount` groups of `group_size` values to prune."""

    kind: Kind
    amount: int
    group_size: int = 0


class SharedServers:
    """Serves work first come, first served, and counts it."""

    def __init__(self, arch: Arch) -> None:
        self.dram = Dram(arch)
        self._dma = Dma(arch, self.dram)
        self.sore = Sore(arch)

    def serve(self, now: int, work: Work) -> int:
        """Reserve the server for `work` that is ready `now`; return when it is done (always later than `now`)."""
        if work.kind is Kind.SORT:
            return self.sore.sort(now, work.amount, work.group_size)
        return self._dma.transfer(now, work.amount, work.kind is Kind.WRITE)

    def reserved_cycles(self, now: int) -> tuple[int, ...]:
        """How long each server is still reserved: all of its state that the future depends on."""
        free_at = (self.dram.free_at, *self._dma.port_free_at, self.sore.free_at)
        return tuple(max(0, time - now) for time in free_at)

    def counters(self) -> tuple[int, ...]:
        """The counters that grow with the work."""
        dram = self.dram
        return (dram.read_bytes, dram.write_bytes, dram.busy_cycles, self.sore.busy_cycles)

    def advance(self, delta: tuple[int, ...], times: int) -> None:
        """Add `times` x `delta` to the counters."""
        dram = self.dram
        dram.read_bytes += delta[0] * times
        dram.write_bytes += delta[1] * times
        dram.busy_cycles += delta[2] * times
        self.sore.busy_cycles += delta[3] * times
