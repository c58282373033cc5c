"""Chooses dataflow, tile sizes and loop order for each GEMM, from the closed-form cost model."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from codesign.schedule.product import Product
from codesign.schedule.tiling import Cost, Target, Tiling, candidates, costs, in_best_order
from hw_models.arch import Arch
from hw_models.program import Choice
from hw_models.timing import Dataflow
from workloads.ops import Gemm, GemmOp, Role, Sparsity


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
    """Plans GEMM operations for one architecture and remembers plans of equal operations.

    With offline scheduling, the cheapest combination of dataflow and tiling; without it, the one fixed dataflow
    and the first legal tiling (widest B, longest reduction, fewest rows, A outermost), whatever it costs.
    """

    def __init__(self, arch: Arch) -> None:
        self.arch = arch
        self._target = Target.of(arch)
        self._plans: dict[tuple[tuple[Gemm, ...], str, Role, Role, Sparsity | None], Plan] = {}

    def plan(self, op: GemmOp) -> Plan:
        """Plan `op`. Raises ScheduleError if the buffers cannot hold one tile of it."""
        key = (op.gemms, op.pixel_axis, op.a, op.b, op.sparsity)
        if key not in self._plans:
            self._plans[key] = self._search(op)
        return self._plans[key]

    def _search(self, op: GemmOp) -> Plan:
        products = tuple(Product.of(op, gemm, self.arch) for gemm in op.gemms)
        optimizations = self.arch.optimizations
        flows = (
            self.arch.array.dataflows if optimizations.offline_schedule else (optimizations.fixed_dataflow,)
        )
        best = [self._best(product, flows) for product in products]
        plans = [
            Plan(flow, products, *zip(*picks, strict=True))
            for flow, picks in zip(flows, zip(*best, strict=True), strict=True)
        ]
        return min(plans, key=Plan.predicted_cycles)

    def _best(self, product: Product, flows: tuple[Dataflow, ...]) -> list[tuple[Tiling, Cost]]:
        """For each dataflow the cheapest tiling."""
        tilings = candidates(product, self._target)
        if self.arch.optimizations.offline_schedule:
            tilings = (in_best_order(product, tiling) for tiling in tilings)
        else:
            tilings = islice(tilings, 1)
        priced = [(tiling, costs(product, tiling, flows, self._target)) for tiling in tilings]
        by_flow = [[(tiling, cost[at]) for tiling, cost in priced] for at in range(len(flows))]
        return [min(options, key=lambda option: option[1].total) for options in by_flow]
