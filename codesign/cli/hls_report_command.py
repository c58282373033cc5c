"""`codesign hls-report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from codesign.cli.options import arch_option

if TYPE_CHECKING:
    from hw_models.arch import Arch


@click.command("hls-report")
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="REPORT...")
@arch_option
@click.option(
    "--write",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file for what synthesis found, to simulate with: `codesign simulate --overlay FILE`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(reports: tuple[Path, ...], arch: Arch, write: Path | None, as_json: bool) -> None:
    """Compare synthesis reports of Vitis HLS, MODULE_csynth.xml, with what the models predict.

    Clock, latency, initiation interval and resources of each module. The tops stce, sore, wuve, vector_unit and sat
    are compared with that block of the architecture, sat with all of it.
    """
    from codesign.output_files import ensure_file_writable, write_files
    from codesign.report.synthesis_table import print_synthesis, synthesis_json
    from codesign.resources.synthesis import compare
    from hls.csynth import overlay, overlay_text, read_csynth

    if write is not None:
        ensure_file_writable(write)
    found = [read_csynth(path) for path in reports]
    rows, parameters = compare(arch, found), overlay(arch, found)
    if write is not None:
        write_files(write.parent, {write.name: overlay_text(arch, found)})
    if as_json:
        click.echo(synthesis_json(found, rows, parameters))
        return
    print_synthesis(arch.name, rows, parameters)
    if write is not None:
        click.echo(f"Written to {write}")
