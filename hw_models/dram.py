"""DRAM: all channels behind one address-interleaved, first-come-first-served controller."""

from __future__ import annotations

from codesign.units import transfer_cycles
from hw_models.arch import Arch


class Dram:
    """Bandwidth shared by every transfer, reads and writes alike.

    Data is striped over all channels, so the channels act as one server with their joint effective rate
    (peak x `efficiency`, which stands for refresh, row misses and bus turn-around). Latency delays a transfer
    without occupying the channels.
    """

    def __init__(self, arch: Arch) -> None:
        self._cycles_per_byte = arch.dram_cycles_per_byte
        self.latency_cycles = arch.dram_latency_cycles
        self.free_at = 0
        self.read_bytes = 0
        self.write_bytes = 0
        self.busy_cycles = 0

    def reserve(self, earliest: int, transfer_bytes: int, write: bool) -> int:
        """Occupy the channels from `earliest` on; return when the last byte has passed."""
        cycles = transfer_cycles(transfer_bytes, self._cycles_per_byte)
        self.free_at = max(earliest, self.free_at) + cycles
        self.busy_cycles += cycles
        if write:
            self.write_bytes += transfer_bytes
        else:
            self.read_bytes += transfer_bytes
        return self.free_at
