"""The accelerator's memory: tensors by name, each at a word address."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import SpecError
from hls.program.instruction import WORD_BYTES

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
MAX_WORDS = 1 << 32


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in C order from word `address` on; `dtype` is numpy's name of the type."""

    name: str
    address: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def words(self) -> int:
        """Words that it takes."""
        return -(-prod(self.shape) * np.dtype(self.dtype).itemsize // WORD_BYTES)

    def of(self, memory: Bytes) -> Array:
        """Its elements, a view of `memory`. Raises SpecError if they lie beyond the end."""
        return view(memory, self.address, prod(self.shape), self.dtype).reshape(self.shape)


def view(memory: Bytes, address: int, count: int, dtype: str) -> Array:
    """`count` elements from a word address on. Raises SpecError if they lie beyond the end."""
    first = address * WORD_BYTES
    last = first + count * np.dtype(dtype).itemsize
    if last > memory.size:
        raise SpecError(
            f"memory of {memory.size} bytes: access to bytes {first} to {last}; expected one inside"
        )
    return memory[first:last].view(dtype)


@dataclass
class MemoryMap:
    """Places tensors one after the other, each at the start of a word."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    words: int = 0

    def add(self, name: str, shape: tuple[int, ...], dtype: str = "float16") -> Tensor:
        """Place a new tensor. Raises SpecError if the name is taken or no word address is left."""
        tensor = Tensor(name, self.words, shape, dtype)
        if name in self.tensors or self.words + tensor.words > MAX_WORDS:
            raise SpecError(
                f"memory: no place for tensor {name!r} of shape {shape}; expected a new, smaller one"
            )
        self.tensors[name] = tensor
        self.words += tensor.words
        return tensor

    def image(self) -> Bytes:
        """Memory for all tensors, zero."""
        return np.zeros(self.words * WORD_BYTES, np.uint8)
