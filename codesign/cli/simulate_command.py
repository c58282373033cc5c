"""`codesign simulate`."""

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
from codesign.cli.progress import steps_bar


@click.command("simulate")
@arch_option
@workload_options
@hardware_options
@click.option("--layers", is_flag=True, help="Also show every layer.")
@click.option(
    "--ablation", is_flag=True, help="Switch the optimizations on one by one and show what each is worth."
)
@click.option(
    "--full", is_flag=True, help="Step through every event instead of skipping steady states (slower)."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for result.json, layers.csv, timeline.json, resolved.yaml.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(
    arch: str,
    workload: str,
    batch: int | None,
    seq_len: int | None,
    classes: int | None,
    input_size: int | None,
    method: str | None,
    nm: str | None,
    layers: bool,
    ablation: bool,
    full: bool,
    out: Path | None,
    as_json: bool,
    **hardware: Any,
) -> None:
    """Simulate one training iteration of a workload on an architecture.

    Shows cycles by stage, where the time goes, memory traffic, and the speedup over dense training on the same
    hardware.
    """
    from codesign.report.files import ensure_writable, write_result

    if out is not None:
        ensure_writable(out)
    machine = resolve_arch(arch, **hardware)
    trained_with, ratio = resolve_method(method, nm, machine)
    trace = resolve_workload(workload, batch, seq_len, classes, input_size)

    from codesign.ablation import ladder
    from codesign.simulate import simulate

    with steps_bar(f"simulating {trace.name}", quiet=as_json) as on_step:
        result = simulate(machine, trace, method=trained_with, nm=ratio, full=full, on_step=on_step)
        rungs = (
            ladder(machine, trace, method=trained_with, nm=ratio, full=full, on_step=on_step)
            if ablation
            else []
        )
    if out is not None:
        write_result(out, result, machine, rungs)
    if as_json:
        from codesign.report.machine_readable import to_json

        click.echo(to_json(result, rungs))
        return

    from codesign.report.tables import print_ablation, print_result

    print_result(result, machine, layers=layers)
    if rungs:
        print_ablation(rungs)
    if out is not None:
        click.echo(
            f"Written to {out}: result.json, layers.csv, timeline.json (open in ui.perfetto.dev), resolved.yaml"
        )
