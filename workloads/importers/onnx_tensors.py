"""The tensors of an ONNX model: which are activations and which constants, and their shapes."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from codesign.errors import SpecError
from codesign.spec_errors import shorten
from workloads.graph import Node, Shape

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

FLOATS = frozenset({1, 10, 11, 16})
"""TensorProto's float, float16, double and bfloat16."""

SHAPE_ONLY = frozenset({"Shape", "Size"})
"""Operators whose result depends on the shape of their input alone."""

SHOWS_ITS_INPUT = frozenset(
    {"Cast", "Expand", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators whose result is still the parameter, if their first input is one."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Tensor that does not depend on the inputs: its shape, and the float initialiser that it shows, if any."""

    shape: Shape = ()
    source: str = ""
    source_elements: int = 0

    @property
    def is_parameter(self) -> bool:
        """Whether it can be trained; single values are taken for fixed constants."""
        return self.source_elements > 1


def is_constant(op: NodeProto, constants: Container[str]) -> bool:
    """Whether the result needs no input of the model; a subgraph may use any tensor."""
    has_subgraph = any(attribute.HasField("g") or attribute.graphs for attribute in op.attribute)
    known = all(not name or name in constants for name in op.input)
    return op.op_type in SHAPE_ONLY or (known and not has_subgraph)


def has_input(op: NodeProto, index: int) -> bool:
    """Whether an optional input is there."""
    return len(op.input) > index and bool(op.input[index])


def integer(op: NodeProto, attribute: str, default: int = 0) -> int:
    """An integer attribute."""
    return next((found.i for found in op.attribute if found.name == attribute), default)


def integers(op: NodeProto, attribute: str, default: Sequence[int]) -> Sequence[int]:
    """An attribute that lists integers."""
    return next((found.ints for found in op.attribute if found.name == attribute), default)


class Tensors:
    """Activations as nodes of a forward graph, and constants.

    `shapes` are those of all tensors at `exported_batch`; activations are looked up at `batch`.
    """

    def __init__(
        self, onnx_graph: GraphProto, shapes: Mapping[str, Shape], exported_batch: int, batch: int
    ) -> None:
        self.nodes: dict[str, Node] = {}
        self.constants = {tensor.name: _initializer(tensor) for tensor in onnx_graph.initializer}
        self._shapes = shapes
        self._exported_batch = exported_batch
        self._batch = batch

    def fold(self, op: NodeProto) -> bool:
        """Record the results of an operator on constants; False if it needs an activation."""
        if not is_constant(op, self.constants):
            return False
        shown = self.constants.get(op.input[0]) if op.input and op.op_type in SHOWS_ITS_INPUT else None
        source = (shown.source, shown.source_elements) if shown else ("", 0)
        for tensor in op.output:
            self.constants[tensor] = Constant(self._shapes.get(tensor, ()), *source)
        return True

    def check_defined(self, op: NodeProto) -> None:
        """Raise SpecError if an input is neither an activation nor a constant that came before."""
        for tensor in filter(None, op.input):
            if tensor not in self.nodes and tensor not in self.constants:
                raise SpecError(
                    f"input {shorten(tensor)!r} is not defined before its use; export the model again"
                )

    def activations(self, op: NodeProto) -> list[Node]:
        """All inputs that are activations."""
        return [self.nodes[tensor] for tensor in op.input if tensor in self.nodes]

    def parameters(self, op: NodeProto) -> list[Constant]:
        """All inputs that can be trained."""
        constants = [self.constants[tensor] for tensor in op.input if tensor in self.constants]
        return [constant for constant in constants if constant.is_parameter]

    def activation(self, op: NodeProto, index: int) -> Node:
        """Input `index`, an activation. Raises SpecError."""
        if not has_input(op, index) or op.input[index] not in self.nodes:
            raise SpecError(f"input {index} is missing or constant, expected an activation")
        return self.nodes[op.input[index]]

    def constant(self, op: NodeProto, index: int) -> Constant:
        """Input `index`, a constant. Raises SpecError."""
        if not has_input(op, index) or op.input[index] not in self.constants:
            raise SpecError(f"input {index} is missing or an activation, expected a constant")
        return self.constants[op.input[index]]

    def weight(self, op: NodeProto, *, axes: int) -> Constant:
        """Input 1, a weight with so many axes. Raises SpecError."""
        weight = self.constant(op, 1)
        if len(weight.shape) != axes:
            raise SpecError(f"weight has shape {list(weight.shape)}, expected {axes} axes")
        return weight

    def shape(self, tensor: str) -> Shape:
        """Shape of an activation at `batch`; a scalar gets one axis. Raises SpecError."""
        shape = self._shapes.get(tensor)
        if shape is None or not all(size > 0 for size in shape):
            raise SpecError(
                f"shape of tensor {shorten(tensor)!r} is unknown or empty; export with static shapes"
            )
        if not shape:
            return (1,)
        leading, rest = divmod(shape[0] * self._batch, self._exported_batch)
        if rest:
            raise SpecError(f"tensor {shorten(tensor)!r} does not scale with the batch; export with batch 1")
        return (leading, *shape[1:])


def _initializer(tensor: TensorProto) -> Constant:
    shape = tuple(tensor.dims)
    return Constant(shape, tensor.name, prod(shape)) if tensor.data_type in FLOATS else Constant(shape)
