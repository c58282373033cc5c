"""The rules of physics notice results that break them, and rows of the sensitivity say what was assumed."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codesign.nm.format import NM
from codesign.result import SimResult
from codesign.sensitivity import ASSUMED
from codesign.simulate import simulate
from codesign.validate import physics
from codesign.validate.row import beside
from codesign.validate.tornado import tornado
from hw_models import arch as arch_module
from hw_models.arch import load_arch
from workloads.catalog import load

SAT = load_arch("sat.yaml")
RESULT = simulate(SAT, load("resnet9", batch=16), method="bdwp", nm=NM(2, 8))


def with_ff(**changes: int) -> SimResult:
    """The result with other figures for the forward stage."""
    return replace(RESULT, stages={**RESULT.stages, "ff": replace(RESULT.stages["ff"], **changes)})


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        (physics.cycles_add_up, replace(RESULT, total_cycles=RESULT.total_cycles + 1)),
        (physics.cycles_add_up, with_ff(cycles=RESULT.stages["ff"].cycles - 1)),
        (physics.macs_are_the_networks, with_ff(dense_macs=0)),
        (physics.macs_are_the_networks, with_ff(macs=RESULT.stages["ff"].macs + 1)),
        (lambda result: physics.bytes_suffice(SAT, result), with_ff(read_bytes=0)),
        (lambda result: physics.below_roofline(SAT, result), with_ff(write_bytes=10**12)),
        (lambda result: physics.below_roofline(SAT, result), with_ff(macs=10**15)),
        (lambda result: physics.below_roofline(SAT, result), replace(RESULT, bound_cycles=10**12)),
        (lambda result: physics.below_roofline(SAT, result), replace(RESULT, dram_busy_cycles=10**12)),
    ],
)
def test_a_rule_notices(rule: Callable[[SimResult], bool], broken: SimResult) -> None:
    assert rule(RESULT)
    assert not rule(broken)


def test_every_assumed_constant_is_varied() -> None:
    """`sat.yaml` says "assumed" beside each of them; the header explains the word."""
    section, assumed = "", []
    for line in (Path(arch_module.__file__).parent / "archs" / "sat.yaml").read_text().splitlines():
        if found := re.match(r"(\w+):", line):
            section = found[1]
        if found := re.match(r"  (\w+): .*# assumed", line):
            assumed.append(f"{section}.{found[1]}")
    assert list(ASSUMED) == assumed


def test_a_tornado_has_the_largest_swing_on_top() -> None:
    results = {"calm = 1": 1.9, "calm = 4": 2.1, "wild = 1": 2.0, "wild = 4": 3.0}
    rows = [beside(what, "", 2.0, result, "x", "") for what, result in results.items()]
    chart = tornado(rows)
    assert re.findall(r">(\w+ = \d)<", chart) == ["wild = 1", "wild = 4", "calm = 1", "calm = 4"]
    # 470 pixels from 1.9 to 3.0; the nominal result, 2.0, at 210 + 470 / 11
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="14"', chart)]
    assert widths == pytest.approx([0, 470 / 1.1, 47 / 1.1, 47 / 1.1], abs=0.05)
