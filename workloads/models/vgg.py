"""VGG-16 and VGG-19 (Simonyan & Zisserman, ICLR 2015)."""

from __future__ import annotations

from torch import nn

from workloads.models.initial import initialise_convolutions
from workloads.zoo.vgg import CONVS, WIDTHS


class Vgg(nn.Sequential):
    """The published network for ImageNet: no normalisation, three fully connected layers on a 7 x 7 map."""

    def __init__(self, *, depth: int, classes: int) -> None:
        super().__init__()
        _add_features(self, depth, norm=False)  # (B, 3, H, W) -> (B, 512, H/32, W/32)
        self.add_module("avgpool", nn.AdaptiveAvgPool2d(7))
        self.add_module("flatten", nn.Flatten())  # (B, 512 x 49)
        inputs = WIDTHS[-1] * 7 * 7
        for name in ("fc1", "fc2"):
            self.add_module(name, nn.Linear(inputs, 4096))
            self.add_module(f"{name}_relu", nn.ReLU())
            inputs = 4096
        self.add_module("fc3", nn.Linear(inputs, classes))
        initialise_convolutions(self)


class VggCifar(nn.Sequential):
    """The usual variant for small images: BatchNorm after each convolution, one fully connected layer."""

    def __init__(self, *, depth: int, classes: int, input_size: int) -> None:
        super().__init__()
        _add_features(self, depth, norm=True)  # (B, 3, H, W) -> (B, 512, H/32, W/32)
        self.add_module("flatten", nn.Flatten())
        pixels = (input_size // 2 ** len(WIDTHS)) ** 2
        self.add_module("fc", nn.Linear(WIDTHS[-1] * pixels, classes))
        initialise_convolutions(self)


def _add_features(net: nn.Sequential, depth: int, *, norm: bool) -> None:
    """Append the five stages of 3 x 3 convolutions, each followed by a pooling that halves the image."""
    cin = 3
    for stage, (width, convs) in enumerate(zip(WIDTHS, CONVS[depth], strict=True), start=1):
        for name in (f"conv{stage}_{index}" for index in range(1, convs + 1)):
            net.add_module(name, nn.Conv2d(cin, width, 3, padding=1))
            if norm:
                net.add_module(f"{name}_bn", nn.BatchNorm2d(width))
            net.add_module(f"{name}_relu", nn.ReLU())
            cin = width
        net.add_module(f"pool{stage}", nn.MaxPool2d(2))
