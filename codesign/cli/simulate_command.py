"""`codesign simulate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from codesign.cli.options import DEFAULT_ENERGY, ENERGY_SOURCES, resolve, setup_options
from codesign.cli.progress import steps_bar


@click.command("simulate")
@setup_options
@click.option("--layers", is_flag=True, help="Also show every layer.")
@click.option(
    "--ablation", is_flag=True, help="Switch the optimizations on one by one and show what each is worth."
)
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Halve and double each assumed constant and show how the speedup moves.",
)
@click.option(
    "--full", is_flag=True, help="Step through every event instead of skipping steady states (slower)."
)
@click.option(
    "--energy",
    is_flag=False,
    flag_value=DEFAULT_ENERGY,
    metavar="[TECHNOLOGY|FILE]",
    help=f"Also estimate energy: {ENERGY_SOURCES}.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for result.json, layers.csv, timeline.json, resolved.yaml.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(
    layers: bool,
    ablation: bool,
    sensitivity: bool,
    full: bool,
    energy: str | None,
    out: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Simulate one training iteration of a workload on an architecture.

    Shows cycles by stage, where the time goes, memory traffic, and the speedup over dense training on the same
    hardware. With the trace of a training run also the time of the whole run, beside the accuracy that it reached.
    """
    from codesign.output_files import ensure_writable
    from codesign.report.files import write_result

    if out is not None:
        ensure_writable(out)
    setup = resolve(**chosen)

    from codesign.ablation import ladder
    from codesign.energy.estimate import energy_of
    from codesign.energy.sources import load_energy_table
    from codesign.sensitivity import sensitivity as swings_of
    from codesign.simulate import simulate_trace
    from codesign.simulate_run import simulate_run

    table = load_energy_table(setup.arch, energy) if energy is not None else None
    with steps_bar(f"simulating {setup.iteration.name}", quiet=as_json) as on_step:
        how: dict[str, Any] = {"full": full, "on_step": on_step}
        run = simulate_run(setup.arch, setup.iteration, setup.run, **how) if setup.run else None
        result = run.main if run else simulate_trace(setup.arch, setup.iteration, **how)
        rungs = ladder(setup.arch, setup.iteration, **how) if ablation else []
        swings = swings_of(setup.arch, setup.iteration, **how) if sensitivity else []
    spent = energy_of(result, table) if table else None
    sections = {
        "ablation": [asdict(rung) for rung in rungs],
        "sensitivity": [asdict(swing) for swing in swings],
        "run": run.as_dict() if run else None,
        "energy": spent.as_dict() if spent else None,
    }
    if out is not None:
        write_result(out, result, setup.arch, sections)
    if as_json:
        from codesign.report.machine_readable import to_json

        click.echo(to_json(result, sections))
        return

    from codesign.report.energy_table import print_energy
    from codesign.report.tables import print_ablation, print_result, print_run, print_sensitivity

    print_result(result, setup.arch, layers=layers)
    if spent:
        print_energy(spent)
    if rungs:
        print_ablation(rungs)
    if swings:
        print_sensitivity(swings, result)
    if run:
        print_run(run)
    if out is not None:
        click.echo(
            f"Written to {out}: result.json, layers.csv, timeline.json (open in ui.perfetto.dev), resolved.yaml; "
            f"`codesign report {out}` makes a page of them"
        )
