"""What becomes of each ONNX operator in a forward graph.

Float initialisers count as trained parameters where they are the weight or bias of a convolution, matrix
product, normalisation or embedding, are joined to an activation by Concat, or are a vector operand of Add, Sub,
Mul or Div. A bias added right after a matrix product is folded into it. An initialiser used twice is one tied
parameter. Reshaping, slicing, padding and casts are free; operators on constants alone cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING

from codesign.errors import SpecError
from codesign.spec_errors import printable, shorten
from workloads.graph import Graph, Node, Pair, Shape
from workloads.importers.files import UniqueNames
from workloads.importers.onnx_tensors import Constant, Tensors, has_input, integer, integers, is_constant

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

FREE = {
    *("Cast", "CastLike", "Dropout", "Expand", "Flatten", "Identity", "Pad", "Reshape", "Slice", "Split"),
    *("Squeeze", "Transpose", "Unsqueeze"),
}
COMBINATIONS = {
    *("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum"),
    *("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Where"),
}
ELEMENTWISE = {
    *(
        "Abs",
        "Ceil",
        "Clip",
        "Cos",
        "Erf",
        "Exp",
        "Floor",
        "Log",
        "Neg",
        "Not",
        "Reciprocal",
        "Round",
        "Sign",
        "Sin",
    ),
    *(
        "Celu",
        "Elu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mish",
        "Selu",
        "Sigmoid",
        "Softplus",
        "Softsign",
    ),
    *("Sqrt", "ThresholdedRelu"),
}
FUNCTIONS = {"Relu": "relu", "Gelu": "gelu", "Tanh": "tanh", "Softmax": "softmax", "LogSoftmax": "softmax"}
FUNCTIONS |= dict.fromkeys(ELEMENTWISE, "elementwise")
SUMS = {"Add", "Sub", "Sum"}
WITH_PARAMETER = {"Add": "position", "Sub": "position", "Mul": "scale", "Div": "scale"}
POOLS = {
    "AveragePool": "avgpool",
    "GlobalAveragePool": "avgpool",
    "GlobalMaxPool": "maxpool",
    "MaxPool": "maxpool",
}
REDUCTIONS = {"ReduceMean": "avgpool", "ReduceSum": "avgpool", "ReduceMax": "maxpool", "ReduceMin": "maxpool"}


def unsupported(onnx_graph: GraphProto) -> list[str]:
    """Operators with no place here, sorted; those that only combine constants are left out."""
    constants = {tensor.name for tensor in onnx_graph.initializer}
    found = set()
    for op in onnx_graph.node:
        if is_constant(op, constants):
            constants.update(op.output)
        elif op.op_type not in HANDLERS or op.domain not in ("", "ai.onnx"):
            found.add(f"{op.domain}.{op.op_type}".removeprefix("."))
    return sorted(shorten(printable(name)) for name in found)


class Operators:
    """Adds the operators of a model, one after the other, to `graph`; their outputs become nodes of `tensors`."""

    def __init__(self, onnx_graph: GraphProto, graph: Graph, tensors: Tensors) -> None:
        self.graph = graph
        self.tensors = tensors
        self.unique_name = UniqueNames()
        self._owners: dict[str, Node] = {}
        self._folded_biases: set[str] = set()
        self._uses = Counter(name for op in onnx_graph.node for name in op.input)
        self._uses.update(output.name for output in onnx_graph.output)
        self._consumers = {name: op for op in onnx_graph.node for name in op.input}

    def add_input(self, tensor: str) -> None:
        """Add an input of the model."""
        shape = self.tensors.shape(tensor)
        self.tensors.nodes[tensor] = self.graph.input(*shape[1:], name=self._name(tensor))

    def add(self, op: NodeProto, index: int) -> None:
        """Add one operator, the `index`-th. Raises SpecError if it is malformed or of an unknown form."""
        if self.tensors.fold(op):
            return
        name = self._name(op.name or f"{op.op_type}_{index}")
        try:
            self.tensors.check_defined(op)
            outputs = HANDLERS[op.op_type](self, op, name)
        except SpecError as error:
            raise SpecError(f"operator {op.op_type} {name!r}: {error}") from None
        self.tensors.nodes.update(zip(op.output, outputs, strict=False))

    def conv(self, op: NodeProto, name: str) -> list[Node]:
        """Conv; the output size is the inferred one, whatever the padding attributes."""
        x, weight = self.tensors.activation(op, 0), self.tensors.weight(op, axes=4)
        stride, other_stride = _pair(integers(op, "strides", (1, 1)))
        if stride != other_stride:
            raise SpecError(f"got strides {stride} and {other_stride}, expected one stride for both axes")
        cout, cin, *kernel = weight.shape
        groups = integer(op, "group", 1)
        if x.shape[1:2] != (cin * groups,):
            raise SpecError(f"weight expects {cin * groups} channels, the input has shape {list(x.shape)}")
        node = self.graph.conv(
            x,
            cout,
            _pair(kernel),
            name,
            stride=stride,
            dilation=_pair(integers(op, "dilations", (1, 1))),
            groups=groups,
            bias=has_input(op, 2),
            out_size=_pair(self.tensors.shape(op.output[0])[2:]),
            tied=self._owners.get(weight.source),
        )
        return [self._own(node, weight)]

    def gemm(self, op: NodeProto, name: str) -> list[Node]:
        """Gemm with a constant second operand: a linear layer."""
        if integer(op, "transA"):
            raise SpecError("transA is set; expected rows of activations times a weight")
        x, weight = self.tensors.activation(op, 0), self.tensors.weight(op, axes=2)
        cin, cout = reversed(weight.shape) if integer(op, "transB") else weight.shape
        return [self._linear(x, weight, cin, cout, name, bias=has_input(op, 2))]

    def matmul(self, op: NodeProto, name: str) -> list[Node]:
        """MatMul with a weight, together with a bias that is added next, or of two activations."""
        x = self.tensors.activation(op, 0)
        if len(self.tensors.activations(op)) == 2:
            return [self.graph.matmul(x, self.tensors.activation(op, 1), name)]
        weight = self.tensors.weight(op, axes=2)
        cin, cout = weight.shape
        return [self._linear(x, weight, cin, cout, name, bias=self._takes_bias(op.output[0], cout))]

    def combine(self, op: NodeProto, name: str) -> list[Node]:
        """Element-wise combination of activations, parameters and fixed constants."""
        inputs, parameters = self.tensors.activations(op), self.tensors.parameters(op)
        if op.output[0] in self._folded_biases:
            return inputs
        shape = self.tensors.shape(op.output[0])
        if len(inputs) > 1:
            plain = op.op_type in SUMS and all(x.shape == shape or not x.trains for x in inputs)
            kind = "add" if plain else "binary"
            return [self.graph.vector(kind, inputs, name, shape=shape, taps=len(inputs))]
        if parameters and op.op_type in WITH_PARAMETER:
            return [self._trained(WITH_PARAMETER[op.op_type], inputs, parameters, shape, name)]
        return [self.graph.vector("elementwise", inputs, name, shape=shape)]

    def apply_function(self, op: NodeProto, name: str) -> list[Node]:
        """Function of one activation."""
        return [self.graph.vector(FUNCTIONS[op.op_type], self.tensors.activation(op, 0), name)]

    def batchnorm(self, op: NodeProto, name: str) -> list[Node]:
        """BatchNormalization."""
        return [self.graph.batchnorm(self.tensors.activation(op, 0), name)]

    def layernorm(self, op: NodeProto, name: str) -> list[Node]:
        """LayerNormalization with a scale and perhaps a shift."""
        x = self.tensors.activation(op, 0)
        return [self._trained("layernorm", [x], self.tensors.parameters(op), x.shape, name)]

    def pool(self, op: NodeProto, name: str) -> list[Node]:
        """Sliding or global pooling of an image; the output size is the inferred one."""
        x, out = self.tensors.activation(op, 0), self.tensors.shape(op.output[0])
        kernel = _pair(integers(op, "kernel_shape", x.shape[2:]))
        return [self.graph.pool(POOLS[op.op_type], x, kernel, name, out_size=_pair(out[2:]))]

    def reduce(self, op: NodeProto, name: str) -> list[Node]:
        """Reduction over some axes, the work of a pooling window that covers them."""
        x, shape = self.tensors.activation(op, 0), self.tensors.shape(op.output[0])
        taps = max(1, x.elements // prod(shape))
        return [self.graph.vector(REDUCTIONS[op.op_type], x, name, shape=shape, taps=taps)]

    def gather(self, op: NodeProto, name: str) -> list[Node]:
        """Gather: an embedding if the table is a parameter, a slice if the indices are constant."""
        if op.input[1:2] and op.input[1] in self.tensors.constants:
            return self.show(op, name)
        table, ids = self.tensors.constant(op, 0), self.tensors.activation(op, 1)
        return [self._trained("embedding", [ids], [table], self.tensors.shape(op.output[0]), name)]

    def concat(self, op: NodeProto, name: str) -> list[Node]:
        """Concat of activations, and of trained tokens if any."""
        parameters = self.tensors.parameters(op)
        kind = "prepend" if parameters else "concat"
        shape = self.tensors.shape(op.output[0])
        return [self._trained(kind, self.tensors.activations(op), parameters, shape, name)]

    def show(self, op: NodeProto, name: str) -> list[Node]:
        """The same data in another shape, or parts of it."""
        x = self.tensors.activation(op, 0)
        used = [output for output in op.output if output in self._uses]
        shapes = {output: self.tensors.shape(output) for output in used}
        return [self.graph.view(x, shapes.get(output, x.shape)) for output in op.output]

    def _linear(self, x: Node, weight: Constant, cin: int, cout: int, name: str, *, bias: bool) -> Node:
        if x.shape[-1] != cin:
            raise SpecError(f"weight expects {cin} inputs, the activation has {x.shape[-1]}")
        node = self.graph.linear(x, cout, name, bias=bias, tied=self._owners.get(weight.source))
        return self._own(node, weight)

    def _trained(
        self, kind: str, inputs: list[Node], parameters: list[Constant], shape: Shape, name: str
    ) -> Node:
        """Vector work that owns those of its parameters that no earlier operator has."""
        sizes = {c.source: c.source_elements for c in parameters if c.source not in self._owners}
        node = self.graph.vector(kind, inputs, name, shape=shape, params=sum(sizes.values()))
        return self._own(node, *parameters)

    def _own(self, node: Node, *parameters: Constant) -> Node:
        for constant in parameters:
            if constant.source:
                self._owners.setdefault(constant.source, node)
        return node

    def _takes_bias(self, product: str, cout: int) -> bool:
        """Whether the only use of a matrix product is the addition of a bias, which is then folded into it."""
        add = self._consumers.get(product)
        if add is None or add.op_type != "Add" or self._uses[product] != 1:
            return False
        bias = next(self.tensors.constants.get(tensor) for tensor in add.input if tensor != product)
        if bias is None or bias.shape != (cout,) or not bias.source:
            return False
        self._folded_biases.add(add.output[0])
        return True

    def _name(self, name: str) -> str:
        return self.unique_name(shorten(printable(name)))


def _pair(sizes: Sequence[int]) -> Pair:
    if len(sizes) != 2:
        raise SpecError(f"got {len(sizes)} sizes, expected one for each of two image axes")
    return sizes[0], sizes[1]


HANDLERS: dict[str, Callable[[Operators, NodeProto, str], list[Node]]] = {
    "BatchNormalization": Operators.batchnorm,
    "Concat": Operators.concat,
    "Conv": Operators.conv,
    "Gather": Operators.gather,
    "Gemm": Operators.gemm,
    "LayerNormalization": Operators.layernorm,
    "MatMul": Operators.matmul,
    **dict.fromkeys(FREE, Operators.show),
    **dict.fromkeys(COMBINATIONS, Operators.combine),
    **dict.fromkeys(FUNCTIONS, Operators.apply_function),
    **dict.fromkeys(POOLS, Operators.pool),
    **dict.fromkeys(REDUCTIONS, Operators.reduce),
}
