"""`gemm`: Y = A . B, with B dense or compact N:M along the reduction, compiled.

With a summation order, the result is the accelerator's, bit for bit (`codesign.compute.order`): it equals that of
`codesign.compute.reference.gemm`. Without one it comes fast: a dense product is left to BLAS, whose order is its
own; a sparse one is summed in `FAST`, and products may be fused with additions.
"""

from __future__ import annotations

import numpy as np

from codesign.compute.formats import Float32, float32_of
from codesign.compute.order import Order
from codesign.compute.product_kernels import View, product
from codesign.compute.stream_kernels import indices
from codesign.compute.terms import matrix_terms
from codesign.errors import FormatError
from codesign.nm.reference import Compact

FAST = Order()
"""The order of a fast product: k ascends, in one run."""


def gemm(
    a: Float32, b: Float32 | Compact, order: Order | None = None, onto: Float32 | None = None
) -> Float32:
    """Y (I, J) = `a` (I, K) times `b`, (K, J) or compact along K, all float32.

    The runs are added to `onto` (I, J), if given, as to what the output buffer holds from earlier buffer tiles.
    Fastest if `a` is the transpose of a contiguous matrix (K, I), which is how images and results of `gemm` lie in
    memory. Raises FormatError for operands that are corrupt, not float32 or do not fit, SpecError for an order that
    does not fit.
    """
    terms = matrix_terms(a, b, indices)
    if onto is not None and onto.shape != (len(a), len(terms.values)):
        raise FormatError(f"GEMM onto an array of shape {onto.shape}: expected {(len(a), len(terms.values))}")
    if order is None and not isinstance(b, Compact):
        y: Float32 = np.matmul(float32_of(a), b)
        return y if onto is None else onto + y
    walk, start = (order or FAST).walk(terms.k), None if onto is None else float32_of(onto).T
    return product(_view(float32_of(a)), terms, walk, order is None, start).T


def _view(a: Float32) -> View:
    """Of a matrix in either memory order; one in neither is copied."""
    if not (a.flags.c_contiguous or a.flags.f_contiguous):
        a = np.ascontiguousarray(a)
    memory = (a if a.flags.c_contiguous else a.T).reshape(-1)
    lane, row = (
        np.arange(size) * (stride // a.itemsize) for size, stride in zip(a.shape, a.strides, strict=True)
    )
    return View(memory, row, lane)
