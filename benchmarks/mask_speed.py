"""How fast N:M masks are, against copying the weights: all convolution weights of ResNet-18, one after the other.

Baseline: a copy of the same weights into memory that is there already. Other ways to make a mask are measured beside
it: `argsort` and `scatter` as in the public SR-STE code, and `topk`, which does not promise the tie rule. Cases take
turns and the fastest of their runs counts, since other work on the machine only ever adds time. Every case uses one
thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import click
import torch
from measure import fastest_of_turns
from torch import Tensor

from codesign.nm.format import NM
from codesign.nm.torch_ops import mask, prune
from workloads.zoo.resnet import resnet


@click.command()
@click.option("--nm", default="2:8", show_default=True, help="Ratio, N kept of M.")
@click.option("--runs", type=click.IntRange(min=1), default=15, show_default=True, help="Runs of each case.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(nm: str, runs: int, as_json: bool) -> None:
    """Time to mask the convolution weights of ResNet-18, as a multiple of the time to copy them."""
    torch.set_num_threads(1)
    weights = convolution_weights()
    seconds = fastest_of_turns(cases(weights, NM.parse(nm)), runs)
    copy_s = seconds["copy"]
    rows = {name: {"ms": 1e3 * s, "copies": s / copy_s} for name, s in seconds.items()}
    if as_json:
        elements = sum(w.numel() for w in weights)
        click.echo(
            json.dumps({"benchmark": "masks", "nm": nm, "elements": elements, "cases": rows}, indent=2)
        )
        return
    for name, row in rows.items():
        click.echo(f"{name:24} {row['ms']:8.2f} ms {row['copies']:8.2f} x copy")


def convolution_weights() -> list[Tensor]:
    """Random weights (Cout, Cin, taps, taps) of every convolution of ResNet-18 but the first."""
    torch.manual_seed(0)
    kernels = [node.kernel for node in resnet(1, depth=18).nodes if node.kernel and node.kind == "conv"]
    return [torch.randn(kernel.cout, kernel.cin, *kernel.size) for kernel in kernels[1:]]


def cases(weights: list[Tensor], nm: NM) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    copies = [torch.empty_like(w) for w in weights]
    each: dict[str, Callable[[Tensor], object]] = {
        "mask along Cin": lambda w: mask(w, nm, 1),
        "mask along Cout": lambda w: mask(w, nm, 0),
        "prune along Cin": lambda w: prune(w, nm, 1),
        "prune along Cout": lambda w: prune(w, nm, 0),
        "argsort along Cin": lambda w: argsort_mask(w, nm),
        "topk along Cin": lambda w: topk_mask(w, nm),
    }
    copy = {"copy": lambda: [to.copy_(w) for to, w in zip(copies, weights, strict=True)]}
    return copy | {name: lambda f=f: [f(w) for w in weights] for name, f in each.items()}


def argsort_mask(w: Tensor, nm: NM) -> Tensor:
    """As the code of SR-STE does: channels last, sort the magnitudes of each group, scatter zeros."""
    groups = w.detach().abs().permute(0, 2, 3, 1).reshape(-1, nm.m)
    smallest = groups.argsort(dim=1)[:, : nm.m - nm.n]
    cout, cin, *taps = w.shape
    return torch.ones_like(groups).scatter_(1, smallest, 0).view(cout, *taps, cin).permute(0, 3, 1, 2)


def topk_mask(w: Tensor, nm: NM) -> Tensor:
    """The same with `topk`."""
    groups = w.detach().abs().permute(0, 2, 3, 1).reshape(-1, nm.m)
    cout, cin, *taps = w.shape
    largest = groups.topk(nm.n, dim=1, sorted=False).indices
    kept = torch.zeros_like(groups).scatter_(1, largest, 1)
    return kept.view(cout, *taps, cin).permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()
