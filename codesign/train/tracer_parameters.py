"""The parameters of a traced model: what shows them, whose layer they are, which node of the graph owns them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from workloads.graph import Node


class Parameter(NamedTuple):
    """A parameter: its elements, whether it is trained, and all of its names, several if it is shared."""

    elements: int
    trained: bool
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """Tensor that does not depend on the inputs, and the parameters it is made of, if any.

    If it shows one parameter, or a part of one, `elements` counts the different ones shown, from `offset` on; else 0.
    """

    parameters: tuple[str, ...] = ()
    elements: int = 0
    offset: int = 0
    random: bool = False


class Parameters:
    """Parameters by name. The first node that uses one owns it."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.layer_names = {_layer(name) for known in parameters.values() for name in known.names}
        self._parameters = parameters
        self._owners: dict[str, list[tuple[Constant, Node]]] = {}

    def trained(self, constants: Iterable[Constant]) -> list[str]:
        """Names of the trained parameters that constants are made of."""
        names = (name for constant in constants for name in constant.parameters)
        return [name for name in dict.fromkeys(names) if self._parameters[name].trained]

    def is_weight(self, constant: Constant, elements: int) -> bool:
        """Whether a constant shows one trained parameter, or a part of one, of so many elements."""
        return constant.elements == elements and bool(self.trained([constant]))

    def unowned_elements(self, constants: Iterable[Constant]) -> int:
        """Elements of the trained parameters in constants that no node owns."""
        names = (name for name in self.trained(constants) if name not in self._owners)
        return sum(self._parameters[name].elements for name in names)

    def owner(self, weight: Constant) -> Node | None:
        """The node that owns what a constant shows of a parameter. Two parts of one are equal or disjoint."""
        (name,) = weight.parameters
        whole = self._parameters[name].elements
        for part, node in self._owners.get(name, ()):
            if part == weight or whole in (part.elements, weight.elements):
                return node
        return None

    def own(self, node: Node, constants: Iterable[Constant]) -> None:
        """Let a node own the trained parameters in constants."""
        for constant in constants:
            for name in self.trained([constant]):
                self._owners.setdefault(name, []).append((constant, node))

    def layer_name(self, parameter: str, modules: Sequence[str]) -> str:
        """Name of the layer that a parameter belongs to: that of the innermost of `modules` that has it, if one does.

        `fc.weight` belongs to `fc`, `attn.in_proj_weight` to `attn.in_proj`, and `scale` is a layer of its own.
        """
        names = {name.rpartition(".")[0]: name for name in self._parameters[parameter].names}
        own = next((names[module] for module in reversed(modules) if module in names), parameter)
        return _layer(own)


def _layer(parameter: str) -> str:
    return re.sub(r"(^|[._])weight$", "", parameter)
