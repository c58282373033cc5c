"""Tensors and operations of a recorded forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from torch.utils._pytree import tree_leaves

from codesign.train.tracer_parameters import Parameter
from workloads.graph import Shape


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor at one moment; `offset` is where it begins in its memory.

    `parameter` is its name if it is one. A `constant` depends on no input and no parameter; it may be `random`.
    """

    shape: Shape
    offset: int = 0
    parameter: str = ""
    constant: bool = False
    random: bool = False

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One operation, its arguments by their names in the operator's schema; `relu_` is `relu`, too.

    `modules` are the names of the modules that it was called in, outermost first.
    """

    op: str
    arguments: dict[str, Any]
    outputs: tuple[Value, ...]
    modules: tuple[str, ...]
    pointwise: bool = False

    @property
    def operands(self) -> list[Value]:
        """The tensors among the arguments."""
        return values_in(self.arguments)

    @property
    def module(self) -> str:
        """Name of the innermost module."""
        return self.modules[-1]


class Recording(NamedTuple):
    """A forward pass: the parameters by their first names, the operations in order, what came in, what went out."""

    parameters: dict[str, Parameter]
    calls: Sequence[Call]
    inputs: Sequence[Value]
    output: Value


def values_in(arguments: Any) -> list[Value]:
    """The tensors anywhere in the arguments of an operation."""
    return [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Value)]
