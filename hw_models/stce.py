"""STCE, the systolic array of unified sparse PEs, as seen by the event model: tiles in, cycles out."""

from __future__ import annotations

from collections.abc import Iterable

from hw_models.arch import Arch
from hw_models.program import Step, Tile, TileGemm
from hw_models.timing import ArrayCycles, Dataflow, gemm_cycles, tile_sequence


class Stce:
    """Takes the exact array timing of `hw_models.timing`; it adds nothing of its own."""

    def __init__(self, arch: Arch) -> None:
        self._array = arch.array_params

    def breakdown(self, step: Step, tile: Tile) -> ArrayCycles:
        """Cycles of one buffer tile, by cause."""
        gemm, dataflow = _gemm(step, tile)
        once = gemm_cycles(self._array, dataflow, gemm.i, gemm.k, gemm.j, step.n, step.m)
        return once if gemm.count == 1 else ArrayCycles(*(gemm.count * cycles for cycles in once))

    def cycles(self, step: Step, tile: Tile) -> int:
        """Cycles of one buffer tile."""
        return self.breakdown(step, tile).total

    def parts(self, step: Step, tile: Tile) -> Iterable[int]:
        """Cycles of each array tile inside the buffer tile, in execution order."""
        gemm, dataflow = _gemm(step, tile)
        for _ in range(gemm.count):
            yield from tile_sequence(self._array, dataflow, gemm.i, gemm.k, gemm.j, step.n, step.m)


def _gemm(step: Step, tile: Tile) -> tuple[TileGemm, Dataflow]:
    assert tile.gemm is not None and step.choice is not None, f"step {step.name} is no GEMM"
    return tile.gemm, step.choice.dataflow
