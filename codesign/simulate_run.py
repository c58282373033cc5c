"""A whole training run on an architecture: each phase's iteration is simulated once and weighted by its steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from codesign.result import SimResult
from codesign.schedule.planner import Planner
from codesign.simulate import OnStep, simulate_trace
from hw_models.arch import Arch
from workloads.run_trace import Run
from workloads.sparsity import LayerSparsity, mark
from workloads.trace import Trace


@dataclass(frozen=True)
class RunResult:
    """A simulated run: for each phase one iteration, all with the same dense baseline.

    Only iterations are counted: no evaluation, no checkpoints, no host.
    """

    run: Run
    iterations: tuple[SimResult, ...]

    @property
    def main(self) -> SimResult:
        """The iteration of the longest phase."""
        return self.iterations[self.run.longest_phase]

    @property
    def total_cycles(self) -> int:
        """Cycles of all steps of the run."""
        return sum(
            phase.steps * result.total_cycles
            for phase, result in zip(self.run.phases, self.iterations, strict=True)
        )

    @property
    def dense_cycles(self) -> int:
        """Cycles of as many dense steps on the same hardware."""
        baseline = self.main.baseline
        assert baseline is not None
        return self.run.steps * baseline.total_cycles

    @property
    def total_s(self) -> float:
        """Seconds of all steps of the run."""
        return self.main.seconds(self.total_cycles)

    @property
    def speedup_vs_dense(self) -> float:
        """Cycles of dense training over these."""
        return self.dense_cycles / self.total_cycles

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable object of the run; iterations in short."""
        run = self.run
        return {
            "model": run.model,
            "data": run.data,
            "seed": run.seed,
            "dtype": run.dtype,
            "steps": run.steps,
            "planned_steps": run.planned_steps,
            "train_loss": run.train_loss,
            "validation_loss": run.validation_loss,
            "validation_accuracy": run.validation_accuracy,
            "total_cycles": self.total_cycles,
            "dense_cycles": self.dense_cycles,
            "total_s": self.total_s,
            "speedup_vs_dense": self.speedup_vs_dense,
            "phases": [
                {
                    "first_step": phase.first_step,
                    "steps": phase.steps,
                    "nm": result.nm,
                    "iteration_cycles": result.total_cycles,
                    "speedup_vs_dense": result.speedup_vs_dense,
                }
                for phase, result in zip(run.phases, self.iterations, strict=True)
            ],
        }


def simulate_run(
    arch: Arch, iteration: Trace, run: Run, *, full: bool = False, on_step: OnStep | None = None
) -> RunResult:
    """Simulate every phase of `run`, whose dense iteration is given. Raises what `simulate_trace` raises.

    A ratio that the array lacks runs dense, as it would on that hardware.
    """
    planner = Planner(arch)

    @cache
    def result_of(trace: Trace) -> SimResult:
        return simulate_trace(arch, trace, full=full, baseline=False, planner=planner, on_step=on_step)

    dense = result_of(mark(iteration, (), "dense"))
    traces = [phase_trace(arch, iteration, run.method, phase.decisions) for phase in run.phases]
    return RunResult(run, tuple(result_of(trace).with_baseline(dense) for trace in traces))


def phase_trace(arch: Arch, iteration: Trace, method: str, decisions: Iterable[LayerSparsity]) -> Trace:
    """`iteration` under `decisions`, as far as the array of `arch` supports their ratios."""
    return mark(iteration, tuple(_on_array(arch, decision) for decision in decisions), method)


def _on_array(arch: Arch, decision: LayerSparsity) -> LayerSparsity:
    if decision.nm is None or decision.nm in arch.array.sparsity:
        return decision
    return LayerSparsity(decision.layer, decision.stage, reason=f"the array lacks {decision.nm}")
