"""`codesign simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from codesign.cli.options import resolve, setup_options
from codesign.cli.progress import steps_bar


@click.command("simulate")
@setup_options
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
def command(layers: bool, ablation: bool, full: bool, out: Path | None, as_json: bool, **chosen: Any) -> None:
    """Simulate one training iteration of a workload on an architecture.

    Shows cycles by stage, where the time goes, memory traffic, and the speedup over dense training on the same
    hardware.
    """
    from codesign.report.files import ensure_writable, write_result

    if out is not None:
        ensure_writable(out)
    setup = resolve(**chosen)

    from codesign.ablation import ladder
    from codesign.simulate import simulate

    with steps_bar(f"simulating {setup.workload.name}", quiet=as_json) as on_step:
        run: dict[str, Any] = {"method": setup.method, "nm": setup.nm, "full": full, "on_step": on_step}
        result = simulate(setup.arch, setup.workload, **run)
        rungs = ladder(setup.arch, setup.workload, **run) if ablation else []
    if out is not None:
        write_result(out, result, setup.arch, rungs)
    if as_json:
        from codesign.report.machine_readable import to_json

        click.echo(to_json(result, rungs))
        return

    from codesign.report.tables import print_ablation, print_result

    print_result(result, setup.arch, layers=layers)
    if rungs:
        print_ablation(rungs)
    if out is not None:
        click.echo(
            f"Written to {out}: result.json, layers.csv, timeline.json (open in ui.perfetto.dev), resolved.yaml"
        )
