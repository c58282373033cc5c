"""Options of `codesign sweep` that describe a sweep; `sweep_spec` makes a description of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def _list(name: str, text: str) -> Callable[[Command], Command]:
    """An option that takes several values."""
    return click.option(name, multiple=True, metavar="A,B,...", help=text)


def spec_options(command: Command) -> Command:
    """All options that `spec_of` takes."""
    for option in reversed(
        [
            _list("--arch", "Architectures: YAML files or packaged names. [default: sat.yaml]"),
            click.option(
                "--set",
                "parameters",
                multiple=True,
                metavar="KEY=A,B,...",
                help="Values of an architecture parameter, such as array.rows=16,32. Repeatable.",
            ),
            _list("--workload", "Workloads, as for `codesign simulate`. [default: resnet18]"),
            _list("--batch", "Samples per iteration, for every workload. [default: 64]"),
            _list("--seq-len", "Tokens per sample."),
            _list("--classes", "Output classes."),
            _list("--input-size", "Height and width of the input."),
            _list("--trace", "Traces of training runs, each with its own method and ratios."),
            _list("--method", "Training methods; dense takes no N:M. [default: bdwp]"),
            _list("--nm", "N:M ratios, N kept of M. [default: 2:8]"),
            click.option(
                "--points",
                type=click.Path(path_type=Path),
                help="Instead of a grid: a list of points, YAML or CSV.",
            ),
            click.option(
                "--search",
                type=int,
                metavar="N",
                help="Instead of the whole grid: let Optuna try N points of it.",
            ),
            click.option("--sampler", help="Its optimizer, nsga2 or tpe. [default: nsga2]"),
            click.option("--seed", type=int, help="Its seed. [default: 0]"),
            _list(
                "--objectives", "What is to be best. [default: time,energy,lut, and accuracy if it is known]"
            ),
            click.option("--constraint", metavar="fits=DEVICE", help="Only what fits an FPGA can be best."),
            click.option("--device", help="FPGA whose resources count. [default: vcu1525]"),
            click.option(
                "--technology", help="Energy prices: a packaged technology or a file. [default: fpga16]"
            ),
            _list("--accuracy", "Accuracies: CSV files (workload, method, nm, accuracy) or traces of runs."),
        ]
    ):
        command = option(command)
    return command
