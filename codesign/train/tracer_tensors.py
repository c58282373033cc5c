"""What the tensors of a recorded forward pass are: activations, which are nodes of a forward graph, or constants.

What is computed from parameters alone counts as these parameters, and its arithmetic is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from codesign.train.tracer_parameters import Constant
from codesign.train.tracer_values import Call, Recording, Value
from workloads.graph import Node

VIEWS = frozenset(
    {
        *("_reshape_alias", "_unsafe_view", "alias", "as_strided", "detach", "diagonal", "expand"),
        *("lift_fresh", "permute", "select", "slice", "split", "split_with_sizes", "squeeze", "t"),
        *("transpose", "unbind", "unfold", "unsafe_split", "unsafe_split_with_sizes", "unsqueeze"),
        *("view", "view_as_complex", "view_as_real"),
    }
)
"""Operations that show the memory of their first operand."""

COPIES = frozenset(
    {
        *("_to_copy", "channel_shuffle", "clone", "flip", "im2col", "native_dropout", "pixel_shuffle"),
        *("pixel_unshuffle", "repeat", "roll", "tril", "triu"),
    }
)
"""Operations that copy or rearrange their first operand, which is free, too."""

PRODUCTS = {
    "addmm": ("mat1", "mat2"),
    "baddbmm": ("batch1", "batch2"),
    "bmm": ("self", "mat2"),
    "convolution": ("input", "weight"),
    "mm": ("self", "mat2"),
    "mv": ("self", "vec"),
}
"""Operations that become GEMMs, and the names of their factors."""


class Tensors:
    """What each value of a recording is, and who uses it. Nodes are put in by who makes them."""

    def __init__(self, recording: Recording) -> None:
        self.nodes: dict[Value, Node] = {}
        self.calls = _needed(recording)
        self._constants: dict[Value, Constant] = {}
        self._makers: dict[Value, Call] = {}
        self._users: defaultdict[Value, list[Call | None]] = defaultdict(list, {recording.output: [None]})
        for call in self.calls:
            self._fold(call)
            self._makers.update(dict.fromkeys(call.outputs, call))
            for value in call.operands:
                self._users[value].append(call)

    def constant(self, value: Value) -> Constant | None:
        """What a value is if it does not depend on the inputs. Products of parameters are taken for activations."""
        if value.constant:
            return Constant(random=value.random)
        if value.parameter:
            return Constant((value.parameter,), value.elements)
        return self._constants.get(value)

    def activations(self, values: Iterable[Value]) -> list[Node]:
        """Nodes of those values that are activations."""
        return [self.nodes[value] for value in values if value in self.nodes]

    def constants(self, values: Iterable[Value]) -> list[Constant]:
        """Those values that are constants."""
        found = (self.constant(value) for value in values if value not in self.nodes)
        return [constant for constant in found if constant]

    def is_used(self, value: Value) -> bool:
        """Whether the output depends on a value."""
        return value in self._users

    def only_user(self, value: Value) -> Call | None:
        """The operation that alone uses a value, in whatever shape."""
        while len(users := self._users[value]) == 1 and (call := users[0]):
            if call.op not in VIEWS or call.outputs[0].elements != value.elements:
                return call
            value = call.outputs[0]
        return None

    def origin(self, value: Value, skipped: frozenset[str]) -> Call | None:
        """The operation that made a value, before views, copies and `skipped` operations."""
        while (call := self._makers.get(value)) and call.op in VIEWS | COPIES | skipped:
            value = next((operand for operand in call.operands if operand in self._makers), call.operands[0])
        return call

    def destination(self, value: Value, skipped: frozenset[str]) -> Call | None:
        """The operation that alone uses a value, after copies and `skipped` operations."""
        while (call := self.only_user(value)) and call.op in COPIES | skipped:
            value = call.outputs[0]
        return call

    def _fold(self, call: Call) -> None:
        """Note what an operation on constants gives."""
        constants = [constant for value in call.operands if (constant := self.constant(value))]
        if call.op in PRODUCTS or len(constants) < len(call.operands):
            return
        names = tuple(dict.fromkeys(name for constant in constants for name in constant.parameters))
        for output in call.outputs:
            self._constants[output] = Constant(names)
            if call.op in VIEWS | COPIES and constants[0].elements:
                self._constants[output] = _shown(call, constants[0], output)


def _shown(call: Call, source: Constant, output: Value) -> Constant:
    moved = output.offset - call.operands[0].offset if call.op in VIEWS else 0
    return replace(source, elements=min(source.elements, output.elements), offset=source.offset + moved)


def _needed(recording: Recording) -> list[Call]:
    """The operations that the output depends on, in order."""
    needed, calls = {recording.output}, []
    for call in reversed(recording.calls):
        if not needed.isdisjoint(call.outputs):
            needed.update(call.operands)
            calls.append(call)
    return calls[::-1]
