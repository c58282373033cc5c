"""Training methods side by side: accuracy over several seeds, operations, and hardware time of each method's own run.

Every run has a folder of its own. One that is finished is not trained again, one that was interrupted goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.result import SimResult
from codesign.simulate_run import RunResult, simulate_run
from codesign.train.config import TrainConfig, load_config
from codesign.train.loop import train
from hw_models.arch import Arch
from workloads.run_trace import Run, load_run_trace

OnRun = Callable[[int, int], None]
"""Called with (runs ended, runs in all)."""

DENSE = "dense"


class Variant(NamedTuple):
    """A method and its ratio, None if dense."""

    method: str
    nm: NM | None

    def __str__(self) -> str:
        return self.method if self.nm is None else f"{self.method} {self.nm}"


@dataclass(frozen=True)
class Comparison:
    """The runs of one variant, a seed each, and the first of them on hardware."""

    variant: Variant
    runs: tuple[Run, ...]
    hardware: RunResult

    @property
    def iteration(self) -> SimResult:
        """One iteration of the run's longest phase."""
        return self.hardware.main

    def mean(self, measure: str) -> float | None:
        """Mean over the seeds of `validation_accuracy`, `validation_loss` or `train_loss`, None if not measured."""
        values = self._values(measure)
        return fmean(values) if values else None

    def deviation(self, measure: str) -> float | None:
        """Sample standard deviation over the seeds, None for fewer than two."""
        values = self._values(measure)
        return stdev(values) if len(values) > 1 else None

    def _values(self, measure: str) -> list[float]:
        values = [getattr(run, measure) for run in self.runs]
        return [value for value in values if value is not None]

    def macs_per_sample(self, stage: str) -> int:
        """Multiply-accumulates that the array executes for one sample in `ff`, `bp` or `wu`."""
        return self.iteration.stages[stage].macs // self.iteration.batch

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable row."""
        measures = {"accuracy": "validation_accuracy", "loss": "validation_loss", "train_loss": "train_loss"}
        return {
            "workload": self.runs[0].model,
            "data": self.runs[0].data,
            "method": self.variant.method,
            "nm": None if self.variant.nm is None else str(self.variant.nm),
            "seeds": [run.seed for run in self.runs],
            **{name: self.mean(measure) for name, measure in measures.items()},
            **{f"{name}_std": self.deviation(measure) for name, measure in measures.items()},
            **{f"{stage}_macs_per_sample": self.macs_per_sample(stage) for stage in ("ff", "bp", "wu")},
            "iteration_cycles": self.iteration.total_cycles,
            "iteration_s": self.iteration.latency_s,
            "iteration_speedup": self.iteration.speedup_vs_dense,
            "run_s": self.hardware.total_s,
            "run_speedup": self.hardware.speedup_vs_dense,
        }


def variants_of(methods: Sequence[str], ratios: Sequence[NM]) -> tuple[Variant, ...]:
    """Dense first, then every other method at every ratio. Raises SpecError if one is named twice."""
    sparse = [Variant(method, nm) for method in methods if method != DENSE for nm in ratios]
    variants = (Variant(DENSE, None), *sparse)
    if len(set(variants)) < len(variants):
        raise SpecError("a method or a ratio is named twice; name each once")
    return variants


def compare_methods(
    arch: Arch,
    base: TrainConfig,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int = 1,
    on_run: OnRun | None = None,
) -> tuple[Comparison, ...]:
    """Train every variant of `base` with every seed, `jobs` at a time, and simulate each on `arch`.

    Runs go to `out/METHOD-N-M/seed-S`. Raises what `train` and `simulate_run` raise.
    """
    folders = {variant: [_folder(out, variant, seed) for seed in seeds] for variant in variants}
    tasks = {
        folder: _configuration(base, variant, seed)
        for variant in variants
        for folder, seed in zip(folders[variant], seeds, strict=True)
    }
    for ended, _ in enumerate(_train_all(tasks, jobs), start=1):
        if on_run:
            on_run(ended, len(tasks))
    return tuple(_compared(arch, variant, folders[variant]) for variant in variants)


def _folder(out: Path, variant: Variant, seed: int) -> Path:
    ratio = "" if variant.nm is None else f"-{variant.nm.n}-{variant.nm.m}"
    return out / f"{variant.method}{ratio}" / f"seed-{seed}"


def _configuration(base: TrainConfig, variant: Variant, seed: int) -> TrainConfig:
    kept = base.model_dump(exclude={"method", "nm", "seed", "options"})
    ratio = {} if variant.nm is None else {"nm": variant.nm}
    return TrainConfig(**kept, method=variant.method, seed=seed, **ratio)


def _train_all(tasks: dict[Path, TrainConfig], jobs: int) -> Iterator[Path]:
    """Folders as their runs end. With one job in this process, where errors are easier to see."""
    if jobs == 1:
        for folder, config in tasks.items():
            _train_one(folder, config)
            yield folder
        return
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(jobs, mp_context=get_context("spawn")))
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        running = {pool.submit(_train_one, folder, config): folder for folder, config in tasks.items()}
        for future in as_completed(running):
            future.result()
            yield running[future]


def _train_one(folder: Path, config: TrainConfig) -> None:
    if not (folder / "config.json").exists():
        train(config, folder)
        return
    if changed := load_config(folder).difference(config):
        raise SpecError(f"{folder} holds another run: {changed}; choose another folder")
    if not _is_finished(folder):
        train(config, folder, resume=(folder / "checkpoint.safetensors").exists())


def _is_finished(folder: Path) -> bool:
    if not (folder / "trace/trace.json").exists():
        return False
    run = load_run_trace(folder / "trace").run
    return run is not None and run.steps == run.planned_steps


def _compared(arch: Arch, variant: Variant, folders: Sequence[Path]) -> Comparison:
    traces = [load_run_trace(folder / "trace") for folder in folders]
    runs = tuple(trace.run for trace in traces if trace.run)
    return Comparison(variant, runs, simulate_run(arch, traces[0].iteration, runs[0]))
