"""One GEMM as the array sees it: operand bytes of any tile, with the sparse operand always on the B side."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from typing import Literal

from codesign.nm.format import NM
from codesign.units import bits_to_bytes
from hw_models.arch import Arch
from workloads.ops import Gemm, GemmOp, Role


@dataclass(frozen=True, slots=True)
class Product:
    """`count` products Y[i, j] = A[i, k] . B[k, j] with B possibly N:M sparse along k.

    If the trace marks A as the sparse operand, the product is transposed (Y^T = B^T . A^T), because USPEs index
    the dense operand by the kept positions of the other one. `compact` says that B lies in memory already
    pruned; otherwise a sparse B is loaded dense and passes SORE before use. Where k runs over pixels, a ragged last
    group is padded with zeros on chip; memory holds no padding.
    """

    gemm: Gemm
    pixel_axis: Literal["i", "k"]
    nm: NM
    sparse: bool
    compact: bool
    transposed: bool
    operand_bits: int

    @classmethod
    def of(cls, op: GemmOp, gemm: Gemm, arch: Arch) -> Product:
        """View one product of `op` on `arch`."""
        dense = NM(arch.array.weight_registers, arch.array.weight_registers)
        if op.sparsity is None:
            return cls(gemm, op.pixel_axis, dense, False, True, False, arch.precision.operand_bits)
        operand = op.a if op.sparsity.operand == "a" else op.b
        return cls(
            gemm,
            op.pixel_axis,
            op.sparsity.nm,
            sparse=True,
            compact=operand is Role.WEIGHT and arch.optimizations.pregenerate,
            transposed=op.sparsity.operand == "a",
            operand_bits=arch.precision.operand_bits,
        )

    @property
    def i(self) -> int:
        """Rows of A and Y."""
        return self.gemm.j if self.transposed else self.gemm.i

    @property
    def k(self) -> int:
        """Reduction length."""
        return self.gemm.k

    @property
    def j(self) -> int:
        """Columns of B and Y."""
        return self.gemm.i if self.transposed else self.gemm.j

    @property
    def i_unit(self) -> int:
        """Granule of i that keeps stored pixels and channels whole."""
        return 1 if self.transposed else self._unit("i")

    @property
    def j_unit(self) -> int:
        """Granule of j that keeps stored pixels whole."""
        return self._unit("i") if self.transposed else 1

    @property
    def k_unit(self) -> int:
        """Granule of k that keeps groups, and stored pixels or channels, whole."""
        if self.pixel_axis == "i":
            return self._unit("k") * self.nm.m
        return lcm(self._unit("k"), self.nm.m) if self.sparse else self._unit("k")

    def _unit(self, axis: str) -> int:
        if self.gemm.window is None:
            return 1
        return self.gemm.window.out_w if axis == self.pixel_axis else self.gemm.taps

    def a_bytes(self, i: int, k: int) -> int:
        """DRAM bytes of an i x k tile of A."""
        elements = i * k if self.transposed else self.gemm.a_elements(i, k, self.pixel_axis)
        return bits_to_bytes(elements * self.operand_bits)

    def b_bytes(self, k: int, j: int) -> int:
        """DRAM bytes of a k x j tile of B."""
        if self.sparse and self.compact:
            return self.b_buffer_bytes(k, j)
        elements = self.gemm.a_elements(j, k, self.pixel_axis) if self.transposed else k * j
        return bits_to_bytes(elements * self.operand_bits)

    def b_buffer_bytes(self, k: int, j: int) -> int:
        """On-chip bytes of a k x j tile of B: a sparse operand is compact there, however it came."""
        if not self.sparse:
            return self.b_bytes(k, j)
        return self.nm.compact_bytes(self.nm.padded(k), j, self.operand_bits)

    def y_bytes(self, i: int, j: int) -> int:
        """DRAM bytes of an i x j tile of the result."""
        return bits_to_bytes(i * j * self.operand_bits)

    def sort_groups(self, k: int, j: int) -> int:
        """Groups of a k x j tile of B that SORE prunes before use."""
        return self.nm.groups(self.nm.padded(k)) * j if self.sparse and not self.compact else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates left after pruning, all `count` products together, padding excluded."""
        groups, rest = divmod(self.k, self.nm.m)
        return self.gemm.macs // self.k * (groups * self.nm.n + min(rest, self.nm.n))
