"""Residual networks (He et al., CVPR 2016) and ResNet-9 (Page, DAWNBench 2018)."""

from __future__ import annotations

from workloads.graph import Graph, Node

WIDTHS = (64, 128, 256, 512)
BASIC_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK_BLOCKS = {50: (3, 4, 6, 3)}


def resnet(batch: int, *, depth: int, classes: int = 1000, input_size: int = 224) -> Graph:
    """ResNet-18, -34 or -50 with the ImageNet stem, as in torchvision (stride in the 3 x 3 of a bottleneck)."""
    g = Graph(batch)
    x = _conv(g, g.input(3, input_size, input_size), 64, 7, "conv1", stride=2)
    x = g.pool("maxpool", _relu(g, x), 3, "maxpool", stride=2, padding=1)
    return _residual_stages(g, x, depth, classes)


def resnet_cifar(batch: int, *, depth: int, classes: int = 10, input_size: int = 32) -> Graph:
    """ResNet-18, -34 or -50 for small images: 3 x 3 stem, no first pooling."""
    g = Graph(batch)
    x = _conv(g, g.input(3, input_size, input_size), 64, 3, "conv1")
    return _residual_stages(g, _relu(g, x), depth, classes)


def resnet9(batch: int, *, classes: int = 10, input_size: int = 32) -> Graph:
    """ResNet-9 for CIFAR: eight convolutions, two of the four widths with a residual pair, and a classifier."""
    g = Graph(batch)
    x = _relu(g, _conv(g, g.input(3, input_size, input_size), 64, 3, "prep"))
    for stage, width in enumerate((128, 256, 512), start=1):
        x = _relu(g, _conv(g, x, width, 3, f"layer{stage}.conv"))
        x = g.pool("maxpool", x, 2, f"layer{stage}.pool", stride=2)
        if stage != 2:
            residual = x
            for part in (1, 2):
                residual = _relu(g, _conv(g, residual, width, 3, f"layer{stage}.residual{part}"))
            x = g.add(x, residual, f"layer{stage}.add")
    x = g.global_pool("maxpool", x, "maxpool")
    g.loss(g.linear(x, classes, "fc", bias=False))
    return g


def _residual_stages(g: Graph, x: Node, depth: int, classes: int) -> Graph:
    block = _basic if depth in BASIC_BLOCKS else _bottleneck
    blocks = BASIC_BLOCKS.get(depth) or BOTTLENECK_BLOCKS[depth]
    for stage, (width, repeats) in enumerate(zip(WIDTHS, blocks, strict=True), start=1):
        for index in range(repeats):
            x = block(g, x, width, 2 if stage > 1 and index == 0 else 1, f"layer{stage}.{index}")
    x = g.global_pool("avgpool", x, "avgpool")
    g.loss(g.linear(x, classes, "fc"))
    return g


def _basic(g: Graph, x: Node, width: int, stride: int, name: str) -> Node:
    y = _relu(g, _conv(g, x, width, 3, f"{name}.conv1", stride=stride))
    y = _conv(g, y, width, 3, f"{name}.conv2")
    return _join(g, x, y, stride, name)


def _bottleneck(g: Graph, x: Node, width: int, stride: int, name: str) -> Node:
    y = _relu(g, _conv(g, x, width, 1, f"{name}.conv1"))
    y = _relu(g, _conv(g, y, width, 3, f"{name}.conv2", stride=stride))
    y = _conv(g, y, 4 * width, 1, f"{name}.conv3")
    return _join(g, x, y, stride, name)


def _join(g: Graph, x: Node, y: Node, stride: int, name: str) -> Node:
    """Residual sum; the shortcut is a 1 x 1 convolution where the shape changes."""
    if x.shape != y.shape:
        x = _conv(g, x, y.shape[1], 1, f"{name}.downsample", stride=stride)
    return _relu(g, g.add(y, x, f"{name}.add"))


def _conv(g: Graph, x: Node, cout: int, kernel: int, name: str, *, stride: int = 1) -> Node:
    """Convolution without bias and its BatchNorm; padded so that stride 1 keeps the size."""
    x = g.conv(x, cout, kernel, name, stride=stride, padding=kernel // 2)
    return g.batchnorm(x, f"{name}.bn")


def _relu(g: Graph, x: Node) -> Node:
    return g.vector("relu", x, f"{x.name}.relu")
