"""The forward graph of a network: its operations, their shapes, and what depends on what.

A node is an operation together with the tensor it produces. Shapes include the batch axis; images are
(B, C, H, W), token sequences (B, T, D). Building a graph checks its shapes, `workloads.training` turns it into
a training iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from codesign.errors import SpecError

DEFAULT_BATCH = 64
"""Samples of an iteration unless the user says otherwise."""

MAX_WINDOW = 4096
"""Largest kernel, stride or dilation."""

Pair = tuple[int, int]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """Weight of a convolution or linear layer; `cin` and `cout` are channels of one group."""

    cin: int
    cout: int
    groups: int = 1
    size: Pair = (1, 1)
    stride: int = 1
    dilation: Pair = (1, 1)
    bias: bool = False

    @property
    def taps(self) -> int:
        """Kernel positions."""
        return prod(self.size)

    @property
    def extent(self) -> Pair:
        """Pixels that the kernel spans on each axis, dilation included."""
        return (self.size[0] - 1) * self.dilation[0] + 1, (self.size[1] - 1) * self.dilation[1] + 1

    @property
    def weights(self) -> int:
        """Elements of the weight, bias excluded."""
        return self.cin * self.cout * self.groups * self.taps

    @property
    def biases(self) -> int:
        """Elements of the bias."""
        return self.cout * self.groups if self.bias else 0


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation and its output tensor.

    `kind` is `conv`, `linear`, `matmul`, a key of `vector_costs.COSTS`, or one of three that cost nothing: `input`,
    `view` (the same data in another shape, a slice or a broadcast of it) and `order` (a tensor of unknown origin
    that exists only after its input). `params` are the parameters that the node owns; a weight `tied` to an
    earlier node belongs to that one. `trains` tells that a gradient must reach the node, because parameters lie
    at or before it. `taps` is the number of inputs per output: pooling window, operands, tables of an embedding.
    """

    name: str
    kind: str
    shape: Shape
    inputs: tuple[Node, ...] = ()
    params: int = 0
    taps: int = 1
    kernel: Kernel | None = None
    tied: Node | None = None
    trains: bool = False

    @property
    def elements(self) -> int:
        """Elements of the output tensor."""
        return prod(self.shape)


class Graph:
    """Builder of a forward graph. Each method adds a node and returns it; SpecError if shapes do not fit."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.nodes: list[Node] = []
        self._names: set[str] = set()

    def input(self, *shape: int, name: str = "input", trains: bool = False) -> Node:
        """Tensor from outside, `shape` without the batch axis; `trains` if its gradient is wanted outside."""
        return self._add(Node(name, "input", (self.batch, *shape), trains=trains))

    def conv(
        self,
        x: Node,
        cout: int,
        kernel: int | Pair,
        name: str,
        *,
        stride: int = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = False,
        out_size: Pair | None = None,
        tied: Node | None = None,
    ) -> Node:
        """2-D convolution; `out_size` replaces the output size that `padding` (per side) would give."""
        cin = _channels(x, name)
        if groups < 1 or cin % groups or cout % groups:
            raise SpecError(
                f"layer {name!r}: groups {groups} must divide its input channels {cin} and outputs {cout}"
            )
        weight = Kernel(cin // groups, cout // groups, groups, _pair(kernel), stride, _pair(dilation), bias)
        _check_window(name, kernel=weight.size, stride=(stride,), dilation=weight.dilation)
        out = out_size or _slide(x, weight.extent, stride, padding)
        return self._weighted("conv", x, (x.shape[0], cout, *out), name, weight, tied)

    def linear(self, x: Node, cout: int, name: str, *, bias: bool = True, tied: Node | None = None) -> Node:
        """Product of the last axis with a weight of shape (x.shape[-1], cout)."""
        return self._weighted(
            "linear", x, (*x.shape[:-1], cout), name, Kernel(x.shape[-1], cout, bias=bias), tied
        )

    def matmul(self, a: Node, b: Node, name: str) -> Node:
        """Product of two activations, (..., I, K) times (..., K, J), for each index of the leading axes."""
        if min(len(a.shape), len(b.shape)) < 2 or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
            raise SpecError(f"layer {name!r}: cannot multiply shape {list(a.shape)} by {list(b.shape)}")
        return self._add(Node(name, "matmul", (*a.shape[:-1], b.shape[-1]), (a, b)))

    def attention(self, q: Node, k: Node, v: Node, heads: int, name: str) -> Node:
        """Scaled dot-product attention of (B, T, D) queries, keys and values, which may be views of one tensor.

        The scale is folded into the output path of the first product. A causal mask saves no work.
        """
        batch, tokens, width = q.shape
        if width % heads:
            raise SpecError(f"layer {name!r}: {heads} heads must divide the width {width}")
        depth = width // heads
        keys = self.view(k, (batch, heads, depth, tokens))
        scores = self.matmul(self.view(q, (batch, heads, tokens, depth)), keys, f"{name}.scores")
        weights = self.vector("softmax", scores, f"{name}.softmax")
        context = self.matmul(weights, self.view(v, (batch, heads, tokens, depth)), f"{name}.context")
        return self.view(context, q.shape)

    def vector(
        self,
        kind: str,
        x: Node | Sequence[Node],
        name: str,
        *,
        shape: Shape = (),
        params: int = 0,
        taps: int = 1,
    ) -> Node:
        """Any work of the vector unit; without `shape` the output is shaped like the first input."""
        inputs = (x,) if isinstance(x, Node) else tuple(x)
        return self._add(Node(name, kind, shape or inputs[0].shape, inputs, params, taps))

    def add(self, a: Node, b: Node, name: str) -> Node:
        """Sum of two tensors of one shape."""
        if a.shape != b.shape:
            raise SpecError(f"layer {name!r}: cannot add shape {list(a.shape)} to {list(b.shape)}")
        return self.vector("add", (a, b), name, taps=2)

    def batchnorm(self, x: Node, name: str) -> Node:
        """Batch normalisation of each channel (axis 1), with scale and shift."""
        if len(x.shape) < 2:
            raise SpecError(f"layer {name!r} needs channels on axis 1, got shape {list(x.shape)}")
        return self.vector("batchnorm", x, name, params=2 * x.shape[1])

    def layernorm(self, x: Node, name: str) -> Node:
        """Layer normalisation of the last axis, with scale and shift."""
        return self.vector("layernorm", x, name, params=2 * x.shape[-1])

    def pool(
        self,
        kind: str,
        x: Node,
        kernel: int | Pair,
        name: str,
        *,
        stride: int = 1,
        padding: int | Pair = 0,
        out_size: Pair | None = None,
    ) -> Node:
        """`maxpool` or `avgpool`; `out_size` replaces the output size that `padding` (per side) would give."""
        size, channels = _pair(kernel), _channels(x, name)
        _check_window(name, kernel=size, stride=(stride,))
        out = out_size or _slide(x, size, stride, padding)
        return self.vector(kind, x, name, shape=(x.shape[0], channels, *out), taps=prod(size))

    def global_pool(self, kind: str, x: Node, name: str) -> Node:
        """Pool each channel to one value: (B, C, H, W) -> (B, C)."""
        return self.flatten(self.pool(kind, x, (x.shape[-2], x.shape[-1]), name))

    def embedding(self, ids: Node, tables: Sequence[int], width: int, name: str) -> Node:
        """Sum of one row of each table: (B, T) -> (B, T, width); `tables` holds their numbers of rows."""
        params = sum(tables) * width
        return self.vector("embedding", ids, name, shape=(*ids.shape, width), params=params, taps=len(tables))

    def position(self, x: Node, name: str, *, class_tokens: int = 0, rows: int = 0) -> Node:
        """Put `class_tokens` trained tokens before (B, T, D), then add a trained vector to every token.

        The table of these vectors has `rows` rows, by default one for each token.
        """
        batch, tokens, width = x.shape
        tokens += class_tokens
        if rows and tokens > rows:
            raise SpecError(f"layer {name!r}: {tokens} tokens, but the position table has {rows} rows")
        params = ((rows or tokens) + class_tokens) * width
        return self.vector("position", x, name, shape=(batch, tokens, width), params=params)

    def loss(self, x: Node, name: str = "loss") -> Node:
        """Softmax cross-entropy over the last axis."""
        return self.vector("loss", x, name)

    def view(self, x: Node, shape: Shape) -> Node:
        """The same data in another shape, a slice or a broadcast of it; free."""
        return self._add(Node(f"{x.name}:{len(self.nodes)}", "view", shape, (x,)))

    def flatten(self, x: Node) -> Node:
        """(B, ...) -> (B, elements of one sample); free."""
        return self.view(x, (x.shape[0], prod(x.shape[1:])))

    def order(self, x: Node, shape: Shape) -> Node:
        """Tensor of unknown origin that exists only after `x`: order without work."""
        return self._add(Node(f"{x.name}:{len(self.nodes)}", "order", shape, (x,)))

    def _weighted(
        self, kind: str, x: Node, shape: Shape, name: str, weight: Kernel, tied: Node | None
    ) -> Node:
        params = weight.biases + (0 if tied else weight.weights)
        return self._add(Node(name, kind, shape, (x,), params, kernel=weight, tied=tied))

    def _add(self, node: Node) -> Node:
        if min(node.shape) < 1:
            raise SpecError(
                f"layer {node.name!r}: output shape {list(node.shape)} is empty; use a larger input"
            )
        if node.name in self._names:
            raise SpecError(f"layer {node.name!r} is defined twice; give every layer its own name")
        trains = (
            node.trains
            or node.params > 0
            or any(x.trains for x in (*node.inputs, *filter(None, (node.tied,))))
        )
        if trains != node.trains:
            node = replace(node, trains=trains)
        self._names.add(node.name)
        self.nodes.append(node)
        return node


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _channels(x: Node, name: str) -> int:
    if len(x.shape) != 4:
        raise SpecError(
            f"layer {name!r} needs an image (batch, channels, height, width), got shape {list(x.shape)}"
        )
    return x.shape[1]


def _check_window(name: str, **sizes: Shape) -> None:
    for what, values in sizes.items():
        if not 1 <= min(values) <= max(values) <= MAX_WINDOW:
            raise SpecError(f"layer {name!r}: {what} {list(values)} must be from 1 to {MAX_WINDOW}")


def _slide(x: Node, extent: Pair, stride: int, padding: int | Pair) -> Pair:
    """Output height and width of a window that slides over an image."""
    pad = _pair(padding)
    height, width = ((x.shape[2 + d] + 2 * pad[d] - extent[d]) // stride + 1 for d in (0, 1))
    return height, width
