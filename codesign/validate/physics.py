"""What no machine can beat, and what must add up, over all packaged networks on all packaged architectures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from codesign.analytic import compulsory_bytes
from codesign.nm.format import NM
from codesign.result import SimResult
from codesign.schedule import schedule
from codesign.simulate import simulate
from codesign.validate.row import Comparison, Row, at_least, beside, equal
from hw_models.arch import Arch, load_arch, packaged
from workloads.catalog import load, names
from workloads.sparsity import apply_method

BATCH, RATIO = 16, NM(2, 8)

TEXT = f"""\
One training iteration of every packaged network at batch {BATCH}, dense and, where the array can skip zeros, BDWP
{RATIO}, on every packaged architecture. Conservation: every cycle is charged to exactly one stage, one layer and
one cause; the MACs of the stages are those of the network's definition; no more time on the memory bus than there
is, and no fewer bytes than every operand once. Roofline: cycles are at least MACs over the array's peak, and bytes
over the memory's bandwidth.

The lower bound of `codesign/analytic.py` is tighter: the fullest unit, or the longest chain of dependent
operations, each at its peak rate. Networks stay above it because operands are fetched more than once when buffers
are too small to keep them, edge tiles are padded, and an operation's first load and last store overlap with nothing
of its own. The ratio is largest for `mlp`: at this batch an element has one output to work on, so that every MAC
waits for the adder.
"""


def run(tools: Path) -> Iterator[Row]:
    """Rows for each architecture and method."""
    for name in packaged():
        arch = load_arch(name)
        pairs = [(network, _simulate(arch, network)) for network in names()]
        yield from _rows(f"{name}, dense", arch, [result.baseline or result for _, result in pairs])
        if arch.array.sparsity:
            yield from _rows(f"{name}, {RATIO}", arch, [result for _, result in pairs])


def _simulate(arch: Arch, network: str) -> SimResult:
    method, nm = ("bdwp", RATIO) if arch.array.sparsity else ("dense", None)
    return simulate(arch, load(network, batch=BATCH), method=method, nm=nm)


def _rows(what: str, arch: Arch, results: Sequence[SimResult]) -> Iterator[Row]:
    count, networks = len(results), "networks"
    for rule, holds in (
        ("cycles add up", cycles_add_up),
        ("MACs are the network's", macs_are_the_networks),
        ("bytes at least once", lambda result: bytes_suffice(arch, result)),
        ("below the roofline", lambda result: below_roofline(arch, result)),
    ):
        yield equal(f"{what}: {rule}", "all networks", count, sum(map(holds, results)), networks)
    ratios = {result.workload_name: result.total_cycles / result.bound_cycles for result in results}
    best, worst = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    source = "lower bound"
    yield at_least(f"{what}: closest, {best}", source, 1, ratios[best], "x")
    yield beside(f"{what}: mean", source, 1, fmean(ratios.values()), "x", "see text")
    yield beside(f"{what}: farthest, {worst}", source, 1, ratios[worst], "x", "see text")


def cycles_add_up(result: SimResult) -> bool:
    """By stage, by layer, and by cause."""
    total = result.total
    layers = sum(share.cycles for shares in result.layers.values() for share in shares.values())
    useful = -sum(-op.macs // result.peak_macs_per_cycle for op in result.ops)  # rounded up, each operation
    return result.total_cycles == total.cycles == layers == useful + sum(total.stall_cycles.values())


def macs_are_the_networks(result: SimResult) -> bool:
    """Dense ones those of its definition, executed ones those of the operations and no more."""
    dense = result.batch * result.training_macs_per_sample
    macs = sum(op.macs for op in result.ops)
    return result.total.dense_macs == dense and result.total.macs == macs <= dense


def bytes_suffice(arch: Arch, result: SimResult) -> bool:
    """Every operand and result crosses the DRAM interface at least once."""
    trace, _ = apply_method(load(result.workload_name, batch=result.batch), result.method, _ratio(result))
    moved = result.total.read_bytes + result.total.write_bytes
    return compulsory_bytes(trace, schedule(trace, arch), arch) <= moved


def _ratio(result: SimResult) -> NM | None:
    return None if result.method == "dense" else RATIO


def below_roofline(arch: Arch, result: SimResult) -> bool:
    """Cycles suffice for the MACs at the array's peak, for the bytes at full bandwidth, and for the lower bound."""
    total = result.total
    memory = arch.dram_cycles(total.read_bytes + total.write_bytes)
    compute = -(-total.macs // arch.peak_macs_per_cycle)
    return max(memory, compute, result.bound_cycles) <= result.total_cycles and (
        result.dram_busy_cycles <= result.total_cycles
    )


COMPARISON = Comparison("Physics: conservation, roofline, lower bound", TEXT, run)
