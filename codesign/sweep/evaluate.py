"""From a point to its result: simulation, energy, resources. Pure, with small caches for what points share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from codesign import __version__
from codesign.energy.estimate import EnergyResult, energy_of
from codesign.energy.table import EnergyTable
from codesign.errors import SpecError
from codesign.resources import estimate, fit, load_device
from codesign.resources.usage import RESOURCES
from codesign.result import SimResult
from codesign.schedule.planner import Planner
from codesign.simulate import simulate_trace
from codesign.simulate_run import RunResult, simulate_run
from codesign.sweep.point import Point, Technology
from hw_models.arch import Arch
from workloads.sparsity import apply_method

CACHED_ARCHITECTURES = 4
"""Points come in the order of their architectures, so few are in use at a time."""


def evaluate(point: Point, dense_cycles: int | None = None) -> dict[str, Any]:
    """The result of a point, with the columns of `codesign.sweep.columns.RESULTS`.

    `dense_cycles` are the total cycles of the point's baseline; without them it is simulated, too. Raises what
    loading and simulating raise, and SpecError for a point of another version.
    """
    if point.version != __version__:
        raise SpecError(
            f"a point of codesign {point.version} on codesign {__version__}; install one version everywhere"
        )
    loaded = point.workload.load()
    if loaded.run:
        run = simulate_run(point.arch, loaded.iteration, loaded.run)
        return _row(point, run.main, run.dense_cycles // loaded.run.steps, run)
    result = _simulate(point)
    if dense_cycles is None:
        dense_cycles = _simulate(point.baseline).total_cycles if point.baseline else result.total_cycles
    return _row(point, result, dense_cycles)


def _simulate(point: Point) -> SimResult:
    trace, _ = apply_method(point.workload.load().iteration, point.method, point.nm)
    planner = _planner(point.arch, point.workload.sha256)
    return simulate_trace(point.arch, trace, baseline=False, planner=planner)


def _row(point: Point, result: SimResult, dense_cycles: int, run: RunResult | None = None) -> dict[str, Any]:
    table = _energy_table(point.arch, point.technology)
    return {
        **_performance(result, dense_cycles),
        **_energy(energy_of(result, table)),
        **_area(point.arch, point.device),
        **_run(run, table),
    }


def _performance(result: SimResult, dense_cycles: int) -> dict[str, Any]:
    total = result.total
    return {
        "total_cycles": result.total_cycles,
        "dense_cycles": dense_cycles,
        "bound_cycles": result.bound_cycles,
        "speedup": dense_cycles / result.total_cycles,
        "latency_s": result.latency_s,
        "samples_per_s": result.batch / result.latency_s,
        **{f"{stage}_cycles": share.cycles for stage, share in result.stages.items()},
        **{f"stall_{cause}_cycles": cycles for cause, cycles in total.stall_cycles.items()},
        "macs": total.macs,
        "dense_macs": total.dense_macs,
        "array_utilization": result.utilization(total),
        "dram_read_bytes": total.read_bytes,
        "dram_write_bytes": total.write_bytes,
        "dram_bytes": total.read_bytes + total.write_bytes,
    }


def _energy(energy: EnergyResult) -> dict[str, float]:
    joules = energy.total_joules
    return {
        "energy_low_j": joules.low,
        "energy_j": joules.nominal,
        "energy_high_j": joules.high,
        "average_w": energy.average_watts.nominal,
        "gops_per_w": energy.effective_gops_per_watt.nominal,
    }


@lru_cache(maxsize=CACHED_ARCHITECTURES)
def _area(arch: Arch, device_name: str) -> dict[str, Any]:
    device = load_device(device_name)
    resources = estimate(arch, uram=device.available("uram288") > 0)
    fitting = fit(resources, device)
    return {
        **{f"{resource}_low": float(resources.total[resource].low) for resource in RESOURCES},
        **{resource: float(resources.total[resource].high) for resource in RESOURCES},
        "device_share": fitting.utilization[fitting.fullest].high,
        "fits": str(fitting.fits),
    }


def _run(run: RunResult | None, table: EnergyTable) -> dict[str, Any]:
    if run is None:
        return dict.fromkeys(("run_steps", "run_s", "run_speedup", "run_energy_j", "accuracy"))
    phases = zip(run.run.phases, run.iterations, strict=True)
    return {
        "run_steps": run.run.steps,
        "run_s": run.total_s,
        "run_speedup": run.speedup_vs_dense,
        "run_energy_j": sum(
            phase.steps * energy_of(done, table).total_joules.nominal for phase, done in phases
        ),
        "accuracy": run.run.validation_accuracy,
    }


@lru_cache(maxsize=CACHED_ARCHITECTURES)
def _planner(arch: Arch, workload_sha256: str) -> Planner:
    """One for each workload, so that none grows without bound."""
    return Planner(arch)


@lru_cache(maxsize=CACHED_ARCHITECTURES)
def _energy_table(arch: Arch, technology: Technology) -> EnergyTable:
    return technology.table(arch)
