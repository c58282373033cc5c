"""The result of a simulation: integer counters, hashes of the inputs, and ratios derived from them on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from codesign.units import cycles_to_seconds
from workloads.ops import Stage

STAGES = tuple(stage.value for stage in Stage)

STALL_CAUSES = {
    "padding": "array slots spent on ragged tile edges and on padding to whole groups",
    "accumulator": "too few independent outputs to cover the accumulator's latency",
    "port": "activation port narrower than the array's appetite",
    "weight_load": "weights shifted into a weight-stationary array",
    "fill_drain": "skew, pipeline depth and drain at tile edges",
    "memory_read": "operands on their way from DRAM",
    "sort": "weights being pruned before use",
    "memory_write": "results waiting to be stored",
    "vector": "vector unit at work between the GEMMs",
    "update": "optimizer and sparsifier not yet done",
}
"""Why the array does no useful work, cause by cause; with the useful cycles they add up to the total."""


@dataclass(frozen=True, slots=True)
class Share:
    """Part of an iteration; parts add up to the whole.

    `cycles` are those of the iteration that are charged to this part, `stall_cycles` those among them in which
    the array does no useful work, by cause.
    """

    cycles: int = 0
    macs: int = 0
    dense_macs: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    stall_cycles: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Share) -> Share:
        stalls = dict(self.stall_cycles)
        for cause, cycles in other.stall_cycles.items():
            stalls[cause] = stalls.get(cause, 0) + cycles
        return Share(
            self.cycles + other.cycles,
            self.macs + other.macs,
            self.dense_macs + other.dense_macs,
            self.read_bytes + other.read_bytes,
            self.write_bytes + other.write_bytes,
            stalls,
        )


@dataclass(frozen=True, slots=True)
class OpResult:
    """One operation: when it ran, on what, and how it was scheduled. Cycles count from the iteration's start."""

    name: str
    layer: str
    stage: str
    kind: str
    unit: str
    start_cycle: int
    end_cycle: int
    busy_cycles: int
    read_bytes: int
    write_bytes: int
    macs: int
    sparsity: str
    dataflow: str
    predicted_cycles: int


@dataclass(frozen=True)
class SimResult:
    """One simulated training iteration. `baseline` is dense training on the same hardware, if simulated.

    `actions` counts what costs energy, by layer, stage and `component.action` (`codesign.energy.actions`).
    """

    version: str
    arch_name: str
    arch_sha256: str
    workload_name: str
    workload_sha256: str
    batch: int
    params: int
    forward_macs_per_sample: int
    training_macs_per_sample: int
    method: str
    nm: str
    clock_hz: int
    peak_macs_per_cycle: int
    total_cycles: int
    bound_cycles: int
    dram_busy_cycles: int
    stages: Mapping[str, Share]
    layers: Mapping[str, Mapping[str, Share]]
    ops: tuple[OpResult, ...]
    actions: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    baseline: SimResult | None = None

    def with_baseline(self, baseline: SimResult) -> SimResult:
        """The same result beside its dense baseline."""
        return replace(self, baseline=baseline)

    @property
    def total(self) -> Share:
        """All stages together."""
        return sum(self.stages.values(), Share())

    @property
    def action_totals(self) -> Counter[str]:
        """Actions of all layers and stages together."""
        totals = Counter[str]()
        for stages in self.actions.values():
            for counts in stages.values():
                totals.update(counts)
        return totals

    @property
    def latency_s(self) -> float:
        """Seconds of one iteration."""
        return self.seconds(self.total_cycles)

    @property
    def speedup_vs_dense(self) -> float | None:
        """Cycles of dense training over these."""
        return None if self.baseline is None else self.baseline.total_cycles / self.total_cycles

    def seconds(self, cycles: int) -> float:
        """`cycles` of this architecture's clock in seconds."""
        return cycles_to_seconds(cycles, self.clock_hz)

    def utilization(self, share: Share) -> float:
        """Executed multiply-accumulates over those that the array could have issued in the same cycles."""
        return share.macs / (self.peak_macs_per_cycle * share.cycles) if share.cycles else 0.0

    def gops(self, macs: int, cycles: int) -> float:
        """10^9 operations a second, a multiply-accumulate being two."""
        return 2 * macs / self.seconds(cycles) / 1e9 if cycles else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable object: counters, the derived ratios, per-layer rows."""
        total = self.total
        return {
            "version": self.version,
            "arch": self.arch_name,
            "arch_sha256": self.arch_sha256,
            "workload": {
                "name": self.workload_name,
                "batch": self.batch,
                "params": self.params,
                "forward_macs_per_sample": self.forward_macs_per_sample,
                "training_macs_per_sample": self.training_macs_per_sample,
            },
            "workload_sha256": self.workload_sha256,
            "method": self.method,
            "nm": self.nm,
            "clock_hz": self.clock_hz,
            "total_cycles": self.total_cycles,
            "dense_cycles": None if self.baseline is None else self.baseline.total_cycles,
            "bound_cycles": self.bound_cycles,
            "latency_s": self.latency_s,
            "speedup_vs_dense": self.speedup_vs_dense,
            "throughput_samples_per_s": self.batch / self.latency_s,
            "effective_gops": self.gops(total.macs, self.total_cycles),
            "dense_equivalent_gops": self.gops(total.dense_macs, self.total_cycles),
            "array_utilization": self.utilization(total),
            "stages": {name: asdict(share) for name, share in self.stages.items()},
            "macs": {"dense": total.dense_macs, "executed": total.macs},
            "dram_bytes": {"read": total.read_bytes, "write": total.write_bytes},
            "dram_busy_cycles": self.dram_busy_cycles,
            "stall_cycles": total.stall_cycles,
            "actions": dict(self.action_totals),
            "layers": [
                {"layer": layer, "stages": {name: asdict(share) for name, share in shares.items()}}
                for layer, shares in self.layers.items()
            ],
            "ops": [asdict(op) for op in self.ops],
        }
