"""On-chip buffers between the stages of a unit: how many tiles each holds, and so how far a stage may run ahead."""

from __future__ import annotations

from dataclasses import dataclass

from hw_models.arch import Arch
from hw_models.program import Unit


@dataclass(frozen=True, slots=True)
class Slots:
    """Tiles that a unit's buffers hold: operand A, operand B, and results."""

    a: int
    b: int
    out: int

    @classmethod
    def of(cls, arch: Arch, unit: Unit) -> Slots:
        """Slots of `unit` under the buffer settings of `arch`."""
        buffers = arch.buffers
        if unit is Unit.STCE:
            a, b, out = buffers.activation, buffers.weight, buffers.output
            return cls(
                1 + a.double_buffered, 1 + min(a.double_buffered, b.double_buffered), 1 + out.double_buffered
            )
        streaming = buffers.vector if unit is Unit.VECTOR else buffers.update
        depth = 1 + streaming.double_buffered
        return cls(depth, depth, depth)
