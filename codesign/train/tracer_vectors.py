"""Operations of the vector unit, and those that are free.

Views, copies, padding, casts and dropout are free. So are products with one number, and sums and masks with
constants: they are taken for part of what made the tensor. Tokens put before a sequence are part of the addition of
positions that follows. Nothing is fused: a function that a model writes out in parts, such as the usual RMSNorm,
costs what its parts cost. A table that is looked up again has no backward work in the second place.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from codesign.train.tracer_graph import Builder
from codesign.train.tracer_parameters import Constant
from codesign.train.tracer_values import Call
from workloads.graph import Node

SUMS = frozenset({"add", "rsub", "sub"})
MASKS = frozenset({"masked_fill", "where"})
SCALINGS = frozenset({"div", "mul"})
WITH_PARAMETER = dict.fromkeys(("_prelu_kernel", "div", "mul", "pow"), "scale")

FUNCTIONS = {
    "_log_softmax": "softmax",
    "_safe_softmax": "softmax",
    "_softmax": "softmax",
    "cumsum": "elementwise",
    "gelu": "gelu",
    "glu": "elementwise",
    "relu": "relu",
    "tanh": "tanh",
}
SOFTMAX = frozenset(op for op, kind in FUNCTIONS.items() if kind == "softmax")
NORMS = {
    **dict.fromkeys(("native_group_norm", "native_layer_norm"), "layernorm"),
    **dict.fromkeys(
        ("_batch_norm_with_update", "_native_batch_norm_legit", "native_batch_norm"), "batchnorm"
    ),
}
REDUCTIONS = {
    **dict.fromkeys(("mean", "sum"), "avgpool"),
    **dict.fromkeys(("all", "amax", "amin", "any", "argmax", "argmin", "max", "min"), "maxpool"),
}
MOMENTS = ("linalg_vector_norm", "std", "std_mean", "var", "var_mean")
POOLS = {
    **dict.fromkeys(("avg_pool2d", "avg_pool3d"), "avgpool"),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), "maxpool"),
}
ADAPTIVE_POOLS = {
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), "avgpool"),
    **dict.fromkeys(("adaptive_max_pool2d", "adaptive_max_pool3d"), "maxpool"),
}
UPSAMPLINGS = {
    **{f"upsample_nearest{axes}d": 1 for axes in (1, 2, 3)},
    "upsample_linear1d": 2,
    "upsample_bilinear2d": 4,
    "upsample_bicubic2d": 16,
}
"""Inputs per output."""


def pad(builder: Builder, call: Call) -> Node:
    """Padding, free in both directions."""
    return builder.graph.order(_input(builder, call), call.outputs[0].shape)


def copy(builder: Builder, call: Call) -> Node:
    """Copy over another tensor, whose content is lost."""
    source = call.arguments["src"]
    return builder.show(builder.activation(call, source), call.outputs[0].shape)


def write_slice(builder: Builder, call: Call) -> Node:
    """Write into a part of a tensor: a copy of this part; then the whole exists."""
    whole, part = call.arguments["self"], call.arguments["src"]
    parts = builder.tensors.activations([whole])
    parts.append(builder.vector(call, "concat", [builder.activation(call, part)], shape=part.shape))
    return builder.vector(call, "order", parts)


def combine(builder: Builder, call: Call) -> Node:
    """Function of one tensor or combination of several, element by element."""
    values, tensors = call.operands, builder.tensors
    others = [value for value in values if value not in tensors.nodes]
    constants = tensors.constants(others)
    is_scaling = call.op in SCALINGS and values[0] in tensors.nodes
    is_scaling &= all(v.elements == 1 or c.random for v, c in zip(others, constants, strict=True))
    free = call.op in SUMS | MASKS or is_scaling
    return combined(builder, call, call.op, tensors.activations(values), constants, free=free)


def combined(
    builder: Builder,
    call: Call,
    op: str,
    inputs: Sequence[Node],
    constants: Sequence[Constant],
    *,
    free: bool,
) -> Node:
    """Combination of activations with parameters or constants; `free` if it costs nothing with constants alone."""
    shape = call.outputs[0].shape
    if len(inputs) > 1:
        plain = op in SUMS and all(x.elements == prod(shape) or not x.trains for x in inputs)
        return builder.vector(call, "add" if plain else "binary", inputs, constants, taps=len(inputs))
    if builder.parameters.trained(constants):
        return builder.vector(call, WITH_PARAMETER.get(op, "position"), inputs, constants)
    return builder.show(inputs[0], shape) if free else builder.vector(call, "elementwise", inputs)


def function(builder: Builder, call: Call) -> Node:
    """Function of one tensor that has a kind of its own."""
    return builder.vector(call, FUNCTIONS[call.op], [_input(builder, call)])


def normalise(builder: Builder, call: Call) -> Node:
    """Normalisation, with scale and shift where there are parameters for them."""
    constants = builder.tensors.constants(call.operands)
    return builder.vector(call, NORMS[call.op], builder.tensors.activations(call.operands), constants)


def pool(builder: Builder, call: Call) -> Node:
    """Sliding window."""
    taps = prod(call.arguments["kernel_size"])
    return builder.vector(call, POOLS[call.op], [_input(builder, call)], taps=taps)


def adaptive_pool(builder: Builder, call: Call) -> Node:
    """Pooling to a given size; its windows are equal, the last ones beyond the edge."""
    sizes = zip(call.operands[0].shape, call.outputs[0].shape, strict=True)
    taps = prod(-(-before // after) for before, after in sizes)
    x = _input(builder, call)
    return x if taps == 1 else builder.vector(call, ADAPTIVE_POOLS[call.op], [x], taps=taps)


def reduce(builder: Builder, call: Call) -> Node:
    """Reduction over some axes, the work of a pooling window that covers them."""
    x = _input(builder, call)
    return builder.vector(call, REDUCTIONS[call.op], [x], taps=_reduced(call))


def reduce_moments(builder: Builder, call: Call) -> Node:
    """Variance or norm: a function of each element, then a sum."""
    powers = builder.vector(call, "elementwise", [_input(builder, call)], shape=call.operands[0].shape)
    return builder.vector(call, "avgpool", [powers], taps=_reduced(call))


def upsample(builder: Builder, call: Call) -> Node:
    """Interpolation: each output is a weighted sum of some inputs."""
    return builder.vector(call, "avgpool", [_input(builder, call)], taps=UPSAMPLINGS[call.op])


def gather(builder: Builder, call: Call) -> Node:
    """Rows of a table: a slice if they are known beforehand, else an embedding."""
    table, *indices = call.operands
    chosen = builder.tensors.activations(indices)
    if not chosen:
        return builder.show(_input(builder, call), call.outputs[0].shape)
    constants = builder.tensors.constants([table])
    return builder.vector(call, "embedding", chosen + builder.tensors.activations([table]), constants)


def concat(builder: Builder, call: Call) -> Node:
    """Concatenation, of trained tokens too; these are part of an addition of positions that follows."""
    tensors = builder.tensors
    inputs, constants = tensors.activations(call.operands), tensors.constants(call.operands)
    if len(inputs) == 1 and inputs[0].elements == call.outputs[0].elements:
        return inputs[0]  # the others are empty
    if not builder.parameters.trained(constants):
        return builder.vector(call, "concat", inputs)
    added = builder.parameter_added_next(call)
    if added is None:
        return builder.vector(call, "prepend", inputs, constants)
    addition, positions = added
    node = builder.vector(call, "position", inputs, [*constants, positions])
    builder.merged[addition] = node
    return node


def _input(builder: Builder, call: Call) -> Node:
    return builder.activation(call, call.operands[0])


def _reduced(call: Call) -> int:
    return max(1, call.operands[0].elements // call.outputs[0].elements)
