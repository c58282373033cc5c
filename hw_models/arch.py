"""The architecture specification: everything about a machine that the models, scheduler and exporters need.

There are no defaults: an architecture file states every parameter, with its source (see `archs/`). Variants
are derived with `Arch.with_overrides`. Fields are physical quantities; what follows from them is a property.
"""

from __future__ import annotations

import hashlib
import json
import os.path
from collections.abc import Iterator, Mapping
from copy import deepcopy
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from codesign import units
from codesign.errors import SpecError
from codesign.spec_errors import nearest, shorten
from codesign.strict_yaml import Document, load, validate
from hw_models.block_specs import (
    Array,
    Buffers,
    Dma,
    Dram,
    Hertz,
    Lanes,
    Optimizations,
    Precision,
    Sore,
    Spec,
)
from hw_models.timing import ArrayParams

_PACKAGED = Path(__file__).parent / "archs"


class Arch(Spec):
    """One accelerator architecture."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Short name, used in file names."
    )
    description: str = Field(
        max_length=2000, description="What this architecture stands for, in a sentence or two."
    )
    clock_hz: Hertz = Field(ge=10**6, le=5 * 10**9, description="Clock of the whole accelerator (hertz).")
    array: Array = Field(description="STCE, the systolic array.")
    buffers: Buffers = Field(description="On-chip buffers.")
    dram: Dram = Field(description="External memory.")
    dma: Dma = Field(description="Engines between DRAM and buffers.")
    sore: Sore = Field(description="SORE, the sparsifier.")
    wuve: Lanes = Field(description="WUVE, the weight-update vector engine; an item is one parameter.")
    vector_unit: Lanes = Field(
        description="Unit for the work between GEMMs; an item is one scalar operation."
    )
    precision: Precision = Field(description="Floating-point formats.")
    optimizations: Optimizations = Field(description="Dataflow optimizations in use.")

    @field_validator("precision")
    @classmethod
    def _check_port(cls, precision: Precision, info: ValidationInfo) -> Precision:
        array = info.data.get("array")
        if array and array.activation_port_bits < precision.operand_bits:
            raise ValueError(
                f"operand_bits is {precision.operand_bits}, but array.activation_port_bits is "
                f"{array.activation_port_bits}; expected a port of at least one operand"
            )
        return precision

    @field_validator("optimizations")
    @classmethod
    def _check_fixed_dataflow(cls, optimizations: Optimizations, info: ValidationInfo) -> Optimizations:
        array = info.data.get("array")
        if array and optimizations.fixed_dataflow not in array.dataflows:
            raise ValueError(
                f"fixed_dataflow is {optimizations.fixed_dataflow}, expected one of array.dataflows: "
                + ", ".join(array.dataflows)
            )
        return optimizations

    def with_overrides(self, overrides: Mapping[str, Any]) -> Arch:
        """The architecture with parameters replaced, such as `{"array.rows": 64}`. Raises SpecError."""
        data = self.model_dump(mode="json")
        for path, value in overrides.items():
            if path not in (legal := list(_dotted(data))):
                siblings = [name for name in legal if name.rpartition(".")[0] == path.rpartition(".")[0]]
                raise SpecError(
                    f"{self.name}: no architecture parameter {shorten(repr(path))}{nearest(path, legal)}; "
                    f"expected one of: {', '.join(siblings or data)}"
                )
            *parents, key = path.split(".")
            target = data
            for parent in parents:
                target = target[parent]
            target[key] = deepcopy(value)
        return validate(Document(f"{self.name} with overrides", data), Arch)

    @cached_property
    def sha256(self) -> str:
        """Hash of the content, hexadecimal: equal for files that differ in layout and comments only."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def array_params(self) -> ArrayParams:
        """What the timing of one array tile depends on."""
        array = self.array
        return ArrayParams(
            rows=array.rows,
            cols=array.cols,
            interleave_depth=array.interleave_depth if self.optimizations.interleave else 1,
            multiplier_latency_cycles=array.multiplier_latency_cycles,
            accumulator_latency_cycles=array.accumulator_latency_cycles,
            activation_port_values=array.activation_port_bits // self.precision.operand_bits,
            double_weights=array.double_weights,
            double_accumulators=array.double_accumulators,
            fill_policy=array.fill_policy,
        )

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiply-accumulates that the array executes each cycle: one for each processing element."""
        return self.array.rows * self.array.cols

    @property
    def dma_bytes_per_cycle(self) -> int:
        """Bytes that all DMA engines together move in one direction each cycle."""
        return self.dma.engines * self.dma.port_bytes_per_cycle

    @cached_property
    def dram_cycles_per_byte(self) -> Fraction:
        """Clock cycles for one byte over all channels, as an exact ratio."""
        return units.cycles_per_byte(self.dram.bytes_per_second, self.clock_hz)

    def dram_cycles(self, byte_count: int) -> int:
        """Whole cycles that `byte_count` bytes occupy all channels."""
        return units.transfer_cycles(byte_count, self.dram_cycles_per_byte)

    @cached_property
    def dram_latency_cycles(self) -> int:
        """Whole cycles that the DRAM latency covers."""
        return units.nanoseconds_to_cycles(self.dram.latency_ns, self.clock_hz)


def packaged() -> list[str]:
    """Names of the architectures that come with the package."""
    return sorted(path.stem for path in _PACKAGED.glob("*.yaml"))


def load_arch(path_or_name: str | Path) -> Arch:
    """Load an architecture from a file, or a packaged one by name, with or without `.yaml`. Raises SpecError.

    An existing file wins over a packaged name.
    """
    path = Path(path_or_name)
    name = path.name.removesuffix(".yaml")
    is_bare = path.name == str(path_or_name)
    if is_bare and not os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file it never raises
        if name not in packaged():
            raise SpecError(
                f"no architecture {shorten(repr(str(path)))}{nearest(name, packaged())}; "
                f"expected a YAML file or one of: {', '.join(packaged())}"
            )
        path = _PACKAGED / f"{name}.yaml"
    return validate(load(path), Arch)


def arch_schema() -> dict[str, Any]:
    """JSON Schema of an architecture file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Arch.model_json_schema(),
        "title": "codesign architecture",
    }


def _dotted(data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every key of nested mappings as a dotted path."""
    for key, value in data.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
