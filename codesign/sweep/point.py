"""One point of a design space: all that its result depends on, as a value with a content hash."""

from __future__ import annotations

import hashlib
import json
import os.path
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import Field

from codesign import __version__
from codesign.energy.sources import load_energy_table
from codesign.energy.table import EnergyTable
from codesign.errors import SpecError
from codesign.input_files import read_file
from codesign.spec_errors import printable
from codesign.strict_yaml import MAX_BYTES
from hw_models.arch import Arch
from hw_models.block_specs import Ratio, Spec
from workloads import catalog
from workloads.run_trace import FILE_NAME, Run, load_run_trace
from workloads.trace import Trace

CACHED_WORKLOADS = 8

DENSE = "dense"


class Source(NamedTuple):
    """Where a workload comes from: a name or file of `workloads.catalog` with sizes, or else a trace file."""

    name: str
    is_trace: bool = False
    sizes: tuple[tuple[str, int], ...] = ()

    def load(self) -> Loaded:
        """Load it, or take it from a small cache if it has not changed. Raises SpecError, TraceError."""
        return _load(self, _stamp(self.name))


class Loaded(NamedTuple):
    """A workload in memory: its dense iteration, and the training run that it comes from, if any.

    The run is without its statistics, but in its hash.
    """

    iteration: Trace
    run: Run | None = None
    run_sha256: str | None = None


def _stamp(path: str) -> tuple[int, ...]:
    """When a file was changed, or a folder and the trace in it; nothing for a name."""
    times_ns = []
    for file in (Path(path), Path(path) / FILE_NAME):
        with suppress(OSError, ValueError):
            times_ns.append(file.stat().st_mtime_ns)
    return tuple(times_ns)


@lru_cache(maxsize=CACHED_WORKLOADS)
def _load(source: Source, stamp: tuple[int, ...]) -> Loaded:
    if not source.is_trace:
        return Loaded(catalog.load(source.name, **dict(source.sizes)))
    recorded = load_run_trace(Path(source.name))
    if recorded.run is None:
        return Loaded(recorded.iteration)
    return Loaded(
        recorded.iteration, replace(recorded.run, recorded=()), _sha256(recorded.to_json().encode())
    )


class Workload(Spec):
    """A source, and what was in it when the point was described."""

    source: str = Field(description="Name or file.")
    is_trace: bool = Field(description="Whether the source is a trace file.")
    sizes: dict[str, int] = Field(description="Chosen sizes; the others are those of the workload.")
    name: str = Field(description="Name of the network.")
    batch: int = Field(description="Samples of an iteration.")
    sha256: str = Field(description="Hash of the dense iteration.")
    run_sha256: str | None = Field(description="Hash of the training run, if it is one.")

    @classmethod
    def of(cls, source: Source) -> Self:
        """The workload that a source holds now. Raises SpecError, TraceError."""
        loaded = source.load()
        return cls(
            source=source.name,
            is_trace=source.is_trace,
            sizes=dict(source.sizes),
            name=loaded.iteration.name,
            batch=loaded.iteration.batch,
            sha256=loaded.iteration.sha256,
            run_sha256=loaded.run_sha256,
        )

    def load(self) -> Loaded:
        """What the source holds. Raises SpecError, TraceError, and SpecError if it has changed."""
        loaded = Source(self.source, self.is_trace, tuple(self.sizes.items())).load()
        if (loaded.iteration.sha256, loaded.run_sha256) != (self.sha256, self.run_sha256):
            raise _changed(self.source)
        return loaded


class Technology(Spec):
    """Where energy prices come from, and what was in it when the point was described."""

    source: str = Field(description="Packaged technology, or a file, see `codesign.energy.sources`.")
    sha256: str | None = Field(description="Hash of the file; None if there is none, but a packaged one.")

    @classmethod
    def of(cls, source: str) -> Self:
        """What a source holds now. Raises SpecError for a file that cannot be read."""
        if not os.path.isfile(source):  # noqa: PTH113 - unlike Path.is_file it never raises
            return cls(source=source, sha256=None)
        return cls(source=source, sha256=_sha256(read_file(Path(source), "an energy table", MAX_BYTES)))

    def table(self, arch: Arch) -> EnergyTable:
        """Prices for an architecture. Raises SpecError, also if the file has changed."""
        if Technology.of(self.source) != self:
            raise _changed(self.source)
        return load_energy_table(arch, self.source)


class Point(Spec):
    """A workload trained on an architecture. Of a training run, `method` and `nm` are those that it was trained with.

    Energy is that of `technology`; resources are those on `device`.
    """

    arch: Arch
    workload: Workload
    method: str
    nm: Ratio | None
    technology: Technology
    device: str
    version: str = __version__

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that the result depends on, hexadecimal. It does not matter where a workload lies."""
        identity = {
            "arch": self.arch.model_dump(mode="json"),
            "workload": self.workload.sha256,
            "run": self.workload.run_sha256,
            "method": self.method,
            "nm": None if self.nm is None else str(self.nm),
            "technology": self.technology.sha256 or self.technology.source,
            "device": self.device,
            "version": self.version,
        }
        return _sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode())

    @property
    def baseline(self) -> Point | None:
        """The dense point that this one is compared with; None if it is dense, or a run, which brings its own."""
        if self.method == DENSE or self.workload.run_sha256:
            return None
        same = {name: getattr(self, name) for name in ("arch", "workload", "technology", "device", "version")}
        return Point(method=DENSE, nm=None, **same)


def _changed(source: str) -> SpecError:
    return SpecError(f"{printable(source)}: has changed since the sweep began; start the sweep again")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
