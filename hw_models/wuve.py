"""WUVE, the weight-update vector engine: mixed-precision optimizer steps on streaming parameters."""

from __future__ import annotations

from hw_models.arch import Arch
from hw_models.engine import PipelinedLanes


class Wuve(PipelinedLanes):
    """One parameter a lane and cycle: a lane holds the whole update (decay, momentum, step) as a pipeline."""

    def __init__(self, arch: Arch) -> None:
        super().__init__(arch.wuve.lanes, arch.wuve.latency_cycles)
