"""What N:M masks add to a training step: ResNet-18 for CIFAR, forward, backward and update, against dense training.

Baseline: the same network without `sparsify`. No kernel here skips zeros, so a sparse step costs the dense step plus
what making and using the masks takes; on an accelerator like SAT that part runs beside the arithmetic. Times are CPU
times, which other work on the machine disturbs less. Cases take turns, and the ratio is the median over turns of one
case's time by the baseline's in the same turn.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import click
import torch
from torch.nn import functional

from codesign.nm.format import NM
from codesign.train import METHODS, Method, follow, sparsify
from workloads.models import build


@click.command()
@click.option("--methods", default="bdwp", show_default=True, help="Methods, separated by commas.")
@click.option("--nm", default="2:8", show_default=True, help="Ratio, N kept of M.")
@click.option("--batch", type=click.IntRange(min=2), default=32, show_default=True, help="Images of a step.")
@click.option("--runs", type=click.IntRange(min=1), default=15, show_default=True, help="Steps of each case.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of torch.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(methods: str, nm: str, batch: int, runs: int, threads: int, as_json: bool) -> None:
    """Time of a training step of ResNet-18 for CIFAR, as a multiple of the dense step's."""
    torch.set_num_threads(threads)
    ratio = NM.parse(nm)
    steps = {"dense": training_step(None, batch)}
    steps |= {name: training_step(METHODS[name](nm=ratio), batch) for name in methods.split(",")}
    seconds = take_turns(steps, runs)
    rows = {
        name: {"ms": 1e3 * statistics.median(each), "dense_steps": by_dense(each, seconds["dense"])}
        for name, each in seconds.items()
    }
    if as_json:
        click.echo(
            json.dumps({"benchmark": "training step", "nm": nm, "batch": batch, "cases": rows}, indent=2)
        )
        return
    for name, row in rows.items():
        click.echo(f"{name:16} {row['ms']:8.1f} ms {row['dense_steps']:8.3f} x dense")


def by_dense(seconds: list[float], dense: list[float]) -> float:
    """Median of the ratios of runs in the same turn."""
    return statistics.median(a / b for a, b in zip(seconds, dense, strict=True))


def training_step(method: Method | None, batch: int) -> Callable[[], None]:
    """A training step under a method; None is a network that was never sparse."""
    torch.manual_seed(0)
    model = build("resnet18-cifar")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    if method:
        sparsify(model, method)
    follow(model, optimizer)
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def take_turns(cases: dict[str, Callable[[], None]], runs: int) -> dict[str, list[float]]:
    """CPU seconds of each run of each case, after two turns that are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(-2, runs):
        for name, case in cases.items():
            start = time.process_time()
            case()
            if turn >= 0:
                seconds[name].append(time.process_time() - start)
    return seconds


if __name__ == "__main__":
    main()
