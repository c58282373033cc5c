"""GEMM shapes of a weight layer in each stage, following the table of `workloads.ops`."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

from codesign.errors import SpecError
from workloads.graph import Kernel, Node, Pair
from workloads.ops import Gemm, Window

MAX_PHASES = 4096


def kernel_of(node: Node) -> Kernel:
    """The weight of a convolution or linear node. Raises SpecError for other nodes."""
    if node.kernel is None:
        raise SpecError(f"layer {node.name!r} ({node.kind}) has no weight")
    return node.kernel


def forward_gemm(node: Node) -> Gemm:
    """FF: output (rows, cout) = input (rows, cin x taps) . weight; rows = batch x output pixels."""
    kernel = kernel_of(node)
    return Gemm(_rows(node), kernel.cin * kernel.taps, kernel.cout, kernel.groups, kernel.taps, _window(node))


def weight_gradient_gemm(node: Node) -> Gemm:
    """WU: weight gradient (cin x taps, cout) = input, transposed (cin x taps, rows) . output gradient."""
    kernel = kernel_of(node)
    return Gemm(kernel.cin * kernel.taps, _rows(node), kernel.cout, kernel.groups, kernel.taps, _window(node))


def input_gradient_gemms(node: Node) -> tuple[Gemm, ...]:
    """BP: input gradient (rows, cin) = output gradient (rows, cout x taps) . weight, transposed.

    With stride s, input pixels fall into s x s phases, and each phase meets only its own kernel taps (sub-pixel
    decomposition, Shi et al., CVPR 2016). One product per phase with taps, so that the taps add up to the
    kernel and the MACs to those of FF. Each phase has one row per output pixel; where that differs from its number
    of input pixels, taps that fall off the image are not counted.
    """
    kernel = kernel_of(node)
    vertical, horizontal = (_phases(kernel.size[d], kernel.stride, kernel.dilation[d]) for d in (0, 1))
    if len(vertical) * len(horizontal) > MAX_PHASES:
        raise SpecError(
            f"layer {node.name!r}: stride {kernel.stride} splits its input gradient into "
            f"{len(vertical) * len(horizontal)} products, at most {MAX_PHASES} are expected; use a smaller stride"
        )
    gemms = []
    for (taps_h, extent_h), (taps_w, extent_w) in product(vertical, horizontal):
        taps = taps_h * taps_w
        window = _im2col(node.shape[-2:], node.shape[-2:], (extent_h, extent_w), 1)
        gemms.append(Gemm(_rows(node), kernel.cout * taps, kernel.cin, kernel.groups, taps, window))
    return tuple(gemms)


def _phases(size: int, stride: int, dilation: int) -> list[Pair]:
    """Taps, and output pixels that they span, of each stride phase along one axis; empty phases left out."""
    phases: defaultdict[int, list[int]] = defaultdict(list)
    for tap in range(size):
        phases[tap * dilation % stride].append(tap * dilation)
    return [(len(offsets), (offsets[-1] - offsets[0]) // stride + 1) for offsets in phases.values()]


def _rows(node: Node) -> int:
    kernel = kernel_of(node)
    return node.elements // (kernel.cout * kernel.groups)


def _window(node: Node) -> Window | None:
    kernel = kernel_of(node)
    return _im2col(node.inputs[0].shape[-2:], node.shape[-2:], kernel.extent, kernel.stride)


def _im2col(stored: tuple[int, ...], out: tuple[int, ...], extent: Pair, stride: int) -> Window | None:
    """Footprint of a sliding window; None for 1 x 1, where every GEMM pixel is one stored pixel."""
    if extent == (1, 1):
        return None
    return Window(stored[0], stored[1], out[0], out[1], *extent, stride=stride)
