"""The N:M format: N values kept of every group of M. This text is normative.

**Groups.** An N:M tensor has one reduction axis, named by whoever prunes it: the axis that the GEMM sums
over (input channels in the forward pass, output channels in the input gradient). Each 1-D slice along
that axis is a *vector* of length k, cut from its start into groups of M neighbours. A group therefore
never straddles a row, a filter or a kernel position. k must be a multiple of M, for a dense ratio (N = M)
too. A ragged vector is refused, or padded with +0 at its end to the next multiple on explicit demand;
nothing pads silently. Kernel positions may be folded into k, channels innermost, only if the channels of
each are a multiple of M.

**Selection.** Exactly N entries of every group are kept, zeros too if it has fewer than N non-zeros:

1. The N largest magnitudes are kept.
2. Of equal magnitudes the lowest index is kept first. So padding is kept only if the rest has fewer than
   N.
3. NaN ranks above infinity, so that a poisoned weight stays visible. All NaNs tie, whatever sign and
   payload.
4. -0 and +0 tie.
5. A kept entry keeps its bits (a -0 its sign, a NaN its payload); a pruned entry becomes +0.

Equivalently, in integers: the *magnitude key* of a float with bit pattern `bits` is

    min(bits & magnitude_mask, nan_key)

with the constants of `FLOAT_KEYS`: the mask clears the sign bit, and `nan_key` is infinity's pattern plus
one, the smallest NaN. Keys order as magnitudes do, subnormals included. The key of an integer is its
absolute value, unsigned (128 for the int8 -128). The N largest keys are kept, ties to the lowest index.

**Layout.** A tensor is stored as two streams, values and indices. Both visit the vectors in C order of
the remaining axes (the reduction axis moved last), the groups of a vector from its start, and the kept
entries of a group in ascending index. An index counts from the start of its group, 0 to M - 1, in
ceil(log2 M) bits.

- Entries follow each other without gaps, least significant bit first: a stream of b-bit entries, read as
  one little-endian integer S, holds entry e at `(S >> e * b) & (2**b - 1)`. Values of 8, 16, 32 or 64
  bits are thus plain little-endian arrays.
- Each stream is padded with zero bits to a whole byte once, at its end; not for each group, vector or
  row. So the streams of a convolution weight do not depend on whether its kernel positions are folded
  into k.
- A dense ratio has no index stream.

A reader refuses an index of M or more, indices of a group that do not strictly ascend, padding bits that
are not zero, and a stream of the wrong length. A tile that is stored by itself is a tensor of its own,
with its own end padding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from codesign.errors import FormatError

_PATTERN = re.compile(r"([0-9]{1,4}):([0-9]{1,4})")


class FloatKey(NamedTuple):
    """Constants of one float type's magnitude key, `min(bits & magnitude_mask, nan_key)`."""

    magnitude_mask: int
    nan_key: int


FLOAT_KEYS = {
    "float16": FloatKey(0x7FFF, 0x7C01),
    "bfloat16": FloatKey(0x7FFF, 0x7F81),
    "float32": FloatKey(0x7FFF_FFFF, 0x7F80_0001),
    "float64": FloatKey(0x7FFF_FFFF_FFFF_FFFF, 0x7FF0_0000_0000_0001),
}
"""Magnitude key constants by type name, as numpy and torch spell it."""


@dataclass(frozen=True, slots=True, order=True)
class NM:
    """N values kept of every group of M. `n == m` is dense.

    Sizes are of `vectors` vectors (>= 0) of length `k`; they raise FormatError if `k` is not a multiple of M.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m:
            raise FormatError(f"N:M ratio {self.n}:{self.m}: expected 1 <= N <= M (N is the number kept)")

    @classmethod
    def parse(cls, text: str) -> NM:
        """Read `"2:8"`. Raises FormatError."""
        match = _PATTERN.fullmatch(text.strip())
        if not match:
            raise FormatError(f"N:M ratio {text!r}: expected two integers such as 2:8 (N kept of M)")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    @property
    def dense(self) -> bool:
        """Whether nothing is pruned."""
        return self.n == self.m

    @property
    def index_bits(self) -> int:
        """Bits of one index into a group, ceil(log2 M); of a dense ratio too, although none is stored."""
        return (self.m - 1).bit_length()

    @property
    def group_index_bits(self) -> int:
        """Bits that one group adds to the index stream: N indices, or nothing if dense."""
        return 0 if self.n == self.m else self.n * self.index_bits

    def group_bits(self, value_bits: int) -> int:
        """Bits that one group adds to both streams."""
        return self.n * value_bits + self.group_index_bits

    def padded(self, k: int) -> int:
        """The smallest multiple of M that holds `k` entries."""
        return -(-k // self.m) * self.m

    def groups(self, k: int) -> int:
        """Groups in a vector of length `k`. Raises FormatError if `k` is negative or not a multiple of M."""
        groups, ragged = divmod(k, self.m)
        if ragged or k < 0:
            raise FormatError(
                f"N:M ratio {self}: reduction length {k}: expected a multiple of M = {self.m}; "
                "pad it with zeros at its end, or keep it out of the N:M format"
            )
        return groups

    def kept(self, k: int) -> int:
        """Entries kept of a vector of length `k`."""
        return self.groups(k) * self.n

    def compact_bits(self, k: int, vectors: int, value_bits: int) -> int:
        """Bits of both streams before they are padded to whole bytes."""
        return self.groups(k) * vectors * self.group_bits(value_bits)

    def value_bytes(self, k: int, vectors: int, value_bits: int) -> int:
        """Bytes of the value stream, end padding included."""
        return -(-self.kept(k) * vectors * value_bits // 8)

    def index_bytes(self, k: int, vectors: int) -> int:
        """Bytes of the index stream, end padding included."""
        return -(-self.groups(k) * vectors * self.group_index_bits // 8)

    def compact_bytes(self, k: int, vectors: int, value_bits: int) -> int:
        """Bytes of both streams, end padding included."""
        return self.value_bytes(k, vectors, value_bits) + self.index_bytes(k, vectors)
