"""Builds the forward graph of a recorded forward pass: names, shapes and parameters of its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from codesign.train.tracer_parameters import Constant, Parameters
from codesign.train.tracer_tensors import Tensors
from codesign.train.tracer_values import Call, Recording, Value
from workloads.graph import Graph, Node, Shape
from workloads.importers.files import UniqueNames


class Builder:
    """A graph that grows, the tensors of the recording and its parameters.

    `merged` are operations that an earlier one took in, with its node.
    """

    def __init__(self, recording: Recording, batch: int) -> None:
        self.graph = Graph(batch)
        self.tensors = Tensors(recording)
        self.parameters = Parameters(recording.parameters)
        self.merged: dict[Call, Node] = {}
        self._unique = UniqueNames()
        for value in recording.inputs:
            node = self.graph.input(name=self.name("input"))
            self.tensors.nodes[value] = self.graph.order(node, _axes(value.shape))

    def name(self, kind: str, module: str = "") -> str:
        """Name of an operation without parameters."""
        name = f"{module}.{kind}" if module else kind
        return self._unique(f"{name}.op" if name in self.parameters.layer_names else name)

    def layer_name(self, call: Call, constants: Iterable[Constant], kind: str) -> str:
        """Name of an operation: that of the layer of its first trained parameter, if it has one."""
        for parameter in self.parameters.trained(constants):
            return self._unique(self.parameters.layer_name(parameter, call.modules))
        return self.name(kind, call.module)

    def activation(self, call: Call, value: Value) -> Node:
        """Node of a tensor. What does not depend on the inputs becomes one of them, trained if it has parameters."""
        nodes = self.tensors.nodes
        if value not in nodes:
            constants = self.tensors.constants([value])
            distinct = constants[0].elements or value.elements
            nodes[value] = self.show(self.vector(call, "input", [], constants, (distinct,)), value.shape)
        return nodes[value]

    def vector(
        self,
        call: Call,
        kind: str,
        inputs: Sequence[Node],
        constants: Sequence[Constant] = (),
        shape: Shape | None = None,
        *,
        taps: int = 1,
    ) -> Node:
        """Vector work that owns the parameters in `constants` unless a node does; `shape` is that of the output."""
        name = self.layer_name(call, constants, kind)
        axes = _axes(call.outputs[0].shape if shape is None else shape)
        params = self.parameters.unowned_elements(constants)
        node = self.graph.vector(kind, inputs, name, shape=axes, params=params, taps=taps)
        self.parameters.own(node, constants)
        return node

    def show(self, node: Node, shape: Shape) -> Node:
        """The node itself if it has as many elements, else a slice or a broadcast of it."""
        return node if node.elements == prod(shape) else self.graph.view(node, _axes(shape))

    def shaped(self, node: Node, shape: Shape) -> Node:
        """The node in another shape."""
        return node if node.shape == shape else self.graph.view(node, shape)

    def parameter_added_next(self, call: Call) -> tuple[Call, Constant] | None:
        """The addition of a trained parameter if that is all that happens to the output, and the parameter."""
        addition = self.tensors.only_user(call.outputs[0])
        if addition and addition.op == "add" and addition.arguments["alpha"] == 1:
            for constant in self.tensors.constants(addition.operands):
                if self.parameters.trained([constant]):
                    return addition, constant
        return None


def _axes(shape: Shape) -> Shape:
    """Shape of a node; a scalar gets one axis."""
    return shape or (1,)
