"""Condenses an execution into a result: charges every cycle to one stage, one layer and one cause."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from codesign import __version__
from codesign.energy.actions import ActionCounter, Counts
from codesign.result import STAGES, STALL_CAUSES, OpResult, Share, SimResult
from hw_models.arch import Arch
from hw_models.execution import Execution, StepRecord
from hw_models.program import Program, Step, Unit
from hw_models.stce import Stce
from workloads.trace import Trace


def collect(
    arch: Arch, workload: Trace, program: Program, execution: Execution, *, bound_cycles: int, nm: str
) -> SimResult:
    """The result of executing `program`, the lowering of `workload` under a method at ratios `nm`, on `arch`."""
    ledger = _Ledger(arch, program, execution)
    return SimResult(
        version=__version__,
        arch_name=arch.name,
        arch_sha256=arch.sha256,
        workload_name=workload.name,
        workload_sha256=workload.sha256,
        batch=workload.batch,
        params=workload.params,
        forward_macs_per_sample=workload.forward_macs_per_sample,
        training_macs_per_sample=workload.training_macs_per_sample,
        method=program.method,
        nm=nm,
        clock_hz=arch.clock_hz,
        peak_macs_per_cycle=arch.peak_macs_per_cycle,
        total_cycles=execution.total_cycles,
        bound_cycles=bound_cycles,
        dram_busy_cycles=execution.dram_busy_cycles,
        stages=ledger.stages,
        layers=ledger.layers,
        ops=tuple(_op_result(*pair) for pair in zip(program.steps, execution.steps, strict=True)),
        actions=_count_actions(arch, program, ledger.layers),
    )


def _op_result(step: Step, record: StepRecord) -> OpResult:
    choice = step.choice
    return OpResult(
        name=step.name,
        layer=step.layer,
        stage=step.stage,
        kind=step.kind,
        unit=step.unit,
        start_cycle=record.start_cycle,
        end_cycle=record.end_cycle,
        busy_cycles=record.compute_cycles,
        read_bytes=step.read_bytes,
        write_bytes=step.write_bytes,
        macs=step.macs,
        sparsity="" if choice is None else "dense" if step.n == step.m else f"{step.n}:{step.m}",
        dataflow="" if choice is None else choice.dataflow,
        predicted_cycles=0 if choice is None else choice.predicted_cycles,
    )


def _charged_stage(step: Step) -> str:
    """The stage that a step is charged to."""
    return {Unit.STCE: step.stage, Unit.VECTOR: "other", Unit.UPDATE: "wu"}[step.unit]


def _count_actions(
    arch: Arch, program: Program, layers: Mapping[str, Mapping[str, Share]]
) -> dict[str, dict[str, Counts]]:
    """Actions by layer and stage, those of the background by the cycles that are charged there."""
    counter = ActionCounter(arch)
    actions: defaultdict[str, defaultdict[str, Counts]] = defaultdict(lambda: defaultdict(Counter))
    for step in program.steps:
        counter.count(step, actions[step.layer][_charged_stage(step)])
    for layer, shares in layers.items():
        for stage, share in shares.items():
            counter.count_background(share.cycles, actions[layer][stage])
    return {layer: dict(stages) for layer, stages in actions.items()}


class _Ledger:
    """Charges cycles.

    The array's time line has no gaps: it computes, or it waits for operands, for space, or for another unit.
    A wait for another unit is charged to the operation that is waited for: to stage `other` if the vector unit
    works on it, to `wu` if it is an update. What follows the array's last tile is a wait for the last step.
    """

    def __init__(self, arch: Arch, program: Program, execution: Execution) -> None:
        self._arch = arch
        self._stce = Stce(arch)
        self._steps = program.steps
        self.stages = dict.fromkeys(STAGES, Share(stall_cycles=dict.fromkeys(STALL_CAUSES, 0)))
        self.layers: dict[str, dict[str, Share]] = {}
        for step, record in zip(program.steps, execution.steps, strict=True):
            cycles, stalls = self._array_time(step, record) if step.unit is Unit.STCE else (0, {})
            self._charge(
                step,
                Share(cycles, step.macs, step.dense_macs, step.read_bytes, step.write_bytes, stalls),
            )
            if step.unit is Unit.STCE:
                self._charge_wait(record.blocker, record.wait_dependence_cycles)
        last = max(range(len(self._steps)), key=lambda index: execution.steps[index].end_cycle)
        charged = sum(share.cycles for share in self.stages.values())
        self._charge_wait(last, execution.total_cycles - charged)

    def _array_time(self, step: Step, record: StepRecord) -> tuple[int, dict[str, int]]:
        """Cycles that the array spends on a step, and those without useful work by cause."""
        stalls = {
            "memory_read": record.wait_read_cycles,
            "sort": record.wait_sort_cycles,
            "memory_write": record.wait_write_cycles,
        }
        cycles = record.compute_cycles + sum(stalls.values())
        parts = [(self._stce.breakdown(step, tile), count) for tile, count in step.tile_counts()]
        mac_cycles = sum(part.mac * count for part, count in parts)
        stalls["padding"] = mac_cycles - -(-step.macs // self._arch.peak_macs_per_cycle)
        stalls["accumulator"] = sum(part.accumulator_stall * count for part, count in parts)
        stalls["port"] = sum(part.port_stall * count for part, count in parts)
        stalls["weight_load"] = sum(part.weight_load * count for part, count in parts)
        stalls["fill_drain"] = sum(part.fill_drain * count for part, count in parts)
        return cycles, stalls

    def _charge_wait(self, index: int, cycles: int) -> None:
        """Charge idle cycles of the array to the step that it waited for."""
        if not cycles:
            return
        step = self._steps[index]
        cause = {Unit.STCE: "memory_write", Unit.VECTOR: "vector", Unit.UPDATE: "update"}[step.unit]
        self._charge(step, Share(cycles, stall_cycles={cause: cycles}))

    def _charge(self, step: Step, share: Share) -> None:
        stage = _charged_stage(step)
        self.stages[stage] += share
        shares = self.layers.setdefault(step.layer, {})
        shares[stage] = shares.get(stage, Share()) + share
