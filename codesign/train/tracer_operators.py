"""What becomes of each aten operation in a forward graph; decided as in the ONNX importer and the zoo."""

from __future__ import annotations

from collections.abc import Callable

from codesign.errors import SpecError
from codesign.spec_errors import printable, shorten
from codesign.train import tracer_products as products
from codesign.train import tracer_vectors as vectors
from codesign.train.tracer_graph import Builder
from codesign.train.tracer_tensors import COPIES, PRODUCTS, VIEWS
from codesign.train.tracer_values import Call, Recording
from workloads.graph import Graph, Node

Handler = Callable[[Builder, Call], Node]

PADDINGS = (
    "constant_pad_nd",
    *(f"{how}_pad{n}d" for how in ("reflection", "replication") for n in (1, 2, 3)),
)

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(PRODUCTS, products.product),
    "convolution": products.convolution,
    **dict.fromkeys(PADDINGS, vectors.pad),
    "copy": vectors.copy,
    "slice_scatter": vectors.write_slice,
    **dict.fromkeys(vectors.MASKS, vectors.combine),
    "_prelu_kernel": vectors.combine,
    **dict.fromkeys(vectors.FUNCTIONS, vectors.function),
    **dict.fromkeys(vectors.NORMS, vectors.normalise),
    **dict.fromkeys(vectors.POOLS, vectors.pool),
    **dict.fromkeys(vectors.ADAPTIVE_POOLS, vectors.adaptive_pool),
    **dict.fromkeys(vectors.REDUCTIONS, vectors.reduce),
    **dict.fromkeys(vectors.MOMENTS, vectors.reduce_moments),
    **dict.fromkeys(vectors.UPSAMPLINGS, vectors.upsample),
    **dict.fromkeys(("_unsafe_index", "embedding", "gather", "index", "index_select"), vectors.gather),
    **dict.fromkeys(("cat", "stack"), vectors.concat),
}
"""By the name of the operation; those that work element by element need no entry."""


def build_graph(recording: Recording, batch: int, *, loss: bool) -> Graph:
    """The forward graph of a recording, with a loss if wanted; else its last node is the output. Raises SpecError."""
    builder = Builder(recording, batch)
    for call in builder.tensors.calls:
        try:
            _add(builder, call)
        except SpecError as error:
            where = f"module {shorten(printable(call.module))!r}" if call.module else "the forward pass"
            raise SpecError(f"operation {call.op} in {where}: {error}") from None
    output = builder.tensors.nodes.get(recording.output)
    if output is None or not output.trains:
        raise SpecError("no trained parameter lies before the output; expected a network that can be trained")
    if loss:
        builder.graph.loss(output, builder.name("loss"))
    elif builder.graph.nodes[-1] is not output:
        builder.graph.view(output, output.shape)
    return builder.graph


def _add(builder: Builder, call: Call) -> None:
    """Add the node of one operation, if it needs one."""
    tensors = builder.tensors
    outputs = [value for value in call.outputs if tensors.is_used(value) and not tensors.constant(value)]
    if not outputs:
        return
    if call.op in VIEWS | COPIES:
        node = builder.activation(call, call.operands[0])
    else:
        node = builder.merged.get(call) or _handler(call)(builder, call)
    for value in outputs:
        tensors.nodes[value] = builder.show(node, value.shape)


def _handler(call: Call) -> Handler:
    if handler := HANDLERS.get(call.op):
        return handler
    if call.pointwise:
        return vectors.combine
    raise SpecError(
        "has no place in a trace, which knows convolutions, matrix products, normalisation, pooling, embeddings "
        "and functions of single elements; trace a model without it"
    )
