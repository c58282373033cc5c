"""Options of commands that train. What is not given is None, and has the default of `codesign.train.config`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def _options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """All of them as one decorator, in this order in the help."""

    def apply(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


network_options = _options(
    click.option("--model", help="Network to train, see `codesign list workloads`, or mlp:AxB."),
    click.option("--data", help="digits, cifar10:DIR, cifar100:DIR, imagefolder:PATH or text[:PATH]."),
    click.option("--input-size", type=int, help="Height and width of the images. [default: the network's]"),
    click.option("--seq-len", type=int, help="Tokens of a sequence. [default: the network's]"),
)
sparsity_options = _options(
    click.option("--method", help="Training method. [default: bdwp]"),
    click.option("--nm", help="N:M ratio, N kept of M. [default: 2:8]"),
    click.option("--mvue", metavar="N:M", help="Also prune the gradient of WU, unbiased, at this ratio."),
    click.option("--first-dense/--first-sparse", default=None, help="First layer. [default: dense]"),
    click.option("--head-dense/--head-sparse", default=None, help="Last layer. [default: sparse]"),
    click.option(
        "--override",
        "overrides",
        multiple=True,
        metavar="LAYER=N:M",
        help="Another ratio, or dense, for layers that match a pattern. Repeatable.",
    ),
    click.option(
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the method, such as refresh_steps=40. Repeatable.",
    ),
    click.option("--schedule-start", type=float, help="Dense up to this share of the run. [default: 0]"),
    click.option("--schedule-full", type=float, help="N:M is reached at this share. [default: 0]"),
    click.option("--schedule-dense", type=float, help="Dense again from this share on. [default: 1]"),
    click.option(
        "--teacher", metavar="FILE", help="model.safetensors of a dense run, for --method ast or cast."
    ),
)
training_options = _options(
    click.option("--epochs", type=int, help="Length of the run. [default: 10]"),
    click.option("--steps", type=int, help="Length of the run in optimizer steps instead."),
    click.option("--batch", type=int, help="Samples of a batch. [default: 64]"),
    click.option("--accumulate", type=int, help="Batches of an optimizer step. [default: 1]"),
    click.option(
        "--optimizer", type=click.Choice(["sgd", "adamw"]), help="[default: adamw for transformers, else sgd]"
    ),
    click.option("--lr", type=float, help="Peak learning rate. [default: sgd 0.05, adamw 0.001]"),
    click.option(
        "--lr-decay", type=click.Choice(["cosine", "none"]), help="Its decay to 0. [default: cosine]"
    ),
    click.option(
        "--warmup", type=float, help="Share of the run with rising rate. [default: 0.05, adamw 0.1]"
    ),
    click.option("--warmup-steps", type=int, help="The same in optimizer steps instead."),
    click.option("--momentum", type=float, help="Momentum, or first beta of AdamW. [default: 0.9]"),
    click.option("--weight-decay", type=float, help="Decay of weights. [default: sgd 0.0005, adamw 0.05]"),
    click.option("--label-smoothing", type=float, help="Label smoothing. [default: 0]"),
    click.option(
        "--grad-clip", type=float, help="Largest gradient norm, 0 for any. [default: sgd 0, adamw 1]"
    ),
)
machine_options = _options(
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="[default: auto]"),
    click.option("--amp", type=click.Choice(["off", "bf16"]), help="Mixed precision. [default: off]"),
    click.option("--threads", type=int, help="CPU threads. [default: torch's]"),
)
record_options = _options(
    click.option(
        "--record-every", type=int, help="Steps between statistics, 0: none. [default: 20 in the run]"
    ),
    click.option("--record-tensors", metavar="LAYER,...", help="Record all tensors of layers, by pattern."),
    click.option("--record-at", type=int, help="Step at which they are recorded. [default: the last]"),
    click.option("--log-every", type=int, help="Steps between lines of metrics. [default: 1; fewer if long]"),
    click.option("--checkpoint-every", type=int, help="Steps between checkpoints; epoch ends have one, too."),
    click.option("--tensorboard", is_flag=True, default=None, help="Also write event files of TensorBoard."),
)
