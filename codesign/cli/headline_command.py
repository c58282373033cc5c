"""`codesign headline`."""

from __future__ import annotations

import click

from codesign.cli.options import DEFAULT_NM, arch_option, resolve_method
from codesign.cli.progress import steps_bar


@click.command("headline")
@arch_option
@click.option("--batch", type=int, default=64, show_default=True, help="Samples per iteration.")
@click.option("--nm", default=DEFAULT_NM, show_default=True, help="N:M ratio, N kept of M.")
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(arch: str, batch: int, nm: str, as_json: bool) -> None:
    """Compare the mean speedup of BDWP over dense training with the published one."""
    from codesign.headline import headline
    from hw_models.arch import load_arch

    machine = load_arch(arch)
    _, ratio = resolve_method("bdwp", nm, machine)
    assert ratio is not None
    with steps_bar("simulating", quiet=as_json) as on_step:
        results = list(headline(machine, batch=batch, nm=ratio, on_step=on_step))
    if as_json:
        from codesign.report.machine_readable import headline_json

        click.echo(headline_json(results))
        return

    from codesign.report.tables import print_headline

    print_headline(results)
