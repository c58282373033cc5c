"""Convolutions and matrix products: weight layers, and products of two activations.

A bias added right after a matrix product is part of it. A weight that is used again is tied to its first use, and its
bias is then free. A product with a matrix that is not one trained parameter (frozen, or computed from parameters) is
one of two activations; gradients are taken of what is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import NamedTuple

from codesign.errors import SpecError
from codesign.train.tracer_graph import Builder
from codesign.train.tracer_parameters import Constant
from codesign.train.tracer_tensors import PRODUCTS
from codesign.train.tracer_values import Call, Value
from codesign.train.tracer_vectors import MASKS, SCALINGS, SOFTMAX, SUMS, combined
from workloads.graph import Node, Pair


class _Addend(NamedTuple):
    """What is added to a product: nothing, an activation or a constant."""

    activations: list[Node]
    constants: list[Constant]


def convolution(builder: Builder, call: Call) -> Node:
    """Convolution of images, or of sequences as images of height 1."""
    x, weight = call.arguments["input"], call.arguments["weight"]
    constant = builder.tensors.constant(weight)
    stride = _stride(call)
    if constant is None or not builder.parameters.is_weight(constant, weight.elements):
        raise SpecError(
            "its weight is frozen or computed from others, which a trace can express for matrix products only; "
            "set requires_grad, or remove the parametrization"
        )
    cout, _, *kernel = weight.shape
    layer = partial(
        builder.graph.conv,
        builder.shaped(builder.activation(call, x), (*x.shape[:2], *_pair(x.shape[2:]))),
        cout,
        _pair(kernel),
        stride=stride,
        dilation=_pair(call.arguments["dilation"]),
        groups=call.arguments["groups"],
        out_size=_pair(call.outputs[0].shape[2:]),
    )
    return _add_layer(builder, call, layer, constant, _addend(builder, call.arguments["bias"]), cout)


def product(builder: Builder, call: Call) -> Node:
    """Product of matrices, perhaps many, with what is added to it."""
    left, right = (call.arguments[name] for name in PRODUCTS[call.op])
    *lead, rows, cin = left.shape
    columns = 1 if call.op == "mv" else right.shape[-1]
    x, weight, cout = left, right, columns
    if right in builder.tensors.nodes:
        x, weight, cout = right, left, rows  # the transposed product may be a layer
    constant, count = builder.tensors.constant(weight), prod(lead)
    if constant and builder.parameters.is_weight(constant, cin * cout):
        return _linear(builder, call, x, constant, cin, cout)
    if constant and builder.parameters.is_weight(constant, count * cin * cout):
        return _grouped(builder, call, x, constant, count, cin, cout)
    a = builder.shaped(builder.activation(call, left), left.shape)
    b = builder.shaped(builder.activation(call, right), (*lead, cin, columns))
    node = builder.graph.matmul(a, b, builder.name(_role(builder, call), call.module))
    return _add(builder, call, node, _added(builder, call))


def _linear(builder: Builder, call: Call, x: Value, weight: Constant, cin: int, cout: int) -> Node:
    """Linear layer, with a bias that is added next."""
    source, addend = builder.activation(call, x), _added(builder, call)
    if source.shape[-1] != cin:
        source = builder.shaped(source, (x.elements // cin, cin))
    layer = partial(builder.graph.linear, source, cout)
    following = None if any(addend) else builder.parameter_added_next(call)
    if following is None or not builder.parameters.is_weight(following[1], cout):
        return _add_layer(builder, call, layer, weight, addend, cout)
    addition, bias = following
    node = _add_layer(builder, call, layer, weight, _Addend([], [bias]), cout)
    builder.merged[addition] = node
    return node


def _grouped(
    builder: Builder, call: Call, x: Value, weight: Constant, groups: int, cin: int, cout: int
) -> Node:
    """As many products as the weight has matrices: a grouped 1 x 1 convolution."""
    image = (1, groups * cin, x.elements // (groups * cin), 1)
    source = builder.shaped(builder.activation(call, x), image)
    layer = partial(builder.graph.conv, source, groups * cout, 1, groups=groups)
    return _add_layer(builder, call, layer, weight, _added(builder, call), groups * cout)


def _add_layer(
    builder: Builder,
    call: Call,
    layer: Callable[..., Node],
    weight: Constant,
    addend: _Addend,
    channels: int,
) -> Node:
    """Layer that owns its weight and, if it is a plain vector, its bias."""
    parameters = builder.parameters
    bias = [constant for constant in addend.constants if parameters.is_weight(constant, channels)]
    owned = [weight, *(constant for constant in bias if not parameters.owner(constant))]
    name = builder.layer_name(call, [weight], call.op)
    node = layer(name=name, bias=len(owned) > 1, tied=parameters.owner(weight))
    parameters.own(node, owned)
    return _add(builder, call, node, addend if not bias else _Addend([], []))


def _add(builder: Builder, call: Call, node: Node, addend: _Addend) -> Node:
    if not any(addend):
        return node
    return combined(builder, call, "add", [node, *addend.activations], addend.constants, free=True)


def _added(builder: Builder, call: Call) -> _Addend:
    """What the operation itself adds to the product."""
    adds = call.op in ("addmm", "baddbmm") and call.arguments["beta"] != 0
    return _addend(builder, call.arguments["self"] if adds else None)


def _addend(builder: Builder, value: Value | None) -> _Addend:
    values = [value] if value else []
    return _Addend(builder.tensors.activations(values), builder.tensors.constants(values))


def _role(builder: Builder, call: Call) -> str:
    """What a product of two activations is called; in an attention, as in the zoo."""
    tensors, between = builder.tensors, SUMS | MASKS | SCALINGS
    makers = [tensors.origin(call.arguments[name], between) for name in PRODUCTS[call.op]]
    if any(maker and maker.op in SOFTMAX for maker in makers):
        return "context"
    user = tensors.destination(call.outputs[0], between)
    return "scores" if user and user.op in SOFTMAX else "matmul"


def _stride(call: Call) -> int:
    strides = call.arguments["stride"]
    if call.arguments["transposed"] or len(strides) > 2:
        kind = "transposed" if call.arguments["transposed"] else f"{len(strides)}-dimensional"
        raise SpecError(f"is {kind}; expected a plain convolution of images or sequences")
    if len(set(strides)) > 1:
        raise SpecError(f"got strides {strides}, expected one stride for both axes")
    return int(strides[0])


def _pair(sizes: Sequence[int]) -> Pair:
    """Sizes of both axes of an image; a sequence has height 1."""
    height, width = (1, *sizes)[-2:]
    return height, width
