"""The trace: one training iteration as an immutable list of operations with their data dependences.

It is the firewall between whatever produced the work (a named network, a file, a real training run) and
everything that consumes it (schedule, simulator, exporter). It holds no tensors and needs no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from codesign.errors import TraceError
from workloads.ops import GemmOp, Op, Record, Stage, UpdateOp

if TYPE_CHECKING:
    from pydantic import TypeAdapter

OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True, slots=True)
class Layer(Record):
    """One layer that owns parameters.

    `cin` and `cout` are channels of one group; `weight_params` excludes the bias, `params` includes it. `first`
    marks a layer whose input needs no gradient. A weight `tied_to` another layer is counted and updated there.
    """

    name: str
    kind: str
    params: int
    weight_params: int = 0
    cin: int = 0
    cout: int = 0
    groups: int = 1
    taps: int = 1
    first: bool = False
    tied_to: str = ""


@dataclass(frozen=True)
class Trace(Record):
    """One training iteration. `ops` is a legal execution order: every dependence names an earlier operation."""

    name: str
    batch: int
    layers: tuple[Layer, ...]
    ops: tuple[Op, ...]
    optimizer: str = "sgd"
    method: str = "dense"

    def __post_init__(self) -> None:
        if self.batch < 1 or self.optimizer not in OPTIMIZERS:
            raise self._error(
                f"batch {self.batch} and optimizer {self.optimizer!r}, expected at least 1 and {OPTIMIZERS}"
            )
        if not self.ops:
            raise self._error("there are no operations")
        layers = {layer.name for layer in self.layers}
        seen: set[str] = set()
        for op in self.ops:
            if missing := [dep for dep in op.deps if dep not in seen]:
                raise self._error(
                    f"operation {op.name!r} depends on {missing[0]!r}, which does not come before it"
                )
            if op.name in seen:
                raise self._error(f"operation {op.name!r} appears twice; names must be unique")
            if isinstance(op, UpdateOp) and op.layer not in layers:
                raise self._error(f"operation {op.name!r} updates layer {op.layer!r}, which does not exist")
            seen.add(op.name)

    def _error(self, message: str) -> TraceError:
        return TraceError(f"trace {self.name!r}: {message}; record it again")

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(layer.params for layer in self.layers)

    @property
    def forward_macs_per_sample(self) -> int:
        """Multiply-accumulates of the dense forward pass of one sample."""
        return sum(op.dense_macs for op in self.gemms(Stage.FF)) // self.batch

    @property
    def training_macs_per_sample(self) -> int:
        """Multiply-accumulates of dense FF, BP and WU of one sample."""
        return sum(op.dense_macs for op in self.gemms()) // self.batch

    def gemms(self, stage: Stage | None = None) -> Iterator[GemmOp]:
        """GEMM operations in order, of one stage or of all."""
        return (op for op in self.ops if isinstance(op, GemmOp) and stage in (None, op.stage))

    def to_json(self) -> str:
        """Serialise; `from_json` is the inverse."""
        return _adapter().dump_json(self).decode()

    @staticmethod
    def from_json(text: str | bytes) -> Trace:
        """Parse and check a serialised trace. Raises TraceError."""
        from pydantic import ValidationError

        try:
            return _adapter().validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise TraceError(f"trace: {where}: {first['msg']}; record the trace again") from None

    @cached_property
    def sha256(self) -> str:
        """Hash of the content, hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


@cache
def _adapter() -> TypeAdapter[Trace]:
    from pydantic import TypeAdapter

    return TypeAdapter(Trace)
