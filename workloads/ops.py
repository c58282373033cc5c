"""Operations of one training iteration: GEMMs, vector work and weight updates.

A GEMM is always written `Y[i, j] = A[i, k] . B[k, j]`; `k` is the reduction axis. Which tensor plays which part:

| stage | A                       | B          | Y               | i               | k             | j      |
|-------|-------------------------|------------|-----------------|-----------------|---------------|--------|
| FF    | input (im2col)          | weight     | output          | batch x pixels  | Cin x taps    | Cout   |
| BP    | output gradient (im2col)| weight     | input gradient  | batch x pixels  | Cout x taps   | Cin    |
| WU    | input (im2col, transp.) | output grad| weight gradient | Cin x taps      | batch x pixels| Cout   |

Along `k` the channels are innermost, so N:M groups lie along the channels of one kernel position.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal

from codesign.errors import TraceError
from codesign.nm.format import NM

MAX_PRODUCTS = 1 << 24
"""Most products of one operation; they are executed one by one."""


class Record:
    """Base of all that a trace holds: when a trace is read back, unknown fields are refused."""

    __slots__ = ()
    __pydantic_config__: ClassVar = {"extra": "forbid"}


class Stage(StrEnum):
    """Part of a training iteration that an operation belongs to."""

    FF = "ff"
    BP = "bp"
    WU = "wu"
    OTHER = "other"


class Role(StrEnum):
    """What a GEMM operand is."""

    ACTIVATION = "activation"
    WEIGHT = "weight"
    GRADIENT = "gradient"


@dataclass(frozen=True, slots=True)
class Window(Record):
    """Pixel footprint of an im2col operand: which stored pixels a run of GEMM pixels touches.

    All fields count pixels (or taps) along one image axis. `taps_*` is the kernel extent, dilation included.
    """

    in_h: int
    in_w: int
    out_h: int
    out_w: int
    taps_h: int
    taps_w: int
    stride: int = 1

    def __post_init__(self) -> None:
        _check(1, self.in_h, self.in_w, self.out_h, self.out_w, self.taps_h, self.taps_w, self.stride)

    def stored_pixels(self, gemm_pixels: int) -> int:
        """Stored pixels that `gemm_pixels` consecutive GEMM pixels touch, whole rows at a time, halo included."""
        rows = -(-gemm_pixels // self.out_w)
        images, rest = divmod(rows, self.out_h)
        width = _touched(self.out_w, self.taps_w, self.stride, self.in_w)
        full = _touched(self.out_h, self.taps_h, self.stride, self.in_h)
        tail = _touched(rest, self.taps_h, self.stride, self.in_h) if rest else 0
        return (images * full + tail) * width


def _check(lowest: int, *sizes: int) -> None:
    if min(sizes) < lowest:
        raise TraceError(f"operation with size {min(sizes)}, expected at least {lowest}")


def _touched(outputs: int, taps: int, stride: int, limit: int) -> int:
    """Input positions that `outputs` neighbouring windows touch along one axis."""
    return min(limit, (outputs - 1) * min(stride, taps) + taps)


@dataclass(frozen=True, slots=True)
class Gemm(Record):
    """`count` independent products of one shape.

    `taps` is the number of kernel positions folded into the channel axis of A (1 for a plain GEMM); `window`
    maps the pixel axis of A to stored pixels (None: every GEMM pixel is stored once).
    """

    i: int
    k: int
    j: int
    count: int = 1
    taps: int = 1
    window: Window | None = None

    def __post_init__(self) -> None:
        _check(1, self.i, self.k, self.j, self.count, self.taps)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense product."""
        return self.i * self.k * self.j * self.count

    def a_elements(self, i: int, k: int, pixel_axis: Literal["i", "k"]) -> int:
        """Elements of A in memory behind an `i` x `k` tile (im2col duplicates counted once, halo included).

        A tile that takes part of the axis with the taps is meant to hold all taps of some channels.
        """
        if self.window is None:
            return i * k
        pixels, folded = (i, k) if pixel_axis == "i" else (k, i)
        return self.window.stored_pixels(pixels) * -(-folded // self.taps)


@dataclass(frozen=True, slots=True)
class Sparsity(Record):
    """Which operand of a GEMM is N:M sparse along the reduction axis, and since when.

    `operand` is `a` or `b`. A weight can be pruned ahead of time, right after its update; a gradient cannot.
    """

    operand: Literal["a", "b"]
    nm: NM


@dataclass(frozen=True, slots=True)
class GemmOp(Record):
    """One GEMM operation of the iteration: the products of one layer in one stage.

    `gemms` has one entry except for the input gradient of a strided convolution, which splits into one product
    for each stride phase. `pixel_axis` is the axis of A (`i` or `k`) that runs over pixels.
    """

    name: str
    layer: str
    stage: Stage
    gemms: tuple[Gemm, ...]
    a: Role
    b: Role
    deps: tuple[str, ...] = ()
    pixel_axis: Literal["i", "k"] = "i"
    sparsity: Sparsity | None = None

    def __post_init__(self) -> None:
        products = sum(gemm.count for gemm in self.gemms)
        if not 1 <= products <= MAX_PRODUCTS:
            raise TraceError(f"operation {self.name!r} has {products} products, expected 1 to {MAX_PRODUCTS}")

    @property
    def dense_macs(self) -> int:
        """Multiply-accumulates if nothing is pruned."""
        return sum(gemm.macs for gemm in self.gemms)


@dataclass(frozen=True, slots=True)
class VectorOp(Record):
    """Work of the vector unit: element-wise, normalisation, pooling, softmax, loss, data movement.

    `operations` counts scalar arithmetic operations; `read_elements` and `write_elements` are what passes
    through memory, every pass over a tensor counted.
    """

    name: str
    layer: str
    stage: Stage
    kind: str
    operations: int
    read_elements: int
    write_elements: int
    deps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(0, self.operations, self.read_elements, self.write_elements)


@dataclass(frozen=True, slots=True)
class UpdateOp(Record):
    """Optimizer step over `elements` parameters of a layer, once their gradient is complete.

    `prunes` lists the N:M ratios at which the updated weight is needed in compact form, one entry for each
    orientation (forward: groups along Cin; backward: groups along Cout).
    """

    name: str
    layer: str
    elements: int
    deps: tuple[str, ...] = ()
    prunes: tuple[NM, ...] = ()

    def __post_init__(self) -> None:
        _check(1, self.elements)

    @property
    def stage(self) -> Stage:
        """Updates always belong to the weight-update stage."""
        return Stage.WU


Op = GemmOp | VectorOp | UpdateOp
