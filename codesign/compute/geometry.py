"""How a convolution moves its window, and the stride phases of its input gradient."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from codesign.errors import SpecError

Pair = tuple[int, int]


class Phase(NamedTuple):
    """Input pixels that the stride makes meet the same taps: those at `offset` modulo the stride, padding counted.

    `taps` are positions in the flattened kernel, ascending; `reach` tells for each by how many outputs it lies back.
    """

    offset: Pair
    taps: tuple[int, ...]
    reach: tuple[Pair, ...]


class Sizes(NamedTuple):
    """Kernel taps, output pixels, and the input and output channels of one group."""

    kernel: Pair
    out: Pair
    inputs: int
    outputs: int

    def of_group(self, group: int) -> tuple[slice, slice]:
        """Its input and output channels."""
        return (
            slice(group * self.inputs, (group + 1) * self.inputs),
            slice(group * self.outputs, (group + 1) * self.outputs),
        )


@dataclass(frozen=True, slots=True)
class Geometry:
    """Stride, zero padding on either side, dilation (each vertical, horizontal) and groups of a 2-D convolution.

    Raises SpecError for a size out of range.
    """

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        if min(*self.stride, *self.dilation, self.groups) < 1 or min(self.padding) < 0:
            raise SpecError(f"{self}: expected a padding of at least 0, and at least 1 of everything else")

    def fit(self, weight: tuple[int, ...], x: tuple[int, ...], y: tuple[int, ...] | None = None) -> Sizes:
        """Check the shapes of weight, input and, if given, output against each other. Raises SpecError."""
        if len(weight) != 4 or len(x) != 4 or weight[0] % self.groups or x[1] != weight[1] * self.groups:
            raise SpecError(
                f"convolution of input {x} with weight {weight}: expected (B, Cin, H, W) and (Cout, Cin / groups, "
                f"taps, taps), Cin and Cout multiples of {self.groups} groups"
            )
        kernel = weight[2], weight[3]
        out = self.out_size((x[2], x[3]), kernel)
        if y is not None and y != (x[0], weight[0], *out):
            raise SpecError(f"output gradient of shape {y}: expected {(x[0], weight[0], *out)}")
        return Sizes(kernel, out, weight[1], weight[0] // self.groups)

    def out_size(self, image: Pair, kernel: Pair) -> Pair:
        """Output pixels. Raises SpecError if the kernel does not fit into the padded image."""
        height, width = (
            (image[d] + 2 * self.padding[d] - (kernel[d] - 1) * self.dilation[d] - 1) // self.stride[d] + 1
            for d in (0, 1)
        )
        if min(height, width) < 1:
            raise SpecError(f"kernel {kernel} does not fit into image {image} with {self}")
        return height, width

    def phases(self, kernel: Pair) -> list[Phase]:
        """The stride phases with taps, in the order of their first tap; each is one product of the input gradient.

        As in `workloads.gemms.input_gradient_gemms` (sub-pixel decomposition, Shi et al., CVPR 2016).
        """
        found: dict[Pair, list[tuple[int, Pair]]] = {}
        for tap, place in enumerate(product(range(kernel[0]), range(kernel[1]))):
            shift = [place[d] * self.dilation[d] for d in (0, 1)]
            offset = shift[0] % self.stride[0], shift[1] % self.stride[1]
            reach = shift[0] // self.stride[0], shift[1] // self.stride[1]
            found.setdefault(offset, []).append((tap, reach))
        return [Phase(offset, *zip(*taps, strict=True)) for offset, taps in found.items()]

    def margins(self, image: Pair, kernel: Pair, out: Pair) -> tuple[Pair, Pair]:
        """Rows and columns beyond the output that the input gradient looks at: above and left, below and right."""
        before = tuple((kernel[d] - 1) * self.dilation[d] // self.stride[d] for d in (0, 1))
        last = ((image[d] + self.padding[d] - 1) // self.stride[d] for d in (0, 1))
        after = tuple(max(0, pixel + 1 - size) for pixel, size in zip(last, out, strict=True))
        return (before[0], before[1]), (after[0], after[1])
