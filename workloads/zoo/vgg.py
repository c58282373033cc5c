"""VGG-16 and VGG-19 (Simonyan & Zisserman, ICLR 2015)."""

from __future__ import annotations

from workloads.graph import Graph, Node

WIDTHS = (64, 128, 256, 512, 512)
CONVS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(batch: int, *, depth: int, classes: int = 1000, input_size: int = 224) -> Graph:
    """The published network for ImageNet: no normalisation, three fully connected layers on a 7 x 7 map."""
    g = Graph(batch)
    x = _features(g, depth, input_size, norm=False)
    if x.shape[-2:] != (7, 7):
        window = -(-x.shape[-1] // 7)
        x = g.pool("avgpool", x, window, "avgpool", out_size=(7, 7))
    x = g.flatten(x)
    for name in ("fc1", "fc2"):
        x = g.vector("relu", g.linear(x, 4096, name), f"{name}.relu")
    g.loss(g.linear(x, classes, "fc3"))
    return g


def vgg_cifar(batch: int, *, depth: int, classes: int = 10, input_size: int = 32) -> Graph:
    """The usual variant for small images: BatchNorm after each convolution, one fully connected layer."""
    g = Graph(batch)
    x = g.flatten(_features(g, depth, input_size, norm=True))
    g.loss(g.linear(x, classes, "fc"))
    return g


def _features(g: Graph, depth: int, input_size: int, *, norm: bool) -> Node:
    x = g.input(3, input_size, input_size)
    for stage, (width, convs) in enumerate(zip(WIDTHS, CONVS[depth], strict=True), start=1):
        for index in range(1, convs + 1):
            name = f"conv{stage}_{index}"
            x = g.conv(x, width, 3, name, padding=1, bias=True)
            x = g.batchnorm(x, f"{name}.bn") if norm else x
            x = g.vector("relu", x, f"{name}.relu")
        x = g.pool("maxpool", x, 2, f"pool{stage}", stride=2)
    return x
