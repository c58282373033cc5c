"""The three products of a recorded layer, and its pruned weights, against PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.compute.bounds import Bound, rounding_bound, roundings, stored_bound, sum_bound
from codesign.compute.formats import Float32, Format
from codesign.compute.order import Order
from codesign.compute.pack_kernels import pack
from codesign.compute.stream_kernels import unpack
from codesign.functional import Products, ScheduledOrders, products_of, stored
from codesign.nm.format import NM
from codesign.nm.reference import Compact
from codesign.verify.check import Check
from workloads.ops import Stage
from workloads.recording import LayerGeometry

Tensors = Mapping[str, NDArray[Any]]


class _Operand(NamedTuple):
    """An operand: as the accelerator multiplies it, the same as a dense tensor, and PyTorch's."""

    given: Float32 | Compact
    hardware: Float32
    torch: Float32


RESULTS = {Stage.FF: "output", Stage.BP: "input_gradient", Stage.WU: "weight_gradient"}
"""The recorded tensor that holds PyTorch's result of each pass."""


@dataclass(frozen=True)
class LayerProducts:
    """A recorded layer; `scale` is the loss scale, `dtype` the type of PyTorch's operands."""

    name: str
    geometry: LayerGeometry
    tensors: Tensors
    schedule: ScheduledOrders
    fmt: Format
    scale: float
    dtype: str

    def products(self) -> Generator[Check, None, Float32 | None]:
        """Checks of the three products and the pruned weights; returns the weight gradient for the update."""
        x = self._dense(self.tensors["input"])
        g = self._dense(self.tensors["output_gradient"], self.scale)
        weight = self._weight(Stage.FF)
        yield from self._pruned("prune FF", weight, self.geometry.nm_ff, 1)
        yield self._check(Stage.FF, x, weight)[0]
        if RESULTS[Stage.BP] in self.tensors:
            weight = self._weight(Stage.BP)
            yield from self._pruned("prune BP", weight, self.geometry.nm_bp, 0)
            yield self._check(Stage.BP, self._gradient(g), weight)[0]
        if self.schedule.op(self.name, Stage.WU).sparsity:
            yield Check(self.name, "WU", note="the gradient is pruned at random, and was not recorded")
            return None
        check, gradient = self._check(Stage.WU, x, g)
        yield check
        return gradient

    def _dense(self, values: Float32, scale: float = 1.0) -> _Operand:
        values = values.astype(np.float32) * np.float32(scale)
        narrowed = stored(values, self.fmt)
        return _Operand(narrowed, narrowed, values)

    def _weight(self, stage: Stage) -> _Operand:
        """From the dense weight if PyTorch's operand is nothing but that pruned, else from PyTorch's operand."""
        used = self.tensors[f"weight_{stage}"].astype(np.float32)
        dense, sparsity = (
            self.tensors["weight"].astype(np.float32),
            self.schedule.op(self.name, stage).sparsity,
        )
        source = stored(used, self.fmt)
        if sparsity is None or sparsity.operand == "a":
            return _Operand(source, source, used)
        axis = 1 if stage is Stage.FF else 0
        if np.array_equal(unpack(pack(dense, sparsity.nm, axis)), used):
            source = stored(dense, self.fmt)
        compact = pack(source, sparsity.nm, axis)
        return _Operand(compact, unpack(compact), used)

    def _gradient(self, g: _Operand) -> _Operand:
        """The operand of BP: pruned, if the method prunes gradients."""
        sparsity = self.schedule.op(self.name, Stage.BP).sparsity
        if sparsity is None or sparsity.operand == "b":
            return g
        axis = 1 if self.geometry.kind == "conv" else g.torch.ndim - 1
        hardware, torch = (unpack(pack(values, sparsity.nm, axis)) for values in (g.hardware, g.torch))
        return _Operand(hardware, hardware, torch)

    def _pruned(self, what: str, weight: _Operand, nm: str | None, axis: int) -> Iterator[Check]:
        """The accelerator keeps weights as large as PyTorch does: of every group, the same magnitudes in 16 bits."""
        if nm is None or not isinstance(weight.given, Compact):
            return
        kept = [
            _magnitudes(values, NM.parse(nm), axis)
            for values in (weight.hardware, stored(weight.torch, self.fmt))
        ]
        moved = int(np.count_nonzero((weight.hardware != 0) & (weight.torch == 0)))
        note = f"{moved} kept in place of an equal one" if moved else ""
        yield Check.of(self.name, what, kept[0], kept[1], np.zeros(kept[0].shape), self.fmt, note)

    def _check(self, stage: Stage, a: _Operand, b: _Operand) -> tuple[Check, Float32]:
        """Compare a product with PyTorch's, both freed of the loss scale; also gives the accelerator's."""
        multiply = products_of(self.geometry, self.tensors["input"].shape, self.tensors["weight"].shape)
        scale, bias = (1.0, self._bias()) if stage is Stage.FF else (self.scale, np.zeros(1, np.float32))
        torch = self.tensors[RESULTS[stage]].astype(np.float32)
        summed = _product(multiply, stage)(a.given, b.given, self.schedule.orders(self.name, stage)) + bias
        error = self._rounding_errors(stage, multiply, a, b, np.abs(bias))
        if self.dtype == "bfloat16":
            # PyTorch narrows the bias, and the sum before and after it is added.
            narrowed = (torch, np.abs(torch) + np.abs(bias), bias)
            error = error + scale * sum(rounding_bound(each, Format.BF16) for each in narrowed)
        bound = stored_bound(scale * torch, error, self.fmt) / scale
        result = stored(summed, self.fmt) / np.float32(scale)
        return Check.of(self.name, stage.upper(), result, torch, bound, self.fmt), result

    def _bias(self) -> Float32:
        """Of the output's shape, or one that broadcasts to it."""
        bias = self.tensors.get("bias", np.zeros(1)).astype(np.float32)
        return bias.reshape(-1, 1, 1) if self.geometry.kind == "conv" else bias

    def _rounding_errors(
        self, stage: Stage, multiply: Products, a: _Operand, b: _Operand, bias: Float32
    ) -> Bound:
        """How far the accelerator's sums and PyTorch's may be apart: its order, theirs, and other operands.

        a' b' - a b = a' (b' - b) + (a' - a) b.
        """
        reductions = multiply.reductions(stage)
        orders = self.schedule.orders(self.name, stage)
        longest = max(k for k, _ in reductions)
        ours = max(
            roundings(order.walk(*reduction), exact_products=self.fmt is Format.FP16)
            for order, reduction in zip(orders, reductions, strict=True)
        )
        theirs = roundings(Order().walk(longest))

        def magnitudes(left: Float32, right: Float32) -> Bound:
            return _product(multiply, stage)(np.abs(left), np.abs(right)).astype(np.float64)

        both = sum_bound(magnitudes(a.hardware, b.hardware) + bias, ours + 1)
        both += sum_bound(magnitudes(a.torch, b.torch) + bias, theirs + 1)
        moved = magnitudes(a.hardware, b.hardware - b.torch) + magnitudes(a.hardware - a.torch, b.torch)
        return both + moved + sum_bound(moved, longest + 1)


def _product(multiply: Products, stage: Stage) -> Callable[..., Float32]:
    by_stage = {
        Stage.FF: multiply.forward,
        Stage.BP: multiply.input_gradient,
        Stage.WU: multiply.weight_gradient,
    }
    return by_stage[stage]


def _magnitudes(values: Float32, nm: NM, axis: int) -> Float32:
    """Magnitudes of every group, sorted."""
    moved = np.abs(np.moveaxis(values, axis, -1))
    return np.sort(moved.reshape(*moved.shape[:-1], -1, nm.m), axis=-1)
