"""A program with its golden data: what memory holds before it, and what must be there after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.schedule.planner import Plan
from hls.program.builder import ProgramBuilder
from hls.program.memory import Bytes, Tensor
from workloads.ops import Stage

Array = NDArray[Any]

STALE = 0xFF
"""Every byte of memory where nothing was stored yet: NaN in every format, so that nobody reads it unseen."""


class Pass(NamedTuple):
    """FF, BP or WU of a layer: what the schedule chose, and which instructions it has become."""

    layer: str
    stage: Stage
    plan: Plan
    instructions: range


@dataclass
class Golden:
    """Tensors that go into a program and must come out of it, by name in the builder's memory.

    A tensor that is updated in place goes in and comes out.
    """

    builder: ProgramBuilder
    passes: list[Pass] = field(default_factory=list)
    inputs: dict[str, Array] = field(default_factory=dict)
    expected: dict[str, Array] = field(default_factory=dict)

    def give(self, name: str, values: Array) -> int:
        """Place a new tensor that goes in; returns its word address."""
        self.inputs[name] = values
        return self._place(name, values)

    def expect(self, name: str, values: Array) -> int:
        """Place a new tensor that must come out; returns its word address."""
        self.expected[name] = values
        return self._place(name, values)

    def image(self) -> Bytes:
        """Memory before the program runs."""
        memory = self.builder.memory.image()
        memory[:] = STALE
        for name, values in self.inputs.items():
            self.tensor(name).of(memory)[...] = values
        return memory

    def mismatches(self, memory: Bytes) -> dict[str, int]:
        """How many bytes of each expected tensor differ after the program ran."""
        return {
            name: int(np.count_nonzero(_bytes(self.tensor(name).of(memory)) != _bytes(values)))
            for name, values in self.expected.items()
        }

    def tensor(self, name: str) -> Tensor:
        """Where a tensor lies."""
        return self.builder.memory.tensors[name]

    def _place(self, name: str, values: Array) -> int:
        return self.builder.memory.add(name, values.shape, values.dtype.name).address


def _bytes(values: Array) -> Bytes:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
