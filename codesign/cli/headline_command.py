"""`codesign headline`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from codesign.cli.options import DEFAULT_NM, arch_option, resolve_method
from codesign.cli.progress import steps_bar

if TYPE_CHECKING:
    from codesign.accelerators import Throughput
    from codesign.result import SimResult
    from hw_models.arch import Arch


@click.command("headline")
@arch_option
@click.option("--batch", type=int, default=64, show_default=True, help="Samples per iteration.")
@click.option("--nm", default=DEFAULT_NM, show_default=True, help="N:M ratio, N kept of M.")
@click.option("--accelerators", is_flag=True, help="Also compare with published FPGA training accelerators.")
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(arch: Arch, batch: int, nm: str, accelerators: bool, as_json: bool) -> None:
    """Compare the mean speedup of BDWP over dense training with the published one."""
    from codesign.headline import headline

    _, ratio = resolve_method("bdwp", nm, arch)
    assert ratio is not None
    with steps_bar("simulating", quiet=as_json) as on_step:
        results = list(headline(arch, batch=batch, nm=ratio, on_step=on_step))

    from codesign.report.machine_readable import headline_json
    from codesign.report.tables import print_headline

    reached = _throughputs(arch, results) if accelerators else []
    if as_json:
        from codesign.accelerators import comparison

        click.echo(headline_json(results, {"accelerators": comparison(reached)} if reached else None))
        return
    print_headline(results)
    if reached:
        from codesign.report.accelerators_table import print_accelerators

        print_accelerators(reached, arch.name)


def _throughputs(arch: Arch, results: list[SimResult]) -> list[Throughput]:
    """At the energies of an FPGA, which is what they are compared with."""
    from codesign.accelerators import throughputs
    from codesign.energy.sources import load_energy_table

    return throughputs(results, load_energy_table(arch, "fpga16"))
