"""The trace of a training run as a file: its iteration, and what the run did with it step by step.

The file is JSON: a format name, a version and the SHA-256 of the content around the content. Shapes stand in it once,
in `RunTrace.iteration`; the ratios in force once for each phase; statistics once for each recorded step. A trace of
a model that was not trained has no `run`. No tensors, and no torch to read it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign.errors import TraceError
from codesign.input_files import read_file
from codesign.nm.format import NM
from codesign.spec_errors import printable
from workloads.ops import Record
from workloads.sparsity import LayerSparsity
from workloads.trace import Trace

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FILE_NAME = "trace.json"
FORMAT = "codesign training trace"
VERSION = 1
MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Phase(Record):
    """Consecutive optimizer steps under the same ratios; `decisions` has every layer and pass, dense ones too."""

    first_step: int
    steps: int
    decisions: tuple[LayerSparsity, ...]


@dataclass(frozen=True, slots=True)
class LayerStatistics(Record):
    """Measurements of one weight layer at one step; shares are from 0 to 1, None where a pass is dense.

    - `ff_compliance`, `bp_compliance`: share of the groups along Cin of the forward weight, along Cout of the
      backward weight, that hold at most N values other than zero.
    - `ff_churn`, `bp_churn`: share of the kept weights that were not kept at the step recorded before.
    - `overlap`: share of the weights kept in FF that BP keeps, too.
    - `input_zeros`, `gradient_zeros`: share of exact zeros in the layer's input and in its output's gradient.
    """

    layer: str
    ff_compliance: float | None = None
    bp_compliance: float | None = None
    ff_churn: float | None = None
    bp_churn: float | None = None
    overlap: float | None = None
    input_zeros: float | None = None
    gradient_zeros: float | None = None


@dataclass(frozen=True, slots=True)
class RecordedStep(Record):
    """Statistics of optimizer step `step` (from 0), and the training loss before it."""

    step: int
    loss: float
    layers: tuple[LayerStatistics, ...]


@dataclass(frozen=True, slots=True)
class Run(Record):
    """What a training run did: `steps` are those done, of `planned_steps`; `phases` cover them without gaps.

    `dtype` is the type of the operands of FF, BP and WU. Losses and accuracy (share of correct predictions) are those
    of the last evaluation, None before the first.
    """

    model: str
    data: str
    method: str
    nm: NM | None
    seed: int
    dtype: str
    planned_steps: int
    steps: int
    phases: tuple[Phase, ...]
    recorded: tuple[RecordedStep, ...] = ()
    train_loss: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    def __post_init__(self) -> None:
        step = 0
        for phase in self.phases:
            if phase.first_step != step or phase.steps < 1:
                raise TraceError(f"trace: phase at step {phase.first_step}, expected one at step {step}")
            step += phase.steps
        if step != self.steps:
            raise TraceError(f"trace: phases of {step} steps in a run of {self.steps}; record it again")

    @property
    def longest_phase(self) -> int:
        """Number of the phase with most steps, of several the last. Raises TraceError if no step was done."""
        if not self.phases:
            raise TraceError("trace: the run has done no step yet; train it first")
        return max(range(len(self.phases)), key=lambda index: (self.phases[index].steps, index))


@dataclass(frozen=True, slots=True)
class RunTrace(Record):
    """One iteration, all dense, and the run that repeated it, if any."""

    iteration: Trace
    run: Run | None = None

    def to_json(self) -> str:
        """The content of a file; `load_run_trace` is the inverse."""
        content = json.loads(_adapter().dump_json(self))
        header = {"format": FORMAT, "version": VERSION, "sha256": _sha256(content)}
        return json.dumps(header | {"content": content}) + "\n"


def load_run_trace(path: Path) -> RunTrace:
    """Read a trace file, or `trace.json` of a folder. Raises SpecError for no such file, TraceError for a bad one."""
    if path.is_dir():
        path /= FILE_NAME
    text = read_file(path, "a training trace", MAX_BYTES)
    try:
        return _parse(text)
    except TraceError as error:
        raise TraceError(f"{printable(str(path))}: {error}") from None


def _parse(text: bytes) -> RunTrace:
    from pydantic import ValidationError

    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise TraceError("is no JSON, expected a training trace; record it again") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise TraceError(f'is no training trace, expected "format": "{FORMAT}"; record it again')
    if data.get("version") != VERSION:
        raise TraceError(f"is of version {data.get('version')!r}, expected {VERSION}; record it again")
    if data.get("sha256") != _sha256(data.get("content")):
        raise TraceError("is damaged, its content does not match its SHA-256; record it again")
    try:
        return _adapter().validate_json(json.dumps(data["content"]), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TraceError(f"{where}: {first['msg']}; record it again") from None


def _sha256(content: Any) -> str:
    """Of the parsed content, so that white space does not matter."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@cache
def _adapter() -> TypeAdapter[RunTrace]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunTrace)
