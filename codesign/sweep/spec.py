"""The description of a sweep: a YAML file, or the options of `codesign sweep`. Everything has a stated default."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from codesign import strict_yaml
from codesign.errors import SpecError
from codesign.input_files import read_file
from codesign.nm.format import NM
from codesign.spec_errors import printable, shorten
from codesign.strict_yaml import Document
from hw_models.block_specs import Ratio, Spec
from workloads.run_trace import load_run_trace

MAX_BYTES = 1 << 26
"""Of a CSV file."""

SIZES = ("batch", "seq_len", "classes", "input_size")
"""Sizes of a workload, see `workloads.catalog.load`."""

GRID = {"archs", "set", "workloads", "traces", "methods", "nm", "search"}
"""What of a sweep has no meaning with listed points."""

T = TypeVar("T")
OneOrMore = Annotated[tuple[T, ...], Field(min_length=1)]
Sizes = tuple[int, ...]


class WorkloadAxis(Spec):
    """A workload and the sizes that it is to have; an empty list leaves the size to the workload."""

    name: str = Field(description="A named network, gemm:MxKxN or a file, see `codesign list workloads`.")
    batch: Sizes = Field((), description="Samples of an iteration.")
    seq_len: Sizes = Field((), description="Tokens of a sample (transformers).")
    classes: Sizes = Field((), description="Output classes (classifiers).")
    input_size: Sizes = Field((), description="Height and width of the input (vision).")


class PointSpec(Spec):
    """One point. What is not given has the default of `codesign simulate`."""

    arch: str = Field("sat.yaml", description="Architecture: a file or a packaged name.")
    set: dict[str, Any] = Field({}, description="Parameters of the architecture to replace, by dotted key.")
    workload: str | None = Field(None, description="As in WorkloadAxis; resnet18 if there is no trace.")
    batch: int | None = Field(None, description="Samples of an iteration.")
    seq_len: int | None = Field(None, description="Tokens of a sample (transformers).")
    classes: int | None = Field(None, description="Output classes (classifiers).")
    input_size: int | None = Field(None, description="Height and width of the input (vision).")
    trace: str | None = Field(None, description="Instead of a workload: a trace of a training run.")
    method: str | None = Field(None, description="Training method; that of the run, else bdwp.")
    nm: Ratio | None = Field(None, description="N:M ratio; 2:8 if the method is sparse.")


class Accuracy(Spec):
    """What a training run has reached; several for one training count with their mean."""

    workload: str = Field(description="Name of the network.")
    method: str = Field(description="Training method.")
    nm: Ratio | None = Field(None, description="N:M ratio; none if dense.")
    accuracy: float = Field(ge=0, le=1, description="Share of correct predictions.")


class SearchSpec(Spec):
    """Instead of every combination: an optimizer picks `trials` of them.

    It asks for `population` trials before it is told their results, whatever the number of workers, so that the same
    seed finds the same points everywhere.
    """

    trials: int = Field(gt=0, le=10**6, description="Combinations to try.")
    sampler: Literal["nsga2", "tpe"] = Field("nsga2", description="Optimizer, see Optuna.")
    seed: int = Field(0, ge=0, lt=1 << 32, description="Seed of the optimizer.")
    population: int = Field(16, ge=2, le=10**4, description="Trials of a generation.")


class SweepSpec(Spec):
    """A whole sweep: the grid of all lists, or `points`, or a `search` in the grid."""

    archs: OneOrMore[str] = Field(("sat.yaml",), description="Architectures: files or packaged names.")
    set: dict[str, OneOrMore[Any]] = Field({}, description="Values of architecture parameters by dotted key.")
    workloads: tuple[WorkloadAxis, ...] = Field((), description="Workloads; in a file a name is enough.")
    traces: tuple[str, ...] = Field((), description="Traces of training runs.")
    methods: OneOrMore[str] = Field(("bdwp",), description="Training methods, see `codesign list methods`.")
    nm: OneOrMore[Ratio] = Field((NM(2, 8),), description="N:M ratios of the sparse methods.")
    points: tuple[PointSpec, ...] = Field((), description="Points instead of the grid.")
    search: SearchSpec | None = Field(None, description="Search instead of the whole grid.")
    objectives: tuple[str, ...] = Field((), description="What is to be best, see codesign.sweep.objectives.")
    technology: str = Field("fpga16", description="Energy prices: a packaged technology, or a file.")
    device: str = Field("vcu1525", description="FPGA or card whose resources count.")
    must_fit: bool = Field(False, description="Whether points must fit the device to be on the front.")
    accuracy: tuple[Accuracy, ...] = Field((), description="What training runs have reached.")

    @model_validator(mode="after")
    def _check_points(self) -> Self:
        if self.points and (given := self.model_fields_set & GRID):
            raise ValueError(f"{', '.join(sorted(given))} beside points: expected a grid or points, not both")
        return self

    @property
    def sha256(self) -> str:
        """Hash of the description, hexadecimal: the identity of a sweep in its store."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class _Points(Spec):
    points: OneOrMore[PointSpec] = Field(description="The points.")


class _Accuracies(Spec):
    accuracy: tuple[Accuracy, ...]


def load_sweep(path: Path) -> SweepSpec:
    """The sweep that a YAML file describes, `resnet18` being short for `{name: resnet18}`. Raises SpecError."""
    document = strict_yaml.load(path)
    data = document.data
    if isinstance(data, dict) and isinstance(names := data.get("workloads"), list):
        data["workloads"] = [{"name": name} if isinstance(name, str) else name for name in names]
    return strict_yaml.validate(document, SweepSpec)


def load_points(path: Path) -> tuple[PointSpec, ...]:
    """Points of a YAML file (`points:`, a list of mappings) or of a CSV file. Raises SpecError.

    A CSV has a column for each key of PointSpec, and one for each architecture parameter by its dotted key. Cells are
    YAML scalars; an empty one is not given.
    """
    if path.suffix.lower() != ".csv":
        return strict_yaml.validate(strict_yaml.load(path), _Points).points
    points = []
    for given in _read_csv(path, "points, one a row"):
        parameters = {key: given.pop(key) for key in list(given) if key not in PointSpec.model_fields}
        points.append(given | {"set": parameters})
    return strict_yaml.validate(_document(path, points=points), _Points).points


def load_accuracy(path: Path) -> tuple[Accuracy, ...]:
    """Accuracies of a CSV file with columns workload, method, nm (empty if dense), accuracy and any others, or of the
    trace of a training run. Raises SpecError, TraceError.
    """
    if path.suffix.lower() == ".csv":
        rows = [
            {key: value for key, value in given.items() if key in Accuracy.model_fields}
            for given in _read_csv(path, "accuracies, one a row")
        ]
        return strict_yaml.validate(_document(path, accuracy=rows), _Accuracies).accuracy
    recorded = load_run_trace(path)
    run = recorded.run
    if run is None or run.validation_accuracy is None:
        raise SpecError(
            f"{printable(str(path))}: holds no accuracy; expected the trace of a run that was evaluated"
        )
    name = recorded.iteration.name
    return (Accuracy(workload=name, method=run.method, nm=run.nm, accuracy=run.validation_accuracy),)


def parse_values(text: str, where: str) -> list[Any]:
    """`16,32` or `[ws],[os]` as YAML values. Raises SpecError that names `where`."""
    values = strict_yaml.loads(f"[{text}]", where).data
    if not isinstance(values, list) or not values:
        raise SpecError(f"{where}: got {shorten(repr(text))}, expected values separated by commas")
    return values


def _read_csv(path: Path, expected: str) -> Iterator[dict[str, Any]]:
    """Rows of a CSV file with a header, cells parsed, without those that are empty."""
    name = printable(str(path))
    try:
        text = read_file(path, expected, MAX_BYTES).decode("utf-8-sig")
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except (ValueError, csv.Error) as error:
        raise SpecError(f"{name}: cannot be read as CSV: {error}; expected {expected}") from None
    if len(set(header)) < len(header):
        raise SpecError(f"{name}: a column comes twice in its header; expected each once")
    for number, row in enumerate(rows, start=1):
        where = f"{name}: row {number}"
        if len(row) != len(header):
            raise SpecError(f"{where}: got {len(row)} cells, expected {len(header)} as in the header")
        yield {
            key: strict_yaml.loads(cell, where).data
            for key, cell in zip(header, row, strict=True)
            if cell.strip()
        }


def _document(path: Path, **data: Any) -> Document:
    return Document(printable(str(path)), data)
