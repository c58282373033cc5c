"""Simulated throughput and efficiency beside those of published FPGA training accelerators."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from codesign.accelerators import (
    PUBLISHED_EFFICIENCY_RATIOS,
    PUBLISHED_THROUGHPUT_RATIOS,
    Accelerator,
    Throughput,
    published_accelerators,
)
from codesign.energy.ranges import Range
from codesign.report.tables import console
from codesign.spec_errors import printable


def print_accelerators(throughputs: Sequence[Throughput], arch_name: str) -> None:
    """A table of what was simulated, one of what is published, and how they compare."""
    terminal = console()
    terminal.print(_simulated(throughputs, arch_name))
    terminal.print(_published(throughputs))
    low, high = PUBLISHED_THROUGHPUT_RATIOS
    least, most = PUBLISHED_EFFICIENCY_RATIOS
    terminal.print(
        f"SAT over it: the sparse runs above, dense-equivalent. The paper reports {low}x to {high}x the throughput "
        f"and {least}x to {most}x the energy efficiency of earlier FPGA training accelerators; which ones, and how "
        "operations were counted, its abstract does not say.",
        highlight=False,
    )


def _simulated(throughputs: Sequence[Throughput], arch_name: str) -> Table:
    table = Table(title=f"Training on {printable(arch_name)}, simulated", title_justify="left")
    table.add_column("network")
    for title in ("N:M", "GOPS", "dense-equivalent", "GOPS/W", "dense-equivalent"):
        table.add_column(title, justify="right")
    for each in throughputs:
        table.add_row(
            printable(each.workload),
            each.nm,
            f"{each.effective_gops:,.0f}",
            f"{each.dense_equivalent_gops:,.0f}",
            _range(each.effective_gops_per_w),
            _range(each.dense_equivalent_gops_per_w),
        )
    return table


def _published(throughputs: Sequence[Throughput]) -> Table:
    table = Table(title="Published FPGA training accelerators", title_justify="left")
    for title in ("name", "year", "platform", "precision"):
        table.add_column(title)
    for title in ("GOPS", "SAT over it", "GOPS/W", "SAT over it"):
        table.add_column(title, justify="right")
    sparse = [each for each in throughputs if each.effective_gops < each.dense_equivalent_gops]
    for known in published_accelerators():
        table.add_row(
            known.name,
            str(known.year),
            known.platform,
            known.precision,
            f"{known.gops:,g} ({known.gops_status})",
            _ratios([each.dense_equivalent_gops / known.gops for each in sparse]),
            f"{known.gops_per_w:,g} ({known.gops_per_w_status})",
            _ratios(_efficiency_ratios(sparse, known)),
        )
    return table


def _efficiency_ratios(sparse: Sequence[Throughput], known: Accelerator) -> list[float]:
    return [each.dense_equivalent_gops_per_w.nominal / known.gops_per_w for each in sparse]


def _ratios(ratios: Sequence[float]) -> str:
    return f"{min(ratios):.2f}x to {max(ratios):.2f}x" if ratios else ""


def _range(values: Range) -> str:
    return f"{values.nominal:.1f} ({values.low:.1f} to {values.high:.1f})"
