"""Workload from an ONNX model: its operators become a forward graph, the training operations follow from that.

Weights are never read, shapes suffice, so tensors kept in external files may be absent. A softmax cross-entropy
loss follows each output that has parameters behind it. `workloads.importers.onnx_operators` says what becomes
of each operator; a model with an operator that is not listed there is refused.

Shapes are inferred at the batch size of the export (1 if it is symbolic), then the leading axis of every
activation is scaled, because exported Reshape operators often hold the batch size as a constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from codesign.errors import SpecError
from codesign.input_files import read_file
from codesign.spec_errors import printable, shorten
from workloads.graph import DEFAULT_BATCH, Graph, Shape
from workloads.importers.onnx_operators import Operators, unsupported
from workloads.importers.onnx_tensors import Tensors
from workloads.trace import Trace
from workloads.training import training_trace

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

MAX_BYTES = (1 << 31) - 1  # of a protobuf message


def load_onnx(path: Path, *, batch: int | None = None, seq_len: int | None = None) -> Trace:
    """Trace of an ONNX model; `seq_len` sets its symbolic axes other than the batch. Raises SpecError."""
    content = read_file(path, "an ONNX model", MAX_BYTES)
    try:
        model = _parse(content)
        exported_batch = _bind_axes(model.graph, seq_len)
        shapes = _infer_shapes(model)
        graph = _forward_graph(model.graph, shapes, exported_batch, batch or DEFAULT_BATCH)
    except SpecError as error:
        raise SpecError(f"{printable(str(path))}: {error}") from None
    return training_trace(graph, path.stem)


def _parse(content: bytes) -> ModelProto:
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        raise SpecError("reading ONNX needs the onnx package; run: pip install codesign[onnx]") from None
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError:
        raise SpecError("is no ONNX model, it cannot be parsed; export it again") from None
    if not all(isinstance(text, str) for text in _texts(model.graph)):
        raise SpecError("a name in the model is not UTF-8 text; export it again")
    if not model.graph.node:
        raise SpecError("is no ONNX model or has no operators; export it again")
    if names := unsupported(model.graph):
        raise SpecError(
            f"operators that are not supported: {', '.join(names)}; export the model without them"
        )
    return model


def _texts(graph: GraphProto) -> Iterator[str]:
    """All names; protobuf gives bytes for those that are no text."""
    for op in graph.node:
        yield from (op.name, op.op_type, op.domain, *op.input, *op.output)
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name


def _inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """Inputs that a caller feeds; older models list their initialisers too."""
    initializers = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initializers]


def _bind_axes(graph: GraphProto, seq_len: int | None) -> int:
    """Give every symbolic input axis a size; returns the batch size of the export."""
    batches: set[int] = set()
    symbolic = False
    for value in _inputs(graph):
        axes = value.type.tensor_type.shape.dim
        for position, axis in enumerate(axes):
            if axis.dim_value > 0:
                continue
            if position > 0 and seq_len is None:
                where = f"axis {position} of input {shorten(value.name)!r}"
                raise SpecError(
                    f"{where} is symbolic; give its size as the sequence length, or export a fixed size"
                )
            symbolic |= position > 0
            axis.dim_value = seq_len if position > 0 and seq_len else 1
        batches |= {axes[0].dim_value} if axes else set()
    if seq_len is not None and not symbolic:
        raise SpecError(f"sequence length {seq_len} given, but no input axis is symbolic; leave it out")
    if len(batches) != 1:
        raise SpecError(
            f"the inputs have different batch sizes {sorted(batches)}; expected one leading batch axis"
        )
    return batches.pop()


def _infer_shapes(model: ModelProto) -> dict[str, Shape]:
    """Shapes of all tensors that can be inferred; what the file states may be of other sizes and is cleared."""
    from onnx import shape_inference

    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # the binding raises bare RuntimeError, ValueError and its own InferenceError
        raise SpecError(f"shape inference failed: {shorten(printable(str(error)))}") from None
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    tensors = {value.name: value.type.tensor_type for value in values}
    return {
        name: tuple(axis.dim_value for axis in tensor.shape.dim)
        for name, tensor in tensors.items()
        if tensor.HasField("shape")
    }


def _forward_graph(
    onnx_graph: GraphProto, shapes: dict[str, Shape], exported_batch: int, batch: int
) -> Graph:
    graph = Graph(batch)
    tensors = Tensors(onnx_graph, shapes, exported_batch, batch)
    operators = Operators(onnx_graph, graph, tensors)
    for value in _inputs(onnx_graph):
        operators.add_input(value.name)
    for index, op in enumerate(onnx_graph.node):
        operators.add(op, index)
    trained = [
        node for output in onnx_graph.output if (node := tensors.nodes.get(output.name)) and node.trains
    ]
    if not trained:
        raise SpecError("no output depends on a trained parameter; expected a network with weights")
    for node in trained:
        graph.loss(node, operators.unique_name("loss"))
    return graph
