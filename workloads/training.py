"""From a forward graph to the operations of one training iteration, in a legal order with their dependences.

Forward runs in graph order, the loss last. Backward visits the nodes in reverse: the gradients that the
consumers of a tensor sent back are summed, then comes the node's vector work or, for a weight layer, BP (it is on
the critical path), WU and the optimizer update.
"""

from __future__ import annotations

from collections import defaultdict
from math import prod
from typing import Literal

from workloads.gemms import forward_gemm, input_gradient_gemms, weight_gradient_gemm
from workloads.graph import Graph, Node
from workloads.ops import Gemm, GemmOp, Op, Role, Stage, UpdateOp, VectorOp
from workloads.trace import Layer, Trace
from workloads.vector_costs import COSTS, Sizes, Work

Names = tuple[str, ...]


def training_trace(graph: Graph, name: str, *, optimizer: str = "sgd") -> Trace:
    """Trace of one training iteration of `graph` at its batch size.

    Without a loss the last node is the output, and its gradient comes from outside as soon as the node exists.
    Parameters that no gradient reaches are not trained.
    """
    tape = _Tape({node for node in graph.nodes if node.kind == "loss"} or {graph.nodes[-1]})
    for node in graph.nodes:
        tape.forward(node)
    for node in reversed(graph.nodes):
        if node.trains:
            tape.backward(node)
    layers = tuple(_layer(node) for node in graph.nodes if node.params or node.kernel)
    return Trace(name, graph.batch, layers, tuple(tape.ops), optimizer)


def _layer(node: Node) -> Layer:
    first = not any(x.trains for x in node.inputs)
    if node.kernel is None:
        weights = node.params if node.kind == "embedding" else 0  # a head may share the table as its weight
        return Layer(node.name, node.kind, node.params, weights, first=first)
    return Layer(
        node.name,
        node.kind,
        node.params,
        weight_params=0 if node.tied else node.kernel.weights,
        cin=node.kernel.cin,
        cout=node.kernel.cout,
        groups=node.kernel.groups,
        taps=node.kernel.taps,
        first=first,
        tied_to=node.tied.name if node.tied else "",
    )


class _Tape:
    """The operations so far, and which of them make each tensor and each gradient."""

    def __init__(self, outputs: set[Node]) -> None:
        self.ops: list[Op] = []
        self._outputs = outputs
        self._makers: dict[Node, Names] = {}
        self._sent_back: defaultdict[Node, list[tuple[int, Names]]] = defaultdict(list)
        self._tied_gradients: defaultdict[Node, Names] = defaultdict(tuple)

    def forward(self, node: Node) -> None:
        """Emit the forward operation of a node."""
        inputs = tuple(name for x in node.inputs for name in self._makers[x])
        if node.kernel:
            gemm, b = forward_gemm(node), Role.WEIGHT
            self._makers[node] = self._gemm(node, "ff", Stage.FF, (gemm,), Role.ACTIVATION, b, inputs)
        elif node.kind == "matmul":
            gemm, b = _product(node, "ikj"), Role.ACTIVATION
            self._makers[node] = self._gemm(node, "ff", Stage.FF, (gemm,), Role.ACTIVATION, b, inputs)
        elif cost := COSTS[node.kind].forward:
            work = cost(_sizes(node, node.params))
            self._makers[node] = self._vector(node, "ff", Stage.FF, node.kind, work, inputs)
        else:
            self._makers[node] = inputs

    def backward(self, node: Node) -> None:
        """Emit the backward operations of a node and send the gradients of its inputs to whoever made them."""
        if node not in self._outputs and node not in self._sent_back:
            return
        gradient = self._gradient(node)
        if node.kernel:
            self._weight_backward(node, gradient)
        elif node.kind == "matmul":
            self._product_backward(node, gradient)
        else:
            self._vector_backward(node, gradient)

    def _gradient(self, node: Node) -> Names:
        """Operations that complete the gradient of a node's output; emits their sum if there is one to take.

        Consumers that see slices of the tensor send back slices, so only what exceeds the tensor is added.
        """
        arrivals = self._sent_back.pop(node, [])
        if not arrivals:
            return self._makers[node]
        names = tuple(name for _, sources in arrivals for name in sources)
        received = sum(elements for elements, _ in arrivals)
        if received <= node.elements:
            return names
        work = _backward_work("accumulate", Sizes(received, node.elements))
        return self._vector(node, "grad", Stage.BP, "accumulate", work, names)

    def _weight_backward(self, node: Node, gradient: Names) -> None:
        (source,) = node.inputs
        if source.trains:
            gemms = input_gradient_gemms(node)
            bp = self._gemm(node, "bp", Stage.BP, gemms, Role.GRADIENT, Role.WEIGHT, gradient)
            self._send_back(node, source, bp)
        complete: Names = ()
        if node.kernel and node.kernel.bias:
            work = _backward_work("bias", Sizes(node.elements, node.elements, node.kernel.biases))
            complete = self._vector(node, "bias", Stage.BP, "bias", work, gradient)
        inputs = (*self._makers[source], *gradient)
        gemms = (weight_gradient_gemm(node),)
        wu = self._gemm(node, "wu", Stage.WU, gemms, Role.ACTIVATION, Role.GRADIENT, inputs, pixel_axis="k")
        if node.tied:
            self._tied_gradients[node.tied] += wu
        else:
            complete = wu + complete
        self._update(node, complete)

    def _product_backward(self, node: Node, gradient: Names) -> None:
        """Y = A . B gives dA = dY . B' and dB = A' . dY."""
        a, b = node.inputs
        if a.trains:
            gemms, deps = (_product(node, "ijk"),), (*gradient, *self._makers[b])
            da = self._gemm(node, "bp_a", Stage.BP, gemms, Role.GRADIENT, Role.ACTIVATION, deps)
            self._send_back(node, a, da)
        if b.trains:
            gemms, deps = (_product(node, "kij"),), (*gradient, *self._makers[a])
            db = self._gemm(node, "bp_b", Stage.BP, gemms, Role.ACTIVATION, Role.GRADIENT, deps)
            self._send_back(node, b, db)

    def _vector_backward(self, node: Node, gradient: Names) -> None:
        cost = COSTS[node.kind]
        done = gradient
        if cost.backward:
            # A tied weight gradient is there already: the node adds to it and need not clear it first.
            tied = self._tied_gradients[node]
            sizes = _sizes(node, 0 if tied else node.params)
            deps = (*gradient, *self._makers[node], *tied)
            done = self._vector(node, "bp", Stage.BP, node.kind, cost.backward(sizes), deps)
        self._update(node, done)
        for x in node.inputs:
            if x.trains:
                self._send_back(node, x, gradient if cost.passes_gradient else done)

    def _send_back(self, node: Node, source: Node, names: Names) -> None:
        elements = node.elements if node.kind == "view" else source.elements
        self._sent_back[source].append((elements, names))

    def _update(self, node: Node, gradient: Names) -> None:
        if node.params:
            deps = _once((*gradient, *self._tied_gradients[node]))
            self.ops.append(UpdateOp(f"{node.name}.update", node.name, node.params, deps))

    def _gemm(
        self,
        node: Node,
        suffix: str,
        stage: Stage,
        gemms: tuple[Gemm, ...],
        a: Role,
        b: Role,
        deps: Names,
        pixel_axis: Literal["i", "k"] = "i",
    ) -> Names:
        name = f"{node.name}.{suffix}"
        self.ops.append(GemmOp(name, node.name, stage, gemms, a, b, _once(deps), pixel_axis))
        return (name,)

    def _vector(self, node: Node, suffix: str, stage: Stage, kind: str, work: Work, deps: Names) -> Names:
        name = f"{node.name}.{suffix}"
        self.ops.append(VectorOp(name, node.name, stage, kind, *work, deps=_once(deps)))
        return (name,)


def _sizes(node: Node, params: int) -> Sizes:
    return Sizes(sum(x.elements for x in node.inputs), node.elements, params, node.taps)


def _backward_work(kind: str, sizes: Sizes) -> Work:
    cost = COSTS[kind].backward
    assert cost is not None
    return cost(sizes)


def _product(node: Node, order: str) -> Gemm:
    """Product over the axes of Y[i, j] = A[i, k] . B[k, j], in any order of the three."""
    a, b = node.inputs
    axes = {"i": a.shape[-2], "k": a.shape[-1], "j": b.shape[-1]}
    i, k, j = (axes[axis] for axis in order)
    return Gemm(i, k, j, count=prod(node.shape[:-2]))


def _once(names: Names) -> Names:
    return tuple(dict.fromkeys(names))
