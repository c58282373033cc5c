"""The operations of a VECTOR instruction: what its fields mean, and what it does to memory. This text is normative.

`codesign.compute.vector_unit` defines the arithmetic. Tensors start at word addresses and lie there without gaps;
nothing but them is changed. They are FP16 unless the table says otherwise; C is `channels`.

| operation           | x      | y              | z           | out      | out2               | rows          |
|---------------------|--------|----------------|-------------|----------|--------------------|---------------|
| RELU                | x      |                |             | y        |                    | rows of C     |
| RELU_BACKWARD       | dy     | y              |             | dx       |                    | rows of C     |
| ADD                 | x      | x'             |             | y        |                    | rows of C     |
| COLUMN_SUM          | dy     |                |             | sums (C) |                    | rows of C     |
| MAX_POOL            | x      |                |             | y        | positions, uint16  | samples       |
| MAX_POOL_BACKWARD   | dy     | positions      |             | dx       |                    | samples       |
| AVG_POOL            | x      |                |             | y        |                    | samples       |
| AVG_POOL_BACKWARD   | dy     |                |             | dx       |                    | samples       |
| CROSS_ENTROPY       | logits | labels, uint32 |             | dx       | loss, FP32         | rows of C     |
| BATCH_NORM          | x      | scale, FP32    | shift, FP32 | y        | statistics, FP32   | rows of C     |
| BATCH_NORM_BACKWARD | x      | dy             | scale, FP32 | dx       | statistics, FP32   | rows of C     |

Parameters, from p0 on:

- CROSS_ENTROPY has its `LossConstants`, BATCH_NORM its `NormConstants`, BATCH_NORM_BACKWARD the constant INVERSE and
  the addresses of dscale and dshift (C).
- Pooling has source, target, kernel, stride and padding, each height in bits 0-15 and width in bits 16-31, and
  INVERSE. Source is the image that x is, target the one that out is; backward, those are the output and the input.
- Constants are FP32 patterns.

Statistics are four vectors (C), each from a word on: mean, reciprocal, running mean, running variance.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from math import prod

import numpy as np

from codesign.compute import vector_unit
from codesign.compute.formats import Bits, Float32
from codesign.compute.geometry import Pair
from codesign.compute.vector_loss import LossConstants, cross_entropy
from codesign.compute.vector_norm import NormConstants, Statistics, batch_norm, batch_norm_backward
from codesign.compute.vector_unit import Window
from codesign.errors import SpecError
from hls.program.instruction import WORD_BYTES, Vector
from hls.program.memory import Bytes, view


class VectorOp(IntEnum):
    """Field `op`."""

    RELU = 0
    RELU_BACKWARD = 1
    ADD = 2
    COLUMN_SUM = 3
    MAX_POOL = 4
    MAX_POOL_BACKWARD = 5
    AVG_POOL = 6
    AVG_POOL_BACKWARD = 7
    CROSS_ENTROPY = 8
    BATCH_NORM = 9
    BATCH_NORM_BACKWARD = 10


# -- parameters ----------------------------------------------------------------------------------------------------


def real_parameters(constants: Iterable[np.float32]) -> dict[str, int]:
    """Fields p0, p1, ... that hold FP32 constants."""
    return {f"p{at}": int(np.float32(value).view(np.uint32)) for at, value in enumerate(constants)}


def window_parameters(window: Window, source: Pair, target: Pair) -> dict[str, int]:
    """Fields p0 to p5 of pooling."""
    pairs = source, target, window.kernel, window.stride, window.padding
    packed = {f"p{at}": height | width << 16 for at, (height, width) in enumerate(pairs)}
    return packed | {"p5": int(window.inverse.view(np.uint32))}


def _real(*bits: int) -> list[np.float32]:
    return list(np.array(bits, np.uint32).view(np.float32))


def _pair(bits: int) -> Pair:
    return bits & 0xFFFF, bits >> 16


def window_of(v: Vector) -> tuple[Window, Pair, Pair]:
    """The window, the source and the target of pooling."""
    return Window(_pair(v.p2), _pair(v.p3), _pair(v.p4)), _pair(v.p0), _pair(v.p1)


# -- execution -----------------------------------------------------------------------------------------------------


def execute(v: Vector, memory: Bytes) -> None:
    """Do to `memory` what `v` says. Raises SpecError for an unknown operation, or a tensor beyond the end."""
    if v.op not in _EXECUTE:
        raise SpecError(f"VECTOR: operation {v.op}, expected 0 to {max(_EXECUTE)}")
    _EXECUTE[VectorOp(v.op)](v, memory)


def _rows(v: Vector, memory: Bytes, address: int) -> Bits:
    return view(memory, address, v.rows * v.channels, "uint16").reshape(v.rows, v.channels)


def _image(v: Vector, memory: Bytes, address: int, image: Pair) -> Bits:
    shape = v.rows, *image, v.channels
    return view(memory, address, prod(shape), "uint16").reshape(shape)


def _channels(v: Vector, memory: Bytes, address: int) -> Float32:
    return view(memory, address, v.channels, "float32")


def _statistics(v: Vector, memory: Bytes) -> Statistics:
    words = -(-4 * v.channels // WORD_BYTES)
    return Statistics(*(_channels(v, memory, v.out2 + part * words) for part in range(4)))


def _relu(v: Vector, memory: Bytes) -> None:
    _rows(v, memory, v.out)[...] = vector_unit.relu(_rows(v, memory, v.x))


def _relu_backward(v: Vector, memory: Bytes) -> None:
    _rows(v, memory, v.out)[...] = vector_unit.relu_backward(_rows(v, memory, v.x), _rows(v, memory, v.y))


def _add(v: Vector, memory: Bytes) -> None:
    total = vector_unit.add(_rows(v, memory, v.x), _rows(v, memory, v.y))
    _rows(v, memory, v.out)[...] = total


def _column_sum(v: Vector, memory: Bytes) -> None:
    view(memory, v.out, v.channels, "uint16")[...] = vector_unit.column_sum(_rows(v, memory, v.x))


def _max_pool(v: Vector, memory: Bytes) -> None:
    window, source, target = window_of(v)
    y, positions = vector_unit.max_pool(_image(v, memory, v.x, source), window)
    _image(v, memory, v.out, target)[...] = y
    _image(v, memory, v.out2, target)[...] = positions


def _max_pool_backward(v: Vector, memory: Bytes) -> None:
    window, source, target = window_of(v)
    dy, positions = _image(v, memory, v.x, source), _image(v, memory, v.y, source)
    _image(v, memory, v.out, target)[...] = vector_unit.max_pool_backward(dy, positions, window, target)


def _avg_pool(v: Vector, memory: Bytes) -> None:
    window, source, target = window_of(v)
    _image(v, memory, v.out, target)[...] = vector_unit.avg_pool(_image(v, memory, v.x, source), window)


def _avg_pool_backward(v: Vector, memory: Bytes) -> None:
    window, source, target = window_of(v)
    dx = vector_unit.avg_pool_backward(_image(v, memory, v.x, source), window, target)
    _image(v, memory, v.out, target)[...] = dx


def _cross_entropy(v: Vector, memory: Bytes) -> None:
    labels = view(memory, v.y, v.rows, "uint32")
    constants = LossConstants(*_real(v.p0, v.p1, v.p2, v.p3, v.p4))
    loss, dx = cross_entropy(_rows(v, memory, v.x), labels, constants)
    _rows(v, memory, v.out)[...] = dx
    view(memory, v.out2, 1, "float32")[...] = loss


def _batch_norm(v: Vector, memory: Bytes) -> None:
    scale, shift = _channels(v, memory, v.y), _channels(v, memory, v.z)
    constants = NormConstants(*_real(v.p0, v.p1, v.p2, v.p3))
    y = batch_norm(_rows(v, memory, v.x), scale, shift, _statistics(v, memory), constants)
    _rows(v, memory, v.out)[...] = y


def _batch_norm_backward(v: Vector, memory: Bytes) -> None:
    x, dy = _rows(v, memory, v.x), _rows(v, memory, v.y)
    scale, (inverse,) = _channels(v, memory, v.z), _real(v.p0)
    dx, dscale, dshift = batch_norm_backward(x, dy, scale, _statistics(v, memory), inverse)
    _rows(v, memory, v.out)[...] = dx
    view(memory, v.p1, v.channels, "uint16")[...] = dscale
    view(memory, v.p2, v.channels, "uint16")[...] = dshift


_EXECUTE = {
    VectorOp.RELU: _relu,
    VectorOp.RELU_BACKWARD: _relu_backward,
    VectorOp.ADD: _add,
    VectorOp.COLUMN_SUM: _column_sum,
    VectorOp.MAX_POOL: _max_pool,
    VectorOp.MAX_POOL_BACKWARD: _max_pool_backward,
    VectorOp.AVG_POOL: _avg_pool,
    VectorOp.AVG_POOL_BACKWARD: _avg_pool_backward,
    VectorOp.CROSS_ENTROPY: _cross_entropy,
    VectorOp.BATCH_NORM: _batch_norm,
    VectorOp.BATCH_NORM_BACKWARD: _batch_norm_backward,
}
