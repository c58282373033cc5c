"""Terminal tables of a result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codesign.headline import PUBLISHED_NM, PUBLISHED_SPEEDUP, mean_speedup
from codesign.report.numbers import reached
from codesign.result import STALL_CAUSES, Share, SimResult
from codesign.spec_errors import printable

if TYPE_CHECKING:
    from codesign.ablation import Rung
    from codesign.sensitivity import Swing
    from codesign.simulate_run import RunResult
    from hw_models.arch import Arch
    from hw_models.program import Program

PIPE_WIDTH = 1000  # nothing is cut; tables are as wide as they need to be
MAIN_STALLS = 2
COLUMNS = (
    "cycles", "share", "ms", "array util.", "DRAM GB", "eff. GOPS", "dense-eq. GOPS", "vs dense", "main stalls"
)  # fmt: skip


def print_result(result: SimResult, arch: Arch, *, layers: bool) -> None:
    """Header, stages, stall causes, and every layer if asked."""
    terminal = console()
    terminal.print(_header(result, arch))
    if layers:
        terminal.print(_layer_table(result))
    terminal.print(_stage_table(result))
    terminal.print(_stall_table(result))
    terminal.print(_summary(result), highlight=False)


def print_ablation(rungs: list[Rung]) -> None:
    """The ladder of optimizations, each against all off, the rung below, and everything but itself."""
    table = Table(title="What each optimization is worth", title_justify="left")
    table.add_column("switched on")
    for title in ("cycles", "vs all off", "vs rung above", "all others on, this one off"):
        table.add_column(title, justify="right")
    full = rungs[-1].total_cycles
    above = rungs[0].total_cycles
    for rung in rungs:
        without = "" if rung.without_cycles is None else f"{rung.without_cycles / full:.3f}x slower"
        table.add_row(
            rung.label,
            f"{rung.total_cycles:,}",
            f"{rungs[0].total_cycles / rung.total_cycles:.3f}x",
            f"{above / rung.total_cycles:.3f}x",
            without,
        )
        above = rung.total_cycles
    console().print(table)


def print_sensitivity(swings: list[Swing], result: SimResult) -> None:
    """Speedup with each assumed constant at half and at double, what moves it most first."""
    table = Table(
        title=f"Speedup over dense, {result.speedup_vs_dense:.3f}x, with one assumed constant changed",
        title_justify="left",
    )
    table.add_column("constant")
    for title in ("half", "speedup", "double", "speedup"):
        table.add_column(title, justify="right")
    for swing in sorted(swings, key=lambda swing: -abs(swing.high_speedup - swing.low_speedup)):
        table.add_row(
            swing.constant,
            f"{swing.low:g}",
            f"{swing.low_speedup:.3f}x",
            f"{swing.high:g}",
            f"{swing.high_speedup:.3f}x",
        )
    console().print(table)


def print_run(result: RunResult) -> None:
    """The phases of a training run, and the time of the whole run beside what it reached."""
    run = result.run
    table = Table(
        title=f"Training run: {printable(run.model)} on {printable(run.data)}", title_justify="left"
    )
    for title in ("steps", "N:M", "cycles/iteration", "ms/iteration", "vs dense"):
        table.add_column(title, justify="right")
    for phase, iteration in zip(run.phases, result.iterations, strict=True):
        table.add_row(
            f"{phase.first_step:,} to {phase.first_step + phase.steps - 1:,}",
            iteration.nm,
            f"{iteration.total_cycles:,}",
            f"{iteration.latency_s * 1e3:,.2f}",
            f"{iteration.speedup_vs_dense:.3f}x",
        )
    terminal = console()
    terminal.print(table)
    terminal.print(_run_summary(result), highlight=False)


def print_headline(results: list[SimResult]) -> None:
    """Speedup of each network, what its MACs alone would allow, and the mean beside the published one."""
    table = Table(
        title=f"BDWP {results[0].nm} against dense training, both on {results[0].arch_name}",
        title_justify="left",
    )
    table.add_column("network")
    for title in ("batch", "dense cycles", "sparse cycles", "speedup", "MAC ratio", "vector unit's share"):
        table.add_column(title, justify="right")
    for result in results:
        total = result.total
        table.add_row(
            result.workload_name,
            str(result.batch),
            f"{result.baseline.total_cycles:,}" if result.baseline else "",
            f"{result.total_cycles:,}",
            f"{result.speedup_vs_dense:.3f}x",
            f"{total.dense_macs / total.macs:.3f}x",
            f"{total.stall_cycles['vector'] / total.cycles:.1%}",
        )
    terminal = console()
    terminal.print(table)
    terminal.print(
        f"Mean speedup {mean_speedup(results):.3f}x; published: {PUBLISHED_SPEEDUP}x at {PUBLISHED_NM} "
        "(average over the paper's own networks, batch sizes and memory system)",
        highlight=False,
    )


def print_schedule(program: Program) -> None:
    """What the scheduler chose for every GEMM."""
    table = Table(title=f"Schedule of {printable(program.name)}, {program.method}", title_justify="left")
    for title in (
        "operation",
        "N:M",
        "dataflow",
        "tile i x k x j",
        "order",
        "resident",
        "tiles",
        "predicted cycles",
    ):
        table.add_column(title, justify="right" if title in ("tiles", "predicted cycles") else "left")
    for step in program.steps:
        choice = step.choice
        if choice is None:
            continue
        table.add_row(
            printable(step.name),
            "dense" if step.n == step.m else f"{step.n}:{step.m}",
            choice.dataflow.upper() + (" (transposed)" if choice.transposed else ""),
            f"{choice.i} x {choice.k} x {choice.j}",
            choice.order + "k",
            ", ".join(choice.resident),
            f"{step.tiles:,}",
            f"{choice.predicted_cycles:,}",
        )
    console().print(table)


def console() -> Console:
    """Shows names as they are: they come from files, and may look like markup."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, markup=False, emoji=False)


def _header(result: SimResult, arch: Arch) -> Text:
    array = arch.array
    sparsity = "dense" if result.method == "dense" else f"{result.method} {result.nm}"
    return Text.assemble(
        (printable(result.workload_name), "bold"),
        f", batch {result.batch}, {sparsity}, one training iteration on ",
        (arch.name, "bold"),
        f" ({array.rows}x{array.cols} array, {arch.clock_hz / 1e6:g} MHz, {arch.dram.kind} "
        f"x{arch.dram.channels})\n"
        f"{result.params:,} parameters, {result.forward_macs_per_sample:,} forward and "
        f"{result.training_macs_per_sample:,} training MACs a sample (dense)",
    )


def _stage_table(result: SimResult) -> Table:
    table = Table(title="Stages", title_justify="left")
    table.add_column("stage")
    _add_columns(table)
    baseline = {} if result.baseline is None else result.baseline.stages
    for stage, share in result.stages.items():
        table.add_row(stage.upper(), *_cells(result, share, baseline.get(stage)))
    table.add_section()
    dense = None if result.baseline is None else result.baseline.total
    table.add_row("total", *_cells(result, result.total, dense), style="bold")
    return table


def _layer_table(result: SimResult) -> Table:
    table = Table(title="Layers", title_justify="left")
    table.add_column("layer")
    table.add_column("stage")
    _add_columns(table)
    for layer, shares in result.layers.items():
        dense_shares = {} if result.baseline is None else result.baseline.layers.get(layer, {})
        for stage, share in shares.items():
            table.add_row(printable(layer), stage, *_cells(result, share, dense_shares.get(stage)))
    return table


def _stall_table(result: SimResult) -> Table:
    table = Table(title="Where the array's time goes", title_justify="left")
    table.add_column("cause")
    table.add_column("cycles", justify="right")
    table.add_column("share", justify="right")
    table.add_column("meaning")
    stalls = result.total.stall_cycles
    useful = result.total_cycles - sum(stalls.values())
    rows = [("useful", useful, "multiply-accumulates that the model needs")]
    rows += [
        (cause, stalls[cause], STALL_CAUSES[cause])
        for cause in sorted(stalls, key=lambda name: -stalls[name])
    ]
    for cause, cycles, meaning in rows:
        table.add_row(cause, f"{cycles:,}", f"{cycles / result.total_cycles:.1%}", meaning)
    return table


def _add_columns(table: Table) -> None:
    for title in COLUMNS[:-1]:
        table.add_column(title, justify="right")
    table.add_column(COLUMNS[-1], no_wrap=True)


def _cells(result: SimResult, share: Share, dense: Share | None) -> list[str]:
    moved_bytes = share.read_bytes + share.write_bytes
    return [
        f"{share.cycles:,}",
        f"{share.cycles / result.total_cycles:.1%}",
        f"{result.seconds(share.cycles) * 1e3:,.2f}",
        f"{result.utilization(share):.1%}",
        f"{moved_bytes / 1e9:.3f}",
        f"{result.gops(share.macs, share.cycles):,.1f}",
        f"{result.gops(share.dense_macs, share.cycles):,.1f}",
        "" if dense is None or not share.cycles else f"{dense.cycles / share.cycles:.2f}x",
        _main_stalls(share),
    ]


def _main_stalls(share: Share) -> str:
    """The largest causes of idle time with their share of the part's cycles."""
    stalls = sorted(share.stall_cycles.items(), key=lambda item: -item[1])[:MAIN_STALLS]
    return ", ".join(
        f"{cause} {cycles / share.cycles:.0%}" for cause, cycles in stalls if 200 * cycles > share.cycles
    )


def _summary(result: SimResult) -> str:
    lines = [
        f"Iteration: {result.total_cycles:,} cycles = {result.latency_s * 1e3:,.1f} ms, "
        f"{result.batch / result.latency_s:,.1f} samples/s; "
        f"closed-form lower bound {result.bound_cycles:,} cycles ({result.bound_cycles / result.total_cycles:.0%})"
    ]
    if result.baseline is not None and result.method != "dense":
        lines.append(
            f"Speedup over dense training on the same hardware: {result.speedup_vs_dense:.3f}x "
            f"({result.baseline.total_cycles:,} dense cycles)"
        )
    return "\n".join(lines)


def _run_summary(result: RunResult) -> str:
    run = result.run
    return (
        f"Whole run: {run.steps:,} of {run.planned_steps:,} steps, {result.total_cycles:,} cycles = "
        f"{result.total_s:,.2f} s; {result.speedup_vs_dense:.3f}x dense training "
        f"({result.dense_cycles:,} cycles). Iterations only, without evaluation and host.\n"
        f"Reached: {reached(run.train_loss, run.validation_loss, run.validation_accuracy)}"
    )
