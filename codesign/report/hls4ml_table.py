"""What an hls4ml export holds and how it agrees with PyTorch, as a terminal table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from codesign.report.tables import console
from codesign.spec_errors import printable

if TYPE_CHECKING:
    from hls.hls4ml_bridge import Exported


def print_export(exported: Exported) -> None:
    """A row for each layer with weights, their sum, and the agreement."""
    table = Table(title="Exported layers, beside the same network exported dense", title_justify="left")
    for title in ("layer", "N:M"):
        table.add_column(title)
    for title in ("steps", "weight bits", "dense", "multiplications", "dense"):
        table.add_column(title, justify="right")
    for layer in exported.layers:
        amounts = (
            layer.weight_bits,
            layer.dense_weight_bits,
            layer.multiplications,
            layer.dense_multiplications,
        )
        name = printable(layer.name)
        table.add_row(name, layer.nm or "dense", str(layer.steps), *(f"{amount:,}" for amount in amounts))
    quantities = ("weight_bits", "dense_weight_bits", "multiplications", "dense_multiplications")
    table.add_section()
    table.add_row("total", "", "", *(f"{exported.total(name):,}" for name in quantities), style="bold")
    terminal = console()
    terminal.print(table)
    agreement = exported.agreement
    terminal.print(
        f"C simulation beside PyTorch, {agreement.samples:,} samples: same class {agreement.same_class:.1%}, "
        f"largest difference of a logit {agreement.max_error:.3g}",
        highlight=False,
    )
