"""The command line. Each command lives in a module of its own and is imported only when it is used."""

from __future__ import annotations

import importlib
import os
import sys

import click

from codesign import __version__
from codesign.errors import CodesignError

COMMANDS = {
    "simulate": "Simulate one training iteration: cycles, stalls, traffic, speedup over dense.",
    "train": "Train a network with sparse weights; record a trace of the training.",
    "compare-methods": "Train a network with several methods; compare accuracy and hardware time.",
    "verify": "Compute a recorded training step as the accelerator would; compare with PyTorch.",
    "trace": "Trace any torch model without training it.",
    "schedule": "Show what the offline scheduler chose for every operation.",
    "headline": "Compare the mean speedup over dense training with the published one.",
    "sweep": "Simulate many points of a design space; resumable; show the Pareto front.",
    "resources": "Estimate the FPGA resources of an architecture, and whether it fits a device.",
    "energies": "Show what each action of an architecture costs, in picojoules.",
    "report": "Make a self-contained HTML report of a simulation or a sweep.",
    "compare": "Put two results side by side: what changed, and why.",
    "export": "Write the accelerator as a Vitis HLS project with golden data, and simulate it in C.",
    "hls-report": "Compare synthesis reports of Vitis HLS with the models; write an overlay.",
    "hls4ml": "Export a trained sparse network as an hls4ml project, for inference.",
    "validate": "Compare the simulator with others: SCALE-Sim, ZigZag, RTL, bounds, measurements.",
    "schema": "Print the JSON Schema of a file format, for editors.",
    "list": "List the packaged architectures, workloads and training methods.",
}

EXIT_BAD_INPUT = 2


class _LazyGroup(click.Group):
    """Knows its commands by name and imports the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = name.replace("-", "_")
        command: click.Command = importlib.import_module(f"codesign.cli.{module}_command").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="codesign")
@click.pass_context
def cli(context: click.Context) -> None:
    """N:M sparse DNN training, from the algorithm to the accelerator."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command line; bad input gives one line on stderr and exit status 2."""
    try:
        sys.exit(cli.main(prog_name="codesign", standalone_mode=False) or 0)
    except (CodesignError, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"codesign: error: {' '.join(text.split())}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except click.Abort:
        sys.exit(130)
    except OSError as error:  # standard output cannot be written: the disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # drops what its buffer holds
        click.echo(f"codesign: error: cannot write the output: {error.strerror or error}", err=True)
        sys.exit(EXIT_BAD_INPUT)
