"""In which order the accelerator adds up the products of a GEMM. This text is normative.

`Y[i, j]` is the sum over k of `A[i, k] . B[k, j]`. Floating-point addition is not associative, so that the order
decides the last bits. It is that of the array of `hw_models.timing`, which `hw_models.oracle` steps in registers.

**Arithmetic.** Operands are 16-bit numbers (`codesign.compute.formats`), widened to FP32. A product of two FP16
numbers is exact in FP32; one of two BF16 numbers is, unless it over- or underflows, and then it is rounded like any
other. It is never rounded to 16 bits. Additions are FP32. Everything rounds to nearest, ties to even, subnormals
included; product and addition round separately (no fused multiply-add, which FP16 operands would not notice). The
result stays FP32 until it is narrowed, once, by whoever stores it.

**Runs.** The reduction is cut into runs of neighbouring terms. A run starts at +0 and adds its products one after the
other: `s = s + a[k] * b[k]`. A *total* starts at +0 too, and adds up the runs: `total = total + s`. That is Y.

- Weight-stationary (WS): an array tile holds R groups of M, and is one run. A partial sum enters the top row as +0;
  in each row the PE adds the products of its group to it, in the order of k, and passes it on. What leaves the bottom
  row is added to the output buffer.
- Output-stationary (OS): a PE adds up all of k, so there is one run. Interleaving only alternates between outputs.
- A schedule may cut k into buffer tiles of `tile_k`. Each is a GEMM of its own, and its sums are added to the output
  buffer: no run reaches across the end of a buffer tile, whose last array tile may be ragged. The output buffer
  starts at +0 in OS as well: an array that adds to it in WS needs no other way to write to it.

**Order of k.** Within a buffer tile k ascends. A convolution folds its kernel positions (taps) into k, channels
innermost; a buffer tile that holds part of k holds all taps of some channels, so that k is first cut into blocks of
`tile_k / taps` channels, and within a block runs over taps and then channels. In the input gradient the taps are
those of one stride phase, in ascending order of their place in the kernel.

**Zeros.** A sum that starts at +0 never becomes -0 when rounding to nearest. So adding a zero product changes
nothing, and padding (of ragged groups, idle rows, image borders) need not be computed. For finite operands it also
makes no difference whether a pruned entry is skipped or multiplied as +0. Kept zeros are multiplied: with an infinite
activation they give NaN, as they do in hardware. Sums of FP16 products are multiples of 2^-48, so no FP32 subnormal
ever occurs and an adder that flushes them to zero is as good; BF16 promises no such thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.errors import SpecError


class Walk(NamedTuple):
    """A reduction written out: `visit`, the k in the order in which they are added; `ends`, where the runs end in it.

    Both int64; `ends` ascends to the length of `visit`.
    """

    visit: NDArray[np.int64]
    ends: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a reduction: `run_k` of k to a run, `tile_k` of k to a buffer tile; None is all there is.

    Raises SpecError for a size below 1.
    """

    run_k: int | None = None
    tile_k: int | None = None

    def __post_init__(self) -> None:
        for name, size in (("run_k", self.run_k), ("tile_k", self.tile_k)):
            if size is not None and size < 1:
                raise SpecError(f"summation order: {name} is {size}, expected at least 1")

    @classmethod
    def ws(cls, rows: int, m: int, tile_k: int | None = None) -> Order:
        """Weight-stationary on an array of `rows` rows, with groups of `m` (for a dense product too)."""
        return cls(rows * m, tile_k)

    @classmethod
    def os(cls, tile_k: int | None = None) -> Order:
        """Output-stationary."""
        return cls(None, tile_k)

    def walk(self, k: int, taps: int = 1) -> Walk:
        """Write out a reduction of length `k` with `taps` kernel positions folded into it.

        Raises SpecError if there is none, or if a buffer tile does not hold all taps of whole channels.
        """
        tile_k = min(self.tile_k or k, k)
        if k < 1 or k % taps or tile_k % taps:
            raise SpecError(
                f"summation order: reduction of {k}, buffer tiles of {tile_k}: expected positive multiples of the "
                f"{taps} kernel positions"
            )
        folded = np.arange(k).reshape(taps, k // taps)
        blocks = [folded[:, c : c + tile_k // taps].reshape(-1) for c in range(0, k // taps, tile_k // taps)]
        ends, done = [], 0
        for block in blocks:
            ends += [done + min(end, block.size) for end in _run_ends(block.size, self.run_k)]
            done += block.size
        return Walk(np.concatenate(blocks), np.array(ends))


def _run_ends(size: int, run_k: int | None) -> range:
    step = run_k or size
    return range(step, size + step, step)
