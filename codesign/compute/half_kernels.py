"""FP16 and BF16 conversions in integer arithmetic, compiled; `codesign.compute.formats` states the rules.

The loops have no branches, so that they are vectorised on any processor, whether it knows these formats or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute.formats import Bits, Float32, Format, bits_of, float32_of
from codesign.compute.threads import in_parallel
from codesign.nm.jit_kernels import compiled

_GRAIN = 1 << 17  # numbers; some 30 microseconds


def widen(values: NDArray[Any], fmt: Format) -> Float32:
    """float32 of the same shape, exactly. `values` are bit patterns or numpy's own numbers of `fmt`.

    Raises FormatError for another type.
    """
    bits = np.ascontiguousarray(bits_of(values, fmt))
    wide = np.empty(bits.shape, np.float32)
    loop = _widen_fp16 if fmt is Format.FP16 else _widen_bf16
    source, target = bits.reshape(-1), wide.reshape(-1).view(np.uint32)
    in_parallel(lambda begin, end: loop(source[begin:end], target[begin:end]), bits.size, _GRAIN)
    return wide


def narrow(values: Float32, fmt: Format) -> Bits:
    """Bit patterns of the same shape, rounded to nearest, ties to even. Raises FormatError if not float32."""
    wide = np.ascontiguousarray(float32_of(values))
    bits = np.empty(wide.shape, np.uint16)
    loop = _narrow_fp16 if fmt is Format.FP16 else _narrow_bf16
    source, target = wide.reshape(-1).view(np.uint32), bits.reshape(-1)
    in_parallel(lambda begin, end: loop(source[begin:end], target[begin:end]), wide.size, _GRAIN)
    return bits


_SIGN = np.uint32(0x8000)
_MAGNITUDE = np.uint32(0x7FFF_FFFF)
_INFINITY = np.uint32(0x7F80_0000)
_REBIAS = np.uint32((127 - 15) << 23)  # from FP16's exponent to FP32's
_SMALLEST_NORMAL = np.uint32((127 - 14) << 23)  # of FP16, in FP32
_HALF = np.float32(0.5)
_HALF_BITS = np.uint32(126 << 23)  # its last bit weighs 2^-24, as that of an FP16 subnormal


@compiled
def _widen_fp16(bits, wide):  # type: ignore[no-untyped-def]
    one = np.float32(2.0**-14)
    for e in range(bits.size):
        sign = (np.uint32(bits[e]) & _SIGN) << np.uint32(16)
        shifted = (np.uint32(bits[e]) & np.uint32(0x7FFF)) << np.uint32(13)
        # a subnormal becomes the fraction of 2^-14 (1 + fraction), which the subtraction leaves
        tiny = np.float32(np.uint32(shifted | _SMALLEST_NORMAL).view(np.float32) - one).view(np.uint32)
        normal = shifted + _REBIAS
        special = shifted | _INFINITY
        finite = tiny if shifted < np.uint32(1 << 23) else normal
        wide[e] = sign | (special if shifted >= np.uint32(31 << 23) else finite)


@compiled
def _narrow_fp16(wide, bits):  # type: ignore[no-untyped-def]
    for e in range(wide.size):
        magnitude = wide[e] & _MAGNITUDE
        sign = (wide[e] >> np.uint32(16)) & _SIGN
        # the addition rounds to multiples of a subnormal's last bit
        tiny = np.float32(np.uint32(magnitude).view(np.float32) + _HALF).view(np.uint32) - _HALF_BITS
        odd = (magnitude >> np.uint32(13)) & np.uint32(1)
        normal = (magnitude - _REBIAS + np.uint32(0xFFF) + odd) >> np.uint32(13)
        rounded = tiny if magnitude < _SMALLEST_NORMAL else min(normal, np.uint32(0x7C00))
        bits[e] = np.uint32(0x7E00) if magnitude > _INFINITY else sign | rounded


@compiled
def _widen_bf16(bits, wide):  # type: ignore[no-untyped-def]
    for e in range(bits.size):
        wide[e] = np.uint32(bits[e]) << np.uint32(16)


@compiled
def _narrow_bf16(wide, bits):  # type: ignore[no-untyped-def]
    for e in range(wide.size):
        odd = (wide[e] >> np.uint32(16)) & np.uint32(1)
        rounded = (wide[e] + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        bits[e] = np.uint32(0x7FC0) if wide[e] & _MAGNITUDE > _INFINITY else rounded
