"""`codesign verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from codesign.cli.options import arch_option
from codesign.cli.progress import announce_compilation, steps_bar

if TYPE_CHECKING:
    from hw_models.arch import Arch

EXIT_BROKEN = 1


@click.command("verify")
@arch_option
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    required=True,
    help="Trace folder of a run that was trained with --record-tensors.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(arch: Arch, trace: Path, as_json: bool) -> None:
    """Compute a recorded training step as the accelerator would, and compare with PyTorch.

    Every FF, BP and WU product in 16-bit operands and FP32 sums, in the order of the schedule; the pruned weights;
    the update. Differences stand beside bounds that are derived for every element; if one is broken the exit status
    is 1.
    """
    from codesign.verify import verify
    from workloads.recording import load_tensors
    from workloads.run_trace import load_run_trace

    recorded, tensors = load_run_trace(trace), load_tensors(trace)
    announce_compilation(quiet=as_json)
    with steps_bar("computing", quiet=as_json) as on_layer:
        checks = list(verify(arch, recorded, tensors, on_layer=on_layer))

    from codesign.report.verify_table import checks_json, print_checks

    if as_json:
        click.echo(checks_json(checks))
    else:
        print_checks(checks)
    if not all(check.holds for check in checks):
        raise SystemExit(EXIT_BROKEN)
