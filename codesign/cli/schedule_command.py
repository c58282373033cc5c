"""`codesign schedule`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from codesign.cli.options import (
    arch_option,
    hardware_options,
    resolve_arch,
    resolve_method,
    resolve_workload,
    workload_options,
)


@click.command("schedule")
@arch_option
@workload_options
@hardware_options
@click.option("--out", type=click.Path(path_type=Path), help="File for the whole program as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole program as JSON and nothing else.")
def command(
    arch: str,
    workload: str,
    batch: int | None,
    seq_len: int | None,
    classes: int | None,
    input_size: int | None,
    method: str | None,
    nm: str | None,
    out: Path | None,
    as_json: bool,
    **hardware: Any,
) -> None:
    """Show what the offline scheduler chose for every GEMM: dataflow, tile sizes, loop order, predicted cycles."""
    from codesign.report.files import ensure_file_writable, write_files

    if out is not None:
        ensure_file_writable(out)
    machine = resolve_arch(arch, **hardware)
    trained_with, ratio = resolve_method(method, nm, machine)
    trace = resolve_workload(workload, batch, seq_len, classes, input_size)

    from codesign.schedule import schedule
    from workloads.sparsity import apply_method

    program = schedule(apply_method(trace, trained_with, ratio)[0], machine)
    if out is not None:
        write_files(out.parent, {out.name: program.to_json() + "\n"})
    if as_json:
        click.echo(program.to_json())
        return

    from codesign.report.tables import print_schedule

    print_schedule(program)
