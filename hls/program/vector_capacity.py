"""What the vector unit of an architecture has room for: the sizes of `hls/kernels/vector_tile.hpp`, and its refusals.

Every operation goes through memory in tiles, so that rows are unlimited. What must fit is the channels of a row or,
in pooling, the pixels that a row of results comes from.
"""

from __future__ import annotations

from codesign.errors import ExportError
from hls.config import KernelConfig
from hls.program.instruction import Vector
from hls.program.vector_operations import VectorOp, window_of

WORD_HALVES = 32
_ELEMENTWISE = (VectorOp.RELU, VectorOp.RELU_BACKWARD, VectorOp.ADD)
_BY_CHANNEL = (VectorOp.COLUMN_SUM, VectorOp.BATCH_NORM, VectorOp.BATCH_NORM_BACKWARD)
_POOL_BACKWARD = (VectorOp.MAX_POOL_BACKWARD, VectorOp.AVG_POOL_BACKWARD)


def check_vector(config: KernelConfig, v: Vector, name: str) -> None:
    """Raise ExportError, with `name`, if the vector unit has no room for an instruction.

    More channels than fit are cut into whole words, if they are whole words; those of a loss are not cut.
    """
    op = VectorOp(v.op)
    room = _room(config, v, op)
    cut = op is not VectorOp.CROSS_ENTROPY and v.channels % WORD_HALVES == 0 and room >= WORD_HALVES
    if v.channels > room and not cut and op not in _ELEMENTWISE:
        raise ExportError(
            f"{name}: {op.name} of {v.channels} channels, the vector unit has room for {room}; enlarge buffers.vector"
        )


def _room(config: KernelConfig, v: Vector, op: VectorOp) -> int:
    """Channels that are on chip at once."""
    lanes, depth = config.vector_lanes, config.vector_depth // 8
    elements = lanes * depth - WORD_HALVES - lanes
    if op in _BY_CHANNEL:
        return lanes * (config.vector_depth // 256)
    if op is VectorOp.CROSS_ENTROPY or op in _ELEMENTWISE:
        return elements
    window, source, target = window_of(v)
    rows = min(source[0], -(-window.kernel[0] // (window.stride[0] if op in _POOL_BACKWARD else 1)))
    pixels = max(rows * source[1], target[1])
    return min(elements // pixels, depth // target[1] * lanes)
