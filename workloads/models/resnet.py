"""Residual networks (He et al., CVPR 2016) and ResNet-9 (Page, DAWNBench 2018)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, max_pool2d, relu

from workloads.models.initial import initialise_convolutions
from workloads.zoo.resnet import BASIC_BLOCKS, BOTTLENECK_BLOCKS, WIDTHS


class ResNet(nn.Module):
    """ResNet-18, -34 or -50: with the ImageNet stem or, for small images, a 3 x 3 stem without pooling."""

    def __init__(self, *, depth: int, classes: int, small_images: bool) -> None:
        super().__init__()
        block: type[BasicBlock | Bottleneck] = BasicBlock if depth in BASIC_BLOCKS else Bottleneck
        repeats = BASIC_BLOCKS.get(depth) or BOTTLENECK_BLOCKS[depth]
        outputs = [width * block.expansion for width in WIDTHS]

        self.conv1 = _conv(3, 64, 3) if small_images else _conv(3, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.Identity() if small_images else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, 64, WIDTHS[0], repeats[0], stride=1)
        self.layer2 = _stage(block, outputs[0], WIDTHS[1], repeats[1], stride=2)
        self.layer3 = _stage(block, outputs[1], WIDTHS[2], repeats[2], stride=2)
        self.layer4 = _stage(block, outputs[2], WIDTHS[3], repeats[3], stride=2)
        self.fc = nn.Linear(outputs[3], classes)
        initialise_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes)."""
        x = self.maxpool(relu(self.bn1(self.conv1(x))))  # (B, 64, H/4, W/4); small images keep H, W
        x = self.layer2(self.layer1(x))
        x = self.layer4(self.layer3(x))  # (B, 512 or 2048, H/32, W/32); small images H/8, W/8
        x = adaptive_avg_pool2d(x, 1).flatten(1)  # (B, 512 or 2048)
        logits: Tensor = self.fc(x)
        return logits


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, cin: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(cin, width, 3, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample, self.downsample_bn = _shortcut(cin, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) -> (B, width, H/stride, W/stride)."""
        y = relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return relu(y + self.downsample_bn(self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolution and a shortcut; the stride is in the 3 x 3, as in torchvision."""

    expansion = 4

    def __init__(self, cin: int, width: int, stride: int) -> None:
        super().__init__()
        cout = self.expansion * width
        self.conv1 = _conv(cin, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, cout, 1)
        self.bn3 = nn.BatchNorm2d(cout)
        self.downsample, self.downsample_bn = _shortcut(cin, cout, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) -> (B, 4 x width, H/stride, W/stride)."""
        y = relu(self.bn1(self.conv1(x)))
        y = relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return relu(y + self.downsample_bn(self.downsample(x)))


class ResNet9(nn.Module):
    """ResNet-9 for CIFAR: eight convolutions, two of the four widths with a residual pair, and a classifier."""

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.prep = _conv(3, 64, 3)
        self.prep_bn = nn.BatchNorm2d(64)
        self.layer1 = ResNet9Stage(64, 128, residual=True)
        self.layer2 = ResNet9Stage(128, 256, residual=False)
        self.layer3 = ResNet9Stage(256, 512, residual=True)
        self.fc = nn.Linear(512, classes, bias=False)
        initialise_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes)."""
        x = relu(self.prep_bn(self.prep(x)))  # (B, 64, H, W)
        x = self.layer3(self.layer2(self.layer1(x)))  # (B, 512, H/8, W/8)
        x = adaptive_max_pool2d(x, 1).flatten(1)  # (B, 512)
        logits: Tensor = self.fc(x)
        return logits


class ResNet9Stage(nn.Module):
    """Convolution and pooling, then a residual pair of convolutions where wanted."""

    def __init__(self, cin: int, cout: int, *, residual: bool) -> None:
        super().__init__()
        self.conv = _conv(cin, cout, 3)
        self.bn = nn.BatchNorm2d(cout)
        self.residual = residual
        if residual:
            self.residual1 = _conv(cout, cout, 3)
            self.residual1_bn = nn.BatchNorm2d(cout)
            self.residual2 = _conv(cout, cout, 3)
            self.residual2_bn = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) -> (B, cout, H/2, W/2)."""
        x = max_pool2d(relu(self.bn(self.conv(x))), 2)
        if not self.residual:
            return x
        y = relu(self.residual1_bn(self.residual1(x)))
        return x + relu(self.residual2_bn(self.residual2(y)))


def _stage(
    block: type[BasicBlock | Bottleneck], cin: int, width: int, repeats: int, *, stride: int
) -> nn.Sequential:
    first = block(cin, width, stride)
    rest = [block(width * block.expansion, width, 1) for _ in range(repeats - 1)]
    return nn.Sequential(first, *rest)


def _shortcut(cin: int, cout: int, stride: int) -> tuple[nn.Module, nn.Module]:
    """A 1 x 1 convolution and its BatchNorm where the shape changes, else nothing."""
    if cin == cout and stride == 1:
        return nn.Identity(), nn.Identity()
    return _conv(cin, cout, 1, stride=stride), nn.BatchNorm2d(cout)


def _conv(cin: int, cout: int, kernel: int, *, stride: int = 1) -> nn.Conv2d:
    """Convolution without bias, as a BatchNorm follows; padded so that stride 1 keeps the size."""
    return nn.Conv2d(cin, cout, kernel, stride=stride, padding=kernel // 2, bias=False)
