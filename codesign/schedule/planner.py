"""Chooses dataflow, tile sizes and loop order for each GEMM, from the closed-form cost model."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from codesign.errors import ScheduleError
from codesign.schedule.product import Product
from codesign.schedule.tiling import Cost, Target, Tiling, candidates, costs, in_best_order
from hw_models.arch import Arch
from hw_models.program import Choice
from hw_models.timing import Dataflow
from workloads.ops import GemmOp


class Plan(NamedTuple):
    """The chosen dataflow of an operation with one tiling and its predicted cost for each of its products."""

    dataflow: Dataflow
    products: tuple[Product, ...]
    tilings: tuple[Tiling, ...]
    costs: tuple[Cost, ...]

    def predicted_cycles(self) -> int:
        """Cycles of all products, one after the other."""
        return sum(cost.total for cost in self.costs)

    def choice(self) -> Choice:
        """The plan as the program records it."""
        product, tiling = self.products[0], self.tilings[0]
        return Choice(
            dataflow=self.dataflow,
            order=tiling.order,
            i=tiling.i.size,
            k=tiling.k.size,
            j=tiling.j.size,
            together=tiling.together,
            resident=tuple(
                name for name, kept in (("a", tiling.a_resident), ("b", tiling.b_resident)) if kept
            ),
            transposed=product.transposed,
            predicted_cycles=self.predicted_cycles(),
            predicted_array_cycles=sum(cost.array for cost in self.costs),
            predicted_dram_cycles=sum(cost.dram for cost in self.costs),
        )


class Planner:
    """Plans GEMM operations for one architecture and remembers those of equal products.

    With offline scheduling, the cheapest combination of dataflow and tiling; without it, the one fixed dataflow
    and the first legal tiling (widest B, longest reduction, fewest rows, A outermost), whatever it costs.
    """

    def __init__(self, arch: Arch) -> None:
        self.arch = arch
        self._target = Target.of(arch)
        self._flows = arch.array.dataflows
        if not arch.optimizations.offline_schedule:
            self._flows = (arch.optimizations.fixed_dataflow,)
        self._best: dict[Product, list[tuple[Tiling, Cost]]] = {}

    def plan(self, op: GemmOp) -> Plan:
        """Plan `op`. Raises ScheduleError if the buffers cannot hold one tile of it."""
        products = tuple(Product.of(op, gemm, self.arch) for gemm in op.gemms)
        for product in products:
            if product not in self._best:
                self._best[product] = self._search(product)
            if not self._best[product]:
                raise ScheduleError(f"operation {op.name!r}: {self._target.explain(product)}")
        by_flow = zip(*(self._best[product] for product in products), strict=True)
        plans = [
            Plan(flow, products, *zip(*picks, strict=True))
            for flow, picks in zip(self._flows, by_flow, strict=True)
        ]
        return min(plans, key=Plan.predicted_cycles)

    def _search(self, product: Product) -> list[tuple[Tiling, Cost]]:
        """For each dataflow the cheapest tiling; nothing if there is none."""
        tilings = candidates(product, self._target)
        if self.arch.optimizations.offline_schedule:
            tilings = (in_best_order(product, tiling) for tiling in tilings)
        else:
            tilings = islice(tilings, 1)
        priced = [(tiling, costs(product, tiling, self._flows, self._target)) for tiling in tilings]
        if not priced:
            return []
        by_flow = [[(tiling, cost[at]) for tiling, cost in priced] for at in range(len(self._flows))]
        return [min(options, key=lambda option: option[1].total) for options in by_flow]
