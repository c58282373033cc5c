"""`codesign export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from codesign.cli.options import arch_option, split_parameters
from codesign.cli.progress import announce_compilation

if TYPE_CHECKING:
    from hls.export import Project, Target
    from hw_models.arch import Arch

DEFAULT_PLATFORM = "xilinx_u200_gen3x16_xdma_2_202110_1"
DEFAULT_PART = "xcvu9p-fsgd2104-2L-e"


@click.command("export")
@arch_option
@click.option(
    "--set",
    "parameters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace an architecture parameter, such as array.rows=8. Repeatable.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    help="Export a recorded step: trace folder of a run that was trained with --record-tensors.",
)
@click.option(
    "--iteration",
    type=click.Path(path_type=Path),
    help="Export a whole training iteration: folder of a training run, which is continued.",
)
@click.option(
    "--batch", type=click.IntRange(min=1), help="With --iteration: batch size. [default: the run's]"
)
@click.option(
    "--iterations",
    type=click.IntRange(1, 100),
    help="With --iteration: how many to check, each on the run's next batch. [default: 2]",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the project.")
@click.option("--platform", default=DEFAULT_PLATFORM, show_default=True, help="Vitis platform to link for.")
@click.option("--part", default=DEFAULT_PART, show_default=True, help="FPGA part to synthesise for.")
@click.option("--clock", type=float, help="Clock of the kernel in MHz. [default: the architecture's]")
@click.option("--csim", is_flag=True, help="Compile the project with g++ and run its C-simulation.")
@click.option("--force", is_flag=True, help="Replace a project that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(
    arch: Arch,
    parameters: tuple[str, ...],
    trace: Path | None,
    iteration: Path | None,
    batch: int | None,
    iterations: int | None,
    out: Path,
    platform: str,
    part: str,
    clock: float | None,
    csim: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a recorded training step or a whole training iteration as a Vitis project of the accelerator.

    The project holds the kernels, a program, golden data, a testbench for C-simulation, and host programs. The
    program is every recorded layer's FF, BP, WU, update and pruning (--trace), or an iteration of the whole network,
    with the loss and all that is between the weight layers (--iteration).
    """
    from codesign.errors import SpecError
    from codesign.report.export_table import export_json, print_export
    from hls.export import Target
    from hls.project_folder import check_place, check_tools, write_project

    if (trace is None) == (iteration is None):
        raise SpecError("codesign export: expected either --trace or --iteration")
    if trace and (batch or iterations):
        raise SpecError(
            "--batch and --iterations: a recorded step has its own batch; use them with --iteration"
        )
    check_place(out, force)
    if csim:
        check_tools()
    machine = arch.with_overrides(_values(parameters)) if parameters else arch
    target = Target(platform, part, machine.clock_hz / 1e6 if clock is None else clock)
    announce_compilation(quiet=as_json)
    project = (
        _recorded(machine, trace, target)
        if trace
        else _iteration(machine, cast(Path, iteration), batch, iterations or 2, target)
    )
    said = write_project(out, project.files, force, csim)
    if as_json:
        click.echo(export_json(project, out, said))
    else:
        print_export(project, out, said)


def _recorded(arch: Arch, trace: Path, target: Target) -> Project:
    from hls.export import export
    from workloads.recording import load_tensors
    from workloads.run_trace import load_run_trace

    return export(arch, load_run_trace(trace), load_tensors(trace), target)


def _iteration(arch: Arch, folder: Path, batch: int | None, iterations: int, target: Target) -> Project:
    from hls.iteration.export import export_iteration
    from hls.iteration.torch_run import load_run

    return export_iteration(arch, load_run(folder, batch=batch, iterations=iterations), target)


def _values(parameters: tuple[str, ...]) -> dict[str, Any]:
    """`array.rows=8` as an override. Raises SpecError."""
    from codesign.strict_yaml import loads

    texts = split_parameters(parameters, "VALUE")
    return {key: loads(text, f"--set {key}").data for key, text in texts}
