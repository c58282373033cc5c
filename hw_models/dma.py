"""DMA: the path between DRAM and buffers, with separate read and write ports (AXI read and write channels)."""

from __future__ import annotations

from hw_models.arch import Arch
from hw_models.dram import Dram


class Dma:
    """All DMA engines together: a transfer is striped over every engine's port, then shares the DRAM.

    A transfer passes port and DRAM at the same time, so it takes as long as the slower of the two.
    """

    def __init__(self, arch: Arch, dram: Dram) -> None:
        self._dram = dram
        self._port_bytes_per_cycle = arch.dma_bytes_per_cycle
        self._setup_cycles = arch.dma.setup_cycles
        self.port_free_at = [0, 0]  # read, write

    def transfer(self, now: int, transfer_bytes: int, write: bool) -> int:
        """Reserve port and DRAM; return when the transfer is complete (always later than `now`)."""
        ready = now + self._setup_cycles
        port_end = max(ready, self.port_free_at[write]) - (-transfer_bytes // self._port_bytes_per_cycle)
        self.port_free_at[write] = port_end
        dram_end = self._dram.reserve(ready, transfer_bytes, write)
        return max(port_end, dram_end) + self._dram.latency_cycles
