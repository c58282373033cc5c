"""Networks that the exported accelerator trains: layers one after the other on images, then softmax cross-entropy.

A layer adds its node to a `workloads` graph, from which operations, dependences and the schedule follow. Flattening
takes the pixels as they lie in memory: row by row, channels innermost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from codesign.compute.vector_unit import Window
from codesign.errors import SpecError
from workloads.graph import Graph, Node

INPUT, LOSS = "input", "loss"
"""Names of what is before and after all layers."""


Nodes = Mapping[str, Node]
"""Of all layers so far, by name."""


class Layer(Protocol):
    """A layer of a given name."""

    @property
    def name(self) -> str:
        """Name of the layer, and of its node."""

    def node(self, graph: Graph, x: Node, earlier: Nodes) -> Node:
        """Add the layer, with input `x`, to a graph. Raises SpecError if it does not fit."""


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution with a square kernel, padded on all sides."""

    name: str
    cout: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    bias: bool = True

    def node(self, graph: Graph, x: Node, earlier: Nodes) -> Node:
        """(B, C, H, W) -> (B, cout, Ho, Wo)."""
        return graph.conv(
            x, self.cout, self.kernel, self.name, stride=self.stride, padding=self.padding, bias=self.bias
        )


@dataclass(frozen=True, slots=True)
class Linear:
    """Linear layer."""

    name: str
    cout: int
    bias: bool = True

    def node(self, graph: Graph, x: Node, earlier: Nodes) -> Node:
        """(B, Cin) -> (B, cout)."""
        return graph.linear(x, self.cout, self.name, bias=self.bias)


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalisation of each channel."""

    name: str
    eps: float = 1e-5
    momentum: float = 0.1

    def node(self, graph: Graph, x: Node, earlier: Nodes) -> Node:
        """Keeps the shape."""
        return graph.batchnorm(x, self.name)


@dataclass(frozen=True, slots=True)
class ReLU:
    """ReLU."""

    name: str

    def node(self, graph: Graph, x: Node, earlier: Nodes) -> Node:
        """Keeps the shape."""
        return graph.vector("relu", x, self.name)


@dataclass(frozen=True, slots=True)
class Add:
    """Sum of the input and of the output of the layer `other`: a residual connection."""

    name: str
    other: str

    def node(self, graph: Graph, x: Node, earlier: Nodes) -> Node:
        """Keeps the shape."""
        if self.other not in earlier:
            raise SpecError(
                f"layer {self.name!r} adds layer {self.other!r}, expected one of: {', '.join(earlier)}"
            )
        return graph.add(x, earlier[self.other], self.name)


@dataclass(frozen=True, slots=True)
class Pool:
    """Pooling with a square window; `kind` is `maxpool` or `avgpool`."""

    name: str
    kind: str
    kernel: int
    stride: int
    padding: int = 0

    @property
    def window(self) -> Window:
        """The window."""
        return Window((self.kernel,) * 2, (self.stride,) * 2, (self.padding,) * 2)

    def node(self, graph: Graph, x: Node, earlier: Nodes) -> Node:
        """(B, C, H, W) -> (B, C, Ho, Wo)."""
        return graph.pool(self.kind, x, self.kernel, self.name, stride=self.stride, padding=self.padding)


@dataclass(frozen=True, slots=True)
class Flatten:
    """Images to rows; costs nothing."""

    name: str

    def node(self, graph: Graph, x: Node, earlier: Nodes) -> Node:
        """(B, C, H, W) -> (B, H W C)."""
        return graph.flatten(x)


@dataclass(frozen=True, slots=True)
class Network:
    """`layers` on images of `image` = (C, H, W), C channels."""

    name: str
    image: tuple[int, int, int]
    layers: tuple[Layer, ...]

    def graph(self, batch: int) -> tuple[Graph, dict[str, Node]]:
        """The forward graph, and the nodes of input, layers and loss by name. Raises SpecError if they do not fit."""
        graph = Graph(batch)
        x = graph.input(*self.image, name=INPUT)
        nodes = {INPUT: x}
        for layer in self.layers:
            x = nodes[layer.name] = layer.node(graph, x, nodes)
        nodes[LOSS] = graph.loss(x, LOSS)
        return graph, nodes

    def sources(self) -> dict[str, tuple[str, ...]]:
        """By layer, where its inputs come from; the loss last."""
        names = [INPUT, *(layer.name for layer in self.layers), LOSS]
        sources: dict[str, tuple[str, ...]] = {name: (before,) for before, name in pairwise(names)}
        for layer in self.layers:
            if isinstance(layer, Add):
                sources[layer.name] += (layer.other,)
        return sources
