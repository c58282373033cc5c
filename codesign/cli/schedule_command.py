"""`codesign schedule`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from codesign.cli.options import resolve, setup_options


@click.command("schedule")
@setup_options
@click.option("--out", type=click.Path(path_type=Path), help="File for the whole program as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole program as JSON and nothing else.")
def command(out: Path | None, as_json: bool, **chosen: Any) -> None:
    """Show what the offline scheduler chose for every GEMM: dataflow, tile sizes, loop order, predicted cycles."""
    from codesign.output_files import ensure_file_writable, write_files

    if out is not None:
        ensure_file_writable(out)
    setup = resolve(**chosen)

    from codesign.schedule import schedule

    program = schedule(setup.iteration, setup.arch)
    if out is not None:
        write_files(out.parent, {out.name: program.to_json() + "\n"})
    if as_json:
        click.echo(program.to_json())
        return

    from codesign.report.tables import print_schedule

    print_schedule(program)
