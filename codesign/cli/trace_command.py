"""`codesign trace`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from workloads.trace import Trace

DEFAULT_FOLDER = Path("traces")


@click.command("trace")
@click.argument("target", required=False)
@click.option(
    "--hf-config",
    type=click.Path(path_type=Path),
    help="config.json of transformers, in place of TARGET.",
)
@click.option("--input", "shape", metavar="SHAPE", help="Shape of one sample: 3x224x224, 128 tokens.")
@click.option("--batch", type=int, default=64, show_default=True, help="Samples per iteration.")
@click.option(
    "--tokens",
    "vocab",
    type=click.IntRange(min=1),
    metavar="VOCAB",
    help="Samples are token numbers below VOCAB; named language models get this vocabulary.",
)
@click.option(
    "--optimizer", type=click.Choice(["sgd", "adamw"]), help="[default: that of the named network, or sgd]"
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for trace.json. [default: traces/NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable object and nothing else.")
def command(out: Path | None, as_json: bool, **chosen: Any) -> None:
    """Trace one training iteration of any torch model, for `codesign simulate --workload trace.json`.

    TARGET is a named network, or `module:function`: a function or class that is called without arguments and returns
    a torch.nn.Module. The module is looked for in the current directory, too. IMPORTING IT RUNS ITS CODE: trace only
    what you trust. No weights are made, no data is read: the model is built and called once on torch's meta device.

    The loss stands on the first floating tensor that the model returns (`logits` if there are any); what does not
    reach it is left out.
    """
    from codesign.output_files import ensure_writable, write_files
    from workloads.run_trace import FILE_NAME, RunTrace

    ensure_writable(out or DEFAULT_FOLDER)
    trace = _trace(**chosen)
    folder = out or DEFAULT_FOLDER / trace.name.replace(":", "-")
    write_files(folder, {FILE_NAME: RunTrace(iteration=trace).to_json()})
    summary = _summary(trace) | {"file": str(folder / FILE_NAME)}
    click.echo(json.dumps(summary) if as_json else _table(summary))


def _trace(**chosen: Any) -> Trace:
    from codesign.errors import SpecError

    try:
        from codesign.train.tracer_target import trace_target
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise SpecError("tracing a model needs torch; run: pip install codesign[train]") from None
    return trace_target(**chosen)


def _summary(trace: Trace) -> dict[str, Any]:
    return {
        "name": trace.name,
        "batch": trace.batch,
        "optimizer": trace.optimizer,
        "operations": len(trace.ops),
        "layers": len(trace.layers),
        "params": trace.params,
        "forward_macs_per_sample": trace.forward_macs_per_sample,
        "training_macs_per_sample": trace.training_macs_per_sample,
    }


def _table(summary: dict[str, Any]) -> str:
    """One quantity a line, numbers with separators."""
    width = max(map(len, summary))
    shown = {name: f"{value:,}" if isinstance(value, int) else value for name, value in summary.items()}
    return "\n".join(f"{name.replace('_', ' '):{width}}  {value}" for name, value in shown.items())
