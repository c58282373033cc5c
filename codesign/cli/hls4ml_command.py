"""`codesign hls4ml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click


@click.command("hls4ml")
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of a finished training run.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the project.")
@click.option(
    "--interface",
    type=click.Choice(["io_parallel", "io_stream"]),
    default="io_parallel",
    show_default=True,
    help="Whether a layer takes all inputs at once or as a stream (for images).",
)
@click.option(
    "--precision",
    default="fixed<16,6>",
    show_default=True,
    help="Inputs, weights, activations: fixed<BITS,INTEGER_BITS>.",
)
@click.option(
    "--reuse",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Steps that a layer may take: fewer multipliers.",
)
@click.option("--part", default="xcvu9p-fsgd2104-2L-e", show_default=True, help="FPGA.")
@click.option(
    "--clock-ns", type=click.FloatRange(0.5, 1000), default=5, show_default=True, help="Clock period (ns)."
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Validation samples that are compared with PyTorch.",
)
@click.option("--force", is_flag=True, help="Replace an earlier export in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(
    folder: Path,
    out: Path,
    interface: Literal["io_parallel", "io_stream"],
    precision: str,
    reuse: int,
    part: str,
    clock_ns: float,
    samples: int,
    force: bool,
    as_json: bool,
) -> None:
    """Export a trained sparse network as an hls4ml project for Vitis HLS, for inference.

    N:M sparse layers hold their kept weights and positions only. The project is compiled with g++ and compared with
    PyTorch on validation data before it is put into --out. Build it there: vitis-run --mode hls --tcl build_prj.tcl.
    """
    import json

    from hls.hls4ml_bridge import Settings, export, load_finished

    settings = Settings(interface, part, clock_ns, precision, reuse)
    finished = load_finished(folder, samples=samples)
    exported = export(finished.model, finished.ratios, finished.inputs, out, settings, force=force)
    if as_json:
        click.echo(json.dumps(exported.as_dict(), indent=2))
        return

    from codesign.report.hls4ml_table import print_export

    print_export(exported)
    click.echo(f"Written to {out}: an hls4ml project, and export.json")
