"""The headline: how much faster BDWP trains than dense on the same hardware, averaged over four networks."""

from __future__ import annotations

from collections.abc import Iterator

from codesign.nm.format import NM
from codesign.result import SimResult
from codesign.simulate import OnStep, simulate
from hw_models.arch import Arch
from workloads.catalog import load

NETWORKS = ("resnet18", "resnet50", "vgg19", "vit-base")

PUBLISHED_SPEEDUP = 1.75
"""Average 2:8 BDWP speedup over dense training, both on SAT: Fang et al., TCAD 2023, abstract (arXiv 2309.13015)."""

PUBLISHED_NM = NM(2, 8)


def headline(arch: Arch, *, batch: int, nm: NM, on_step: OnStep | None = None) -> Iterator[SimResult]:
    """Simulate every network at `nm` with its dense baseline. Raises what `simulate` raises."""
    for network in NETWORKS:
        yield simulate(arch, load(network, batch=batch), method="bdwp", nm=nm, on_step=on_step)


def mean_speedup(results: list[SimResult]) -> float:
    """Arithmetic mean of the speedups over dense training."""
    return sum(result.speedup_vs_dense or 0.0 for result in results) / len(results)
