"""Reads the folder of `codesign simulate --out` back: strictly, and only what this version has written."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from codesign import __version__
from codesign.ablation import Rung
from codesign.energy.ranges import Range
from codesign.errors import SpecError
from codesign.input_files import read_file
from codesign.report.machine_readable import UNIT_LANES
from codesign.result import STAGES, STALL_CAUSES, OpResult, Share, SimResult
from codesign.sensitivity import Swing
from codesign.spec_errors import printable, shorten
from codesign.strict_yaml import Document, load, validate
from hw_models.arch import Arch
from hw_models.block_specs import Spec

RESULT, CONFIGURATION = "result.json", "resolved.yaml"

MAX_BYTES = 1 << 28
EXPECTED = "a result of `codesign simulate --out`"


def _known(name: str, names: Collection[str]) -> str:
    if name not in names:
        raise ValueError(f"got {shorten(repr(name))}, expected one of: {', '.join(names)}")
    return name


StageName = Annotated[str, AfterValidator(lambda name: _known(name, STAGES))]
Cause = Annotated[str, AfterValidator(lambda name: _known(name, STALL_CAUSES))]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class SavedWorkload(Spec):
    """Section `workload`."""

    name: str
    batch: Positive
    params: Count
    forward_macs_per_sample: Count
    training_macs_per_sample: Count


class SavedLayer(Spec):
    """What is charged to a layer, by stage."""

    layer: str
    stages: dict[StageName, Share]


class Macs(Spec):
    """Multiply-accumulates of an iteration."""

    dense: Count
    executed: Count


class Traffic(Spec):
    """Bytes of an iteration."""

    read: Count
    write: Count


class ComponentJoules(Spec):
    """Energy of a component, and what it rests on."""

    energy_j: Range
    status: str


class LayerJoules(Spec):
    """Energy of a layer, by stage."""

    layer: str
    stages: dict[StageName, Range]


class SavedEnergy(Spec):
    """Section `energy`, see `EnergyResult.as_dict`."""

    source: str
    total_j: Range
    average_power_w: Range
    effective_gops_per_w: Range
    dense_equivalent_gops_per_w: Range
    pj_per_effective_mac: Range | None
    dense_total_j: Range | None
    saving_vs_dense: Range | None
    components: dict[str, ComponentJoules]
    stages: dict[StageName, Range]
    layers: tuple[LayerJoules, ...]


class SavedPhase(Spec):
    """Steps under the same ratios."""

    first_step: Count
    steps: Positive
    nm: str
    iteration_cycles: Positive
    speedup_vs_dense: float


class SavedRun(Spec):
    """Section `run`, see `RunResult.as_dict`."""

    model: str
    data: str
    seed: int
    dtype: str
    steps: Positive
    planned_steps: Positive
    train_loss: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    total_cycles: Positive
    dense_cycles: Positive
    total_s: float
    speedup_vs_dense: float
    phases: tuple[SavedPhase, ...]


class SavedResult(Spec):
    """The content of `result.json`, see `SimResult.as_dict`; the last three sections may be missing."""

    version: str
    arch: str
    arch_sha256: str
    workload: SavedWorkload
    workload_sha256: str
    method: str
    nm: str
    clock_hz: Positive
    total_cycles: Positive
    dense_cycles: Positive | None
    bound_cycles: Count
    latency_s: float
    speedup_vs_dense: float | None
    throughput_samples_per_s: float
    effective_gops: float
    dense_equivalent_gops: float
    array_utilization: float
    stages: dict[StageName, Share]
    macs: Macs
    dram_bytes: Traffic
    dram_busy_cycles: Count
    stall_cycles: dict[Cause, Count]
    actions: dict[str, Count]
    layers: tuple[SavedLayer, ...]
    ops: tuple[OpResult, ...]
    ablation: tuple[Rung, ...] = ()
    sensitivity: tuple[Swing, ...] = ()
    run: SavedRun | None = None
    energy: SavedEnergy | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        by_layer = {
            (layer.layer, stage): share for layer in self.layers for stage, share in layer.stages.items()
        }
        for name, shares in (("stages", self.stages.values()), ("layers", by_layer.values())):
            if (found := sum(share.cycles for share in shares)) != self.total_cycles:
                raise ValueError(
                    f"the cycles of all {name} are {found:,}, expected total_cycles, {self.total_cycles:,}"
                )
        for share in by_layer.values():
            for cause in share.stall_cycles:
                _known(cause, STALL_CAUSES)
        for op in self.ops:
            _known(op.unit, UNIT_LANES)
            _known(op.stage, STAGES)
            if op.macs and (op.layer, op.stage) not in by_layer:
                raise ValueError(f"operation {shorten(repr(op.name))} multiplies, but its layer has no share")
        return self

    def sim_result(self, peak_macs_per_cycle: int) -> SimResult:
        """What was simulated, without its baseline, of which only `dense_cycles` are kept."""
        return SimResult(
            version=self.version,
            arch_name=self.arch,
            arch_sha256=self.arch_sha256,
            workload_name=self.workload.name,
            workload_sha256=self.workload_sha256,
            batch=self.workload.batch,
            params=self.workload.params,
            forward_macs_per_sample=self.workload.forward_macs_per_sample,
            training_macs_per_sample=self.workload.training_macs_per_sample,
            method=self.method,
            nm=self.nm,
            clock_hz=self.clock_hz,
            peak_macs_per_cycle=peak_macs_per_cycle,
            total_cycles=self.total_cycles,
            bound_cycles=self.bound_cycles,
            dram_busy_cycles=self.dram_busy_cycles,
            stages=self.stages,
            layers={layer.layer: layer.stages for layer in self.layers},
            ops=self.ops,
        )


@dataclass(frozen=True)
class Simulation:
    """A result with the architecture that it was simulated on; None if `resolved.yaml` is not beside it."""

    name: str
    result: SavedResult
    arch: Arch | None


def load_simulation(path: Path) -> Simulation:
    """Read a folder, or its `result.json`. Raises SpecError for what is none, is damaged or of another version."""
    file = path / RESULT if path.is_dir() else path
    result = _result(file)
    return Simulation(printable(str(path)), result, _arch(file.with_name(CONFIGURATION), result))


def _result(path: Path) -> SavedResult:
    name = printable(str(path))
    content = read_file(path, EXPECTED, MAX_BYTES)
    try:
        data = json.loads(content, parse_int=_bounded, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{name}: cannot be read as JSON: {error}; expected {EXPECTED}") from None
    if not isinstance(data, Mapping) or not isinstance(data.get("version"), str):
        raise SpecError(f"{name}: has no version; expected {EXPECTED}")
    if data["version"] != __version__:
        raise SpecError(
            f"{name}: was written by codesign {shorten(printable(data['version']))}, this is {__version__}; "
            "simulate again"
        )
    return validate(Document(name, data), SavedResult)


def _arch(path: Path, result: SavedResult) -> Arch | None:
    if not path.exists():
        return None
    arch = validate(load(path), Arch)
    if arch.sha256 != result.arch_sha256:
        raise SpecError(
            f"{printable(str(path))}: is not the architecture of the {RESULT} beside it; simulate again"
        )
    return arch


def _bounded(digits: str) -> int:
    """A count that other tools can read, too."""
    if len(digits) > 19 or not -(1 << 63) <= (number := int(digits)) < 1 << 63:
        raise ValueError(f"the number {shorten(digits)} is larger than any count")
    return number


def _refuse(constant: str) -> float:
    raise ValueError(f"got {constant}, expected a number")


def energies(result: SavedResult) -> Iterator[tuple[tuple[str, str], Range]]:
    """Energy by layer and stage."""
    for layer in result.energy.layers if result.energy else ():
        for stage, joules in layer.stages.items():
            yield (layer.layer, stage), joules
