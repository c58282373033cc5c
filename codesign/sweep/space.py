"""The points of a sweep: every combination of its axes, or those that it lists.

- An N:M ratio concerns sparse methods; `dense` takes part once, whatever ratios are listed.
- The trace of a training run takes part once, with the method and the ratios that it was trained with. A ratio that
  the array lacks then runs dense, as it would on that hardware.
- Sizes concern the workload that they are given for; one that it does not take is an error.
- A combination that cannot be (the array lacks the ratio, parameters contradict each other) is dropped from a grid or
  a search, and counted with its reason. A value that no combination of a grid accepts is an error, and so is a listed
  point that cannot be.
- Combinations that come to the same thing are one point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple, Self

from codesign.errors import CodesignError, SpecError
from codesign.nm.format import NM
from codesign.resources import load_device
from codesign.sweep.point import DENSE, Point, Source, Technology, Workload
from codesign.sweep.spec import SIZES, PointSpec, SweepSpec
from hw_models.arch import Arch, load_arch
from workloads.sparsity import check_method

DEFAULT_WORKLOAD = "resnet18"
DEFAULT_METHOD = "bdwp"
DEFAULT_NM = NM(2, 8)

CACHED_FILES = 16

Choice = Sequence[int]
"""One index for each axis of a space."""


class Training(NamedTuple):
    """A workload under a method: what is computed on an architecture."""

    workload: Workload
    method: str
    nm: NM | None

    def __str__(self) -> str:
        sizes = (f"{size}={value}" for size, value in self.workload.sizes.items())
        return " ".join([self.workload.source, *sizes, self.method, *([str(self.nm)] if self.nm else [])])


class Costs(NamedTuple):
    """What energy and resources are reckoned with."""

    technology: Technology
    device: str

    @classmethod
    def of(cls, spec: SweepSpec) -> Self:
        """Those of a sweep. Raises SpecError for a device that does not exist, or a technology without prices."""
        load_device(spec.device)
        technology = Technology.of(spec.technology)
        technology.table(load_arch(spec.archs[0]))
        return cls(technology, spec.device)


class Axis(NamedTuple):
    """One dimension of a space."""

    name: str
    values: Sequence[Any]


class Space:
    """The grid of a sweep. Its axes are architecture, parameters, and training, which varies fastest."""

    def __init__(self, spec: SweepSpec) -> None:
        """Raises SpecError or TraceError for a workload or a method that cannot be."""
        parameters = (Axis(key, values) for key, values in spec.set.items())
        self.axes = (Axis("arch", spec.archs), *parameters, Axis("training", trainings(spec)))
        self.dropped: Counter[str] = Counter()
        self._costs = Costs.of(spec)
        self._load_arch = lru_cache(maxsize=CACHED_FILES)(load_arch)
        self._arch = lru_cache(maxsize=1)(self._build_arch)

    def point(self, choice: Choice) -> Point:
        """The point of a choice. Raises SpecError, and counts it, if it cannot be."""
        *machine, training = choice
        try:
            return point_of(self._arch(*machine), self.axes[-1].values[training], self._costs)
        except SpecError as error:
            self.dropped[str(error)] += 1
            raise

    def grid(self) -> Iterator[Point]:
        """Every point that can be. Raises SpecError in the end for a value that no combination accepts."""
        self.dropped.clear()
        accepted: set[tuple[int, int]] = set()
        refused: dict[tuple[int, int], SpecError] = {}
        for choice in product(*(range(len(axis.values)) for axis in self.axes)):
            places = enumerate(choice)
            try:
                point = self.point(choice)
            except SpecError as error:
                refused |= {place: error for place in places if place not in refused}
            else:
                accepted.update(places)
                yield point
        if refused and not accepted:
            raise next(iter(refused.values()))
        for at, index in refused:
            if (at, index) not in accepted:
                axis = self.axes[at]
                raise SpecError(
                    f"{axis.name} {axis.values[index]}: no combination accepts it, for instance: {refused[at, index]}"
                )

    def _build_arch(self, name: int, *values: int) -> Arch:
        arch, *parameters = self.axes[:-1]
        overrides = {axis.name: axis.values[value] for axis, value in zip(parameters, values, strict=True)}
        return variant(self._load_arch(arch.values[name]), overrides)


def listed(spec: SweepSpec) -> Iterator[Point]:
    """The points that a sweep lists. Raises SpecError or TraceError with the number of one that cannot be."""
    costs = Costs.of(spec)
    load = lru_cache(maxsize=CACHED_FILES)(load_arch)
    for number, point in enumerate(spec.points, start=1):
        try:
            yield point_of(variant(load(point.arch), point.set), _training_of(point), costs)
        except CodesignError as error:
            raise type(error)(f"point {number}: {error}") from None


def trainings(spec: SweepSpec) -> list[Training]:
    """Every workload with every method and ratio, then every trace. Raises SpecError, TraceError."""
    found = [
        Training(Workload.of(source), *how)
        for source in _sources(spec)
        for how in _methods(spec.methods, spec.nm)
    ]
    for trace in spec.traces:
        workload = Workload.of(Source(trace, is_trace=True))
        found += _of_run(workload) or [Training(workload, *how) for how in _methods(spec.methods, spec.nm)]
    return found


def point_of(arch: Arch, training: Training, costs: Costs) -> Point:
    """The point of a training on an architecture. Raises SpecError if the array lacks its ratio."""
    workload, method, nm = training
    if nm and not workload.run_sha256 and nm not in arch.array.sparsity:
        supported = ", ".join(map(str, arch.array.sparsity)) or "none (dense only)"
        raise SpecError(f"{nm} is not in array.sparsity of architecture {arch.name!r}, which has {supported}")
    return Point(arch=arch, workload=workload, method=method, nm=nm, **costs._asdict())


def variant(arch: Arch, overrides: Mapping[str, Any]) -> Arch:
    """An architecture with parameters replaced. Raises SpecError."""
    return arch.with_overrides(overrides) if overrides else arch


def _sources(spec: SweepSpec) -> Iterator[Source]:
    for axis in spec.workloads:
        given = [(size, getattr(axis, size)) for size in SIZES if getattr(axis, size)]
        for values in product(*(values for _, values in given)):
            yield Source(axis.name, sizes=tuple(zip((size for size, _ in given), values, strict=True)))
    if not spec.workloads and not spec.traces:
        yield Source(DEFAULT_WORKLOAD)


def _methods(methods: Sequence[str], ratios: Sequence[NM]) -> list[tuple[str, NM | None]]:
    pairs: list[tuple[str, NM | None]] = []
    for method in methods:
        check_method(method)
        pairs += [(method, None)] if method == DENSE else [(method, nm) for nm in ratios]
    return pairs


def _of_run(workload: Workload) -> list[Training]:
    """The training that a trace records, if it records one."""
    run = workload.load().run
    return [Training(workload, run.method, run.nm)] if run else []


def _training_of(point: PointSpec) -> Training:
    sizes = tuple((size, getattr(point, size)) for size in SIZES if getattr(point, size) is not None)
    if point.trace is not None and (point.workload is not None or sizes):
        raise SpecError("a trace has its own workload and sizes; leave one of them out")
    source = Source(point.trace or point.workload or DEFAULT_WORKLOAD, bool(point.trace), sizes)
    return _training(Workload.of(source), point.method, point.nm)


def _training(workload: Workload, method: str | None, nm: NM | None) -> Training:
    if recorded := _of_run(workload):
        if method is not None or nm is not None:
            raise SpecError("a training run has its own method and ratio; leave them out")
        return recorded[0]
    method = method or DEFAULT_METHOD
    check_method(method)
    if method == DENSE and nm is not None:
        raise SpecError(f"nm {nm} has no meaning with method dense; leave one of them out")
    return Training(workload, method, None if method == DENSE else nm or DEFAULT_NM)
