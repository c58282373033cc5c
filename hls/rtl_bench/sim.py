"""GEMMs on the Verilated array of `hls/rtl/stce.sv`: cycles and results of the RTL itself.

The RTL states the micro-architecture of `hw_models.timing` once more, in registers and wires.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.errors import ExportError
from hls.rtl_bench import build as rtl_build
from hls.rtl_bench import streams as rtl_streams
from hls.rtl_bench.streams import Operands, Plan
from hw_models.timing import Dataflow, FillPolicy

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Build:
    """What is fixed when the array is compiled; `m`, `n`, `depth` and `buffer_rows` (of i, WS) are upper limits."""

    rows: int
    cols: int
    multiplier_latency_cycles: int
    accumulator_latency_cycles: int
    m: int = 8
    n: int = 8
    depth: int = 8
    port: int = 4
    buffer_rows: int = 4096

    @property
    def index_bits(self) -> int:
        """Width of a weight's index."""
        return max((self.m - 1).bit_length(), 1)

    def program(self, cache_folder: Path, sources: Path = rtl_build.RTL) -> Path:
        """The simulator of this array. Raises ExportError."""
        parameters = {
            "R": self.rows,
            "C": self.cols,
            "M": self.m,
            "N": self.n,
            "F": self.depth,
            "PORT": self.port,
            "MUL_LATENCY": self.multiplier_latency_cycles,
            "ADD_LATENCY": self.accumulator_latency_cycles,
            "BUFFER_ROWS": self.buffer_rows,
        }
        return rtl_build.build("stce", "stce_harness.cpp", parameters, cache_folder, sources)

    def can_run(self, plan: Plan) -> bool:
        """Whether the plan is for an array like this, and small enough."""
        array = plan.array
        return (
            (array.rows, array.cols, array.activation_port_values) == (self.rows, self.cols, self.port)
            and array.multiplier_latency_cycles == self.multiplier_latency_cycles
            and array.accumulator_latency_cycles == self.accumulator_latency_cycles
            and plan.m <= self.m
            and plan.n <= self.n
            and plan.depth <= self.depth
            and plan.shape[0] <= self.buffer_rows
        )


class Job(NamedTuple):
    """A GEMM. Without operands the array runs on zeros, for its cycles alone."""

    plan: Plan
    operands: Operands | None = None


class Outcome(NamedTuple):
    """Cycles of a GEMM, and Y, (i, j) float32."""

    cycles: int
    y: Array


def run(program: Path, build: Build, jobs: Sequence[Job]) -> list[Outcome]:
    """All jobs, one after the other on one array. Raises ExportError if it is not theirs or does not finish."""
    for plan, _ in jobs:
        if not build.can_run(plan):
            raise ExportError(f"RTL array {build}: cannot run {plan}; build one for it")
    size = np.array([build.rows, build.cols, build.port, build.index_bits], "<u4").tobytes()
    answer = rtl_build.run(program, b"".join([size, *(_encode(build, job) for job in jobs)]))
    words = np.frombuffer(answer, "<u4")
    outcomes = []
    for job in jobs:
        outcome, words = _decode(job, words)
        outcomes.append(outcome)
    return outcomes


def _encode(build: Build, job: Job) -> bytes:
    """A job as `stce_harness.cpp` reads it."""
    plan, operands = job
    activations = np.zeros((build.rows, 0, build.port), "<u2")
    weights = np.zeros((build.cols, 0), "<u4")
    if operands is not None:
        rows = [rtl_streams.activations(plan, operands.a, row) for row in range(build.rows)]
        activations = np.stack(rows)
        weights = rtl_streams.weights(plan, operands)
    array, limit = plan.array, plan.most_cycles
    words = [
        plan.dataflow is Dataflow.WS,
        array.fill_policy is FillPolicy.HIDDEN,
        array.double_weights,
        array.double_accumulators,
        plan.n,
        plan.m,
        plan.depth,
        plan.ragged,
        plan.windows,
        plan.tiles,
        plan.strips,
        plan.shape[0],
        activations.shape[1],
        weights.shape[1],
        limit & 0xFFFF_FFFF,
        limit >> 32,
    ]
    return np.array(words, "<u4").tobytes() + activations.tobytes() + weights.tobytes()


def _decode(job: Job, words: Array) -> tuple[Outcome, Array]:
    """What `stce_harness.cpp` wrote about a job, and the rest. Raises ExportError if results are missing."""
    plan = job.plan
    expected = rtl_streams.results_per_column(plan)
    (low, high), words = words[:2], words[2:]
    columns = np.empty((plan.array.cols, expected), "<u4")
    for column in columns:
        count = int(words[0])
        if count != expected:
            raise ExportError(f"RTL array {plan}: a column gave {count} results, expected {expected}")
        column[:] = words[1 : 1 + count]
        words = words[1 + count :]
    return Outcome(int(low) | int(high) << 32, rtl_streams.results(plan, columns)), words
