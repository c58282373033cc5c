"""The vector unit: element-wise and reduction work between the GEMMs."""

from __future__ import annotations

from hw_models.arch import Arch
from hw_models.engine import PipelinedLanes


class VectorUnit(PipelinedLanes):
    """One scalar operation a lane and cycle."""

    def __init__(self, arch: Arch) -> None:
        super().__init__(arch.vector_unit.lanes, arch.vector_unit.latency_cycles)
