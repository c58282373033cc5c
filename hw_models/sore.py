"""SORE, the sparsifier: lanes of top-N sorters that turn dense groups into N values and N indices."""

from __future__ import annotations

from hw_models.arch import Arch


class Sore:
    """Each lane inserts one value of its group a cycle, so a group of M takes M cycles in a lane."""

    def __init__(self, arch: Arch) -> None:
        self._lanes = arch.sore.lanes
        self.free_at = 0
        self.busy_cycles = 0

    def sort(self, now: int, groups: int, group_size: int) -> int:
        """Reserve the lanes for `groups` groups of `group_size`; return when the last one is pruned."""
        cycles = -(-groups // self._lanes) * group_size
        self.free_at = max(now, self.free_at) + cycles
        self.busy_cycles += cycles
        return self.free_at
