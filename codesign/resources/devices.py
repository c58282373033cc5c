"""FPGAs and cards (`devices.yaml`), and whether resources fit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt

from codesign.errors import SpecError
from codesign.resources.estimate import Resources
from codesign.resources.tables import Constant
from codesign.resources.usage import RESOURCES, Range, Usage
from codesign.spec_errors import nearest, shorten
from codesign.strict_yaml import load, validate
from hw_models.block_specs import Spec

FILE = Path(__file__).parent / "devices.yaml"

Share = Annotated[float, Field(gt=0, le=1)]


class Capacity(Spec):
    """Resources of one super logic region (SLR), as in `Usage`."""

    lut: PositiveInt
    ff: PositiveInt
    dsp: PositiveInt
    bram36: PositiveInt
    uram288: NonNegativeInt


class Limit(Spec):
    """Practical share of each resource."""

    lut: Share
    ff: Share
    dsp: Share
    bram36: Share
    uram288: Share


class Limits(Constant):
    """Shares of a device beyond which timing closure becomes unlikely."""

    share: Limit


class Device(Constant):
    """What a design may use of an FPGA, by SLR."""

    part: str
    description: str
    slrs: Annotated[tuple[Capacity, ...], Field(min_length=1)]

    def available(self, resource: str) -> int:
        """Amount of one of `RESOURCES` over all SLRs."""
        return sum(getattr(slr, resource) for slr in self.slrs)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return self.model_dump(mode="json") | {"available": {r: self.available(r) for r in RESOURCES}}


class Devices(Spec):
    """The whole of `devices.yaml`."""

    limits: Limits
    devices: dict[str, Device]


class Verdict(StrEnum):
    """Whether something fits, given that its size is an interval."""

    YES = "yes"
    PERHAPS = "perhaps"
    NO = "no"

    @classmethod
    def of(cls, demand: Range, supply: float) -> Verdict:
        """`perhaps` where only the lower end fits."""
        return cls.YES if demand.high <= supply else cls.PERHAPS if demand.low <= supply else cls.NO


@dataclass(frozen=True)
class Fit:
    """How well resources fit a device.

    `utilization`: share of what is available (ratio); `limits`: the practical share. `fits`: whether the device has
    enough; `closes`: whether the practical share is enough. `fullest`: the resource that runs out first;
    `binding`: the one that reaches its practical share first. `slrs`: how many
    SLRs, largest first, hold the high values (None: all are too few).
    """

    utilization: dict[str, Range]
    limits: dict[str, float]
    fits: Verdict
    closes: Verdict
    fullest: str
    binding: str
    slrs: int | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "utilization": {name: [share.low, share.high] for name, share in self.utilization.items()},
            "limits": self.limits,
            "fits": str(self.fits),
            "closes": str(self.closes),
            "fullest": self.fullest,
            "binding": self.binding,
            "slrs": self.slrs,
        }


def fit(resources: Resources, device: Device) -> Fit:
    """Compare. Raises SpecError if `resources` counts on URAM that the device lacks."""
    total = resources.total
    if total.uram288.high and not device.available("uram288"):
        raise SpecError(
            f"resources of {resources.arch_name!r}: got {total.uram288.high} URAM288, but {device.part} has none; "
            "estimate with uram=False"
        )
    present = [resource for resource in RESOURCES if device.available(resource)]
    utilization = {resource: total[resource] / device.available(resource) for resource in present}
    limits = {resource: getattr(_load().limits.share, resource) for resource in present}
    fullest = _tightest(utilization, dict.fromkeys(present, 1.0))
    binding = _tightest(utilization, limits)
    return Fit(
        utilization,
        limits,
        fits=Verdict.of(utilization[fullest], 1),
        closes=Verdict.of(utilization[binding], limits[binding]),
        fullest=fullest,
        binding=binding,
        slrs=_slrs(total, device),
    )


def load_device(name: str) -> Device:
    """A device of `devices.yaml` by name. Raises SpecError."""
    if name not in _load().devices:
        raise SpecError(
            f"no device {shorten(repr(name))}{nearest(name, device_names())}; "
            f"expected one of: {', '.join(device_names())}"
        )
    return _load().devices[name]


def device_names() -> list[str]:
    """Names that `load_device` knows."""
    return list(_load().devices)


@lru_cache(maxsize=1)
def _load() -> Devices:
    return validate(load(FILE), Devices)


def _tightest(utilization: Mapping[str, Range], limits: Mapping[str, float]) -> str:
    """The resource with the worst verdict, and of several the one furthest up its limit."""
    verdicts = list(Verdict)
    return max(
        utilization,
        key=lambda name: (
            verdicts.index(Verdict.of(utilization[name], limits[name])),
            utilization[name].high / limits[name],
        ),
    )


def _slrs(total: Usage, device: Device) -> int | None:
    """Fewest SLRs, largest first, that hold the high values."""
    by_size = sorted(device.slrs, key=lambda slr: slr.lut, reverse=True)
    for count in range(1, len(by_size) + 1):
        if all(total[r].high <= sum(getattr(slr, r) for slr in by_size[:count]) for r in RESOURCES):
            return count
    return None
