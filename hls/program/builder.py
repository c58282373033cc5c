"""Puts programs together."""

from __future__ import annotations

from dataclasses import replace

from hls.config import KernelConfig
from hls.program.capacity import fingerprint
from hls.program.encoding import Program
from hls.program.instruction import Halt, Instruction
from hls.program.memory import MemoryMap
from hls.program.tiles import TiledProduct, overlapped


class ProgramBuilder:
    """Collects instructions, and tensors in `memory`, for kernels of a configuration."""

    def __init__(self, config: KernelConfig) -> None:
        self.config = config
        self.memory = MemoryMap()
        self._instructions: list[Instruction] = []
        self._notes: dict[int, str] = {}

    @property
    def count(self) -> int:
        """Instructions so far."""
        return len(self._instructions)

    def note(self, text: str) -> None:
        """Say what begins here; shown in the program's text."""
        self._notes[len(self._instructions)] = text

    def packet(self, *together: Instruction) -> None:
        """Append instructions that run at the same time; their `end` is set here."""
        last = len(together) - 1
        self._instructions += [replace(each, end=int(at == last)) for at, each in enumerate(together)]

    def product(self, product: TiledProduct, name: str) -> None:
        """Append a product. Raises ExportError if the buffers cannot hold one tile of it."""
        for packet in overlapped(list(product.fitted(self.config, name).tiles())):
            self.packet(*packet)

    def build(self) -> Program:
        """The program, with its HALT. Raises SpecError for packets that break a rule."""
        self.packet(Halt())
        return Program(fingerprint(self.config), tuple(self._instructions), self._notes)
