"""`codesign energies`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from codesign.cli.options import DEFAULT_ENERGY, ENERGY_SOURCES, arch_option

if TYPE_CHECKING:
    from hw_models.arch import Arch


@click.command("energies")
@arch_option
@click.option(
    "--energy",
    default=DEFAULT_ENERGY,
    metavar="[TECHNOLOGY|FILE]",
    help=f"Whose prices: {ENERGY_SOURCES}.",
)
@click.option(
    "--ert", is_flag=True, help="Print an energy reference table, which Accelergy reads, and nothing else."
)
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(arch: Arch, energy: str, ert: bool, as_json: bool) -> None:
    """Show what each action of an architecture costs: one multiplication, one bit read from a buffer, and so on.

    Picojoules from low to high, with the weakest status of the figures behind them. These are the prices that
    `simulate --energy` multiplies the simulator's counts with.
    """
    import json

    from codesign.energy.ert import write_ert
    from codesign.energy.sources import load_energy_table

    if ert and as_json:
        raise click.UsageError("--ert and --json print different things: expected one of them")
    table = load_energy_table(arch, energy)
    if ert:
        click.echo(write_ert(table, arch.name), nl=False)
    elif as_json:
        click.echo(json.dumps({"arch": arch.name} | table.as_dict(), indent=2, allow_nan=False))
    else:
        from codesign.report.energy_table import print_prices

        print_prices(table, arch.name)
