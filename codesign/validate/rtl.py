"""The reference RTL in Verilator against the simulator's timing, its oracle, and the compiled arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.compute.order import Order
from codesign.nm import reference
from codesign.validate.row import Comparison, Row, ToolMissingError, equal
from hls.rtl_bench import blocks as rtl_blocks
from hls.rtl_bench import build as rtl_build
from hls.rtl_bench import checks as rtl_checks
from hls.rtl_bench import faults as rtl_faults
from hls.rtl_bench import sim as rtl_sim
from hls.rtl_bench.sim import Build, Job
from hls.rtl_bench.stimuli import BUILDS, Product, RandomGemm, closed_form, quiet, random_gemms
from hw_models import oracle
from hw_models.timing import Dataflow

TEXT = """\
`hls/rtl` states the array, the sorter and the update lane once more, in SystemVerilog, and Verilator runs it.
Random GEMMs (sizes, N:M, dataflow, interleave depth, fill policy, doubled registers, infinities and NaNs) go
through arrays of different shape, latencies and ports, one after the other. Cycles must equal those of
`hw_models/timing.py`, which is what the simulator uses for every array tile, and those of the oracle that steps
every register; results must equal the compiled kernels of `codesign/compute`, bit for bit. Operators and lanes run
on corner cases and random bit patterns against numpy.

Checks are worth what they catch: each seeded fault changes one expression of the RTL, and the checks must notice.
"""

GEMMS = 60


def run(tools: Path) -> Iterator[Row]:
    """Rows for each array, for each block, and for the faults. Raises ToolMissingError."""
    if not rtl_build.available():
        raise ToolMissingError("verilator, g++ and make are not all installed")
    product, cache = compiled_product(), tools / "rtl"
    for build in BUILDS:
        yield from array_rows(build, cache, product)
    bench = rtl_checks.bench(rtl_blocks.program(cache))
    for name, check in rtl_checks.CHECKS.items():
        yield equal(f"block check: {name}", "numpy, bit for bit", 0, check(bench), "wrong results")
    with TemporaryDirectory() as scratch:
        yield from fault_rows(cache, Path(scratch), product)


def array_rows(build: Build, cache: Path, product: Product) -> Iterator[Row]:
    """How many random GEMMs the RTL of an array runs in the same cycles and with the same values."""
    gemms = random_gemms(build, GEMMS)
    jobs = [Job(gemm.plan, gemm.operands) for gemm in gemms]
    outcomes = rtl_sim.run(build.program(cache), build, jobs)
    what = (
        f"{build.rows}x{build.cols} array, latencies {build.multiplier_latency_cycles} and "
        f"{build.accumulator_latency_cycles}, port {build.port}: GEMMs with the same"
    )
    both = list(zip(gemms, outcomes, strict=True))
    for quantity, source, same in (
        ("cycles", "RTL against timing.py", sum(got.cycles == closed_form(gemm.plan) for gemm, got in both)),
        ("cycles", "RTL against oracle.py", sum(got.cycles == _stepped(gemm) for gemm, got in both)),
        ("values", "RTL against kernels", sum(_same(got.y, product(gemm)) for gemm, got in both)),
    ):
        yield equal(f"{what} {quantity}", source, len(gemms), same, "GEMMs")


def fault_rows(cache: Path, scratch: Path, product: Product) -> Iterator[Row]:
    """The number of faults that are caught, in the array and in the blocks."""
    catches: dict[str, Callable[[rtl_faults.Fault, Path], bool]] = {
        "array": lambda fault, folder: rtl_faults.array_catches(fault, cache, folder, product),
        "blocks": lambda fault, folder: rtl_faults.blocks_catch(fault, cache, folder),
    }
    for part, faults in (("array", rtl_faults.ARRAY), ("blocks", rtl_faults.BLOCKS)):
        missed = [
            name
            for number, (name, fault) in enumerate(faults.items())
            if not catches[part](fault, scratch / f"{part}{number}")
        ]
        note = f"missed: {', '.join(missed)}" if missed else ""
        caught = len(faults) - len(missed)
        yield equal(f"{part}: faults caught", "seeded faults", len(faults), caught, "faults", note)


def _stepped(gemm: RandomGemm) -> int:
    """Cycles of the register-stepped oracle; they do not depend on the values."""
    plan, operands = gemm.plan, gemm.operands
    finite = np.nan_to_num(operands.a), np.nan_to_num(operands.values)
    return oracle.run_compact(plan.array, plan.dataflow, *finite, operands.indices, plan.m).cycles


def _same(y: NDArray[Any], expected: NDArray[Any]) -> bool:
    return bool(np.array_equal(quiet(y), quiet(expected)))


def compiled_product() -> Product:
    """Y by the compiled kernels. Raises ToolMissingError if they cannot be."""
    try:
        from codesign.compute.gemm import gemm as multiply
    except ImportError as error:
        raise ToolMissingError(f"{error.name} is not installed: pip install codesign[train]") from None

    def product(gemm: RandomGemm) -> NDArray[Any]:
        plan = gemm.plan
        order = Order.ws(plan.array.rows, plan.m) if plan.dataflow is Dataflow.WS else Order.os()
        a = reference.pad(gemm.a, gemm.b.nm, axis=1).astype("<f4")
        return multiply(a, replace(gemm.b, values=gemm.b.values.astype("<f4")), order)

    return product


COMPARISON = Comparison("Reference RTL: cycles, values, seeded faults", TEXT, run)
