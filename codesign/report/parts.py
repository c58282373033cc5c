"""Cycles of a part of an iteration, useful work and causes of idleness side by side."""

from __future__ import annotations

from codesign.result import STALL_CAUSES, Share

USEFUL = "useful"
CAUSES = {USEFUL: "multiply-accumulates that the model needs"} | STALL_CAUSES
"""What a cycle of the array may be charged to, with the meaning."""


def cycles_by_cause(share: Share) -> dict[str, int]:
    """Cycles of a part by each of CAUSES; they add up to the part's."""
    stalls = {cause: share.stall_cycles.get(cause, 0) for cause in STALL_CAUSES}
    return {USEFUL: share.cycles - sum(stalls.values())} | stalls
