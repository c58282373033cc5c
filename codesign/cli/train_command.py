"""`codesign train`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codesign.cli.progress import steps_bar
from codesign.cli.train_options import (
    machine_options,
    network_options,
    record_options,
    sparsity_options,
    training_options,
)

if TYPE_CHECKING:
    from workloads.run_trace import Run


@click.command("train")
@network_options
@sparsity_options
@training_options
@click.option("--seed", type=int, help="Seed of weights, data order and augmentation. [default: 0]")
@machine_options
@record_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Continue the run in --out; its options need not be repeated.")
@click.option("--overwrite", is_flag=True, help="Replace the run in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(out: Path, resume: bool, overwrite: bool, as_json: bool, **given: Any) -> None:
    """Train a network with N:M sparse weights.

    Writes metrics.jsonl, statistics.jsonl, checkpoint.safetensors, the finished model.safetensors and a trace, from
    which `codesign simulate` tells what the run costs on an accelerator.
    """
    from codesign.train.config import TrainConfig, load_config
    from codesign.train.loop import train

    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    chosen |= {name: _pairs(name, chosen[name]) for name in ("overrides", "options") if name in chosen}
    if "record_tensors" in chosen:
        chosen["record_tensors"] = tuple(chosen["record_tensors"].split(","))
    if resume:
        chosen = load_config(out).model_dump() | chosen
    for needed in ("model", "data"):
        if needed not in chosen:
            raise click.UsageError(f"Missing option '--{needed}'.")
    config = TrainConfig(**chosen)
    with steps_bar(f"training {config.model}", quiet=as_json) as on_step:
        run = train(config, out, resume=resume, overwrite=overwrite, on_step=on_step)
    if as_json:
        click.echo(json.dumps(_summary(run, out)))
    else:
        _print(run, out)


def _pairs(name: str, texts: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping. Raises SpecError."""
    from codesign.errors import SpecError
    from codesign.spec_errors import shorten

    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise SpecError(f"--{name.removesuffix('s')} {shorten(text)!r}: expected a name, = and a value")
        if key in pairs:
            raise SpecError(f"--{name.removesuffix('s')} {shorten(key)!r} is given twice; expected it once")
        pairs[key] = value
    return pairs


def _summary(run: Run, out: Path) -> dict[str, Any]:
    """What the run came to; a layer counts as sparse if it was in any pass and phase."""
    rows = [row for phase in run.phases for row in phase.decisions]
    return {
        "model": run.model,
        "data": run.data,
        "method": run.method,
        "nm": None if run.nm is None else str(run.nm),
        "seed": run.seed,
        "steps": run.steps,
        "train_loss": run.train_loss,
        "validation_loss": run.validation_loss,
        "validation_accuracy": run.validation_accuracy,
        "sparse_layers": len({row.layer for row in rows if row.nm}),
        "layers": len({row.layer for row in rows}),
        "out": str(out),
    }


def _print(run: Run, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    told = _summary(run, out)
    table = Table(title=f"{run.model} on {run.data}, {run.method} {run.nm or ''}", title_justify="left")
    for title in ("steps", "training loss", "validation loss", "accuracy", "sparse layers"):
        table.add_column(title, justify="right")
    table.add_row(
        str(run.steps),
        *(f"{told[name]:.4f}" for name in ("train_loss", "validation_loss")),
        f"{told['validation_accuracy']:.2%}",
        f"{told['sparse_layers']} of {told['layers']}",
    )
    Console().print(table)
    click.echo(
        f"Written to {out}: model.safetensors, checkpoint.safetensors, metrics.jsonl, statistics.jsonl, trace "
        f"(try codesign simulate --trace {out / 'trace'})"
    )
