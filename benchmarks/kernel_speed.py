"""How fast the reference kernels are: sparse products against dense BLAS, packing against copying.

- `gemm` with weights at N:M against numpy's dense product of the same shape (OpenBLAS in its wheels), on the layers
  of ResNet-18 and ViT-Base that N:M pruning applies to; `fast`, and in the `ordered` summation of a 32-row array.
  Operands are FP32 and lie as activations do, (channels, pixels). Decoding the index stream counts. Beside it the
  share of the roofline (Williams et al., CACM 2009): the lower of the dense product's best FLOP/s and, operands and
  result moved once, the bandwidth of a copy.
- `pack_both`, `narrow` and `widen` on the convolution weights of ResNet-18, against copies of the same arrays: into
  new memory, which all of them ask for, and onto memory that exists, which spares the system's work.

Cases take turns and the fastest of their runs counts, since other work on the machine only adds time. Time is elapsed
time, which is what threads are to save.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import click
import numpy as np
from measure import fastest_of_turns
from threadpoolctl import threadpool_limits

from codesign.compute.formats import Format
from codesign.compute.gemm import gemm
from codesign.compute.half_kernels import narrow, widen
from codesign.compute.order import Order
from codesign.compute.pack_kernels import pack, pack_both
from codesign.compute.threads import use_threads
from codesign.nm.format import NM
from workloads.catalog import load
from workloads.ops import Gemm, GemmOp, Role, Stage
from workloads.zoo.resnet import resnet

NETWORKS = {"resnet18": 4, "vit-base": 4}
"""With their batch size."""

ROWS = 32
PEAK_SIZE = 1536
COPY_VALUES = 1 << 25

Case = Callable[[], object]


class Layer(NamedTuple):
    """A product that occurs `count` times in a network."""

    network: str
    gemm: Gemm
    count: int


class Row(NamedTuple):
    """What one layer takes, in seconds, and how far that is from the roofline."""

    layer: Layer
    dense_s: float
    fast_s: float
    ordered_s: float
    roofline_share: float


@click.command()
@click.option("--nm", default="2:8", show_default=True, help="Ratio, N kept of M.")
@click.option("--threads", default="1,2", show_default=True, help="Numbers of threads, separated by commas.")
@click.option("--runs", type=click.IntRange(min=1), default=15, show_default=True, help="Runs of each case.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(nm: str, threads: str, runs: int, as_json: bool) -> None:
    """Time of sparse products and of packing, as multiples of dense products and copies."""
    ratio, answers = NM.parse(nm), []
    for count in map(int, threads.split(",")):
        with use_threads(count), threadpool_limits(count):
            answers.append({"threads": count} | measure(ratio, runs))
    if as_json:
        click.echo(json.dumps({"benchmark": "kernels", "nm": nm, "results": answers}, indent=2))
    else:
        for answer in answers:
            show(answer)


def measure(nm: NM, runs: int) -> dict[str, Any]:
    """Everything on the threads that are set."""
    peak_flops, copy_bytes_per_s = machine_peaks(runs)
    rows = [time_layer(layer, nm, runs, peak_flops, copy_bytes_per_s) for layer in sparse_layers(nm)]
    return {
        "peak_gflops": peak_flops / 1e9,
        "copy_gb_per_s": copy_bytes_per_s / 1e9,
        "layers": [as_dict(row, nm) for row in rows],
        "speedup": {kind: mean_speedup(rows, kind) for kind in ("fast_s", "ordered_s")},
        "passes_over_weights": weight_passes(nm, runs),
    }


def machine_peaks(runs: int) -> tuple[float, float]:
    """FLOP/s of a large dense product, and bytes/s (read and written) of a large copy."""
    a = np.ones((PEAK_SIZE, PEAK_SIZE), np.float32)
    source = np.ones(COPY_VALUES, np.float32)
    target = np.empty_like(source)
    seconds = fastest_of_turns({"product": lambda: a @ a, "copy": lambda: np.copyto(target, source)}, runs)
    return 2 * PEAK_SIZE**3 / seconds["product"], 2 * source.nbytes / seconds["copy"]


def sparse_layers(nm: NM) -> list[Layer]:
    """Distinct forward products with a weight whose reduction is whole groups, but for the networks' first layers."""
    layers = []
    for network, batch in NETWORKS.items():
        operations = [
            op
            for op in load(network, batch=batch).ops
            if isinstance(op, GemmOp) and op.stage is Stage.FF and op.b is Role.WEIGHT
        ]
        gemms = [op.gemms[0] for op in operations[1:] if op.gemms[0].k // op.gemms[0].taps % nm.m == 0]
        shapes = [(gemm.i, gemm.k, gemm.j) for gemm in gemms]
        layers += [Layer(network, Gemm(*shape), shapes.count(shape)) for shape in dict.fromkeys(shapes)]
    return layers


def time_layer(layer: Layer, nm: NM, runs: int, peak_flops: float, copy_bytes_per_s: float) -> Row:
    """Run one layer dense and sparse."""
    i, k, j = layer.gemm.i, layer.gemm.k, layer.gemm.j
    random = np.random.default_rng(0)
    w, x = (random.standard_normal(shape, np.float32) for shape in ((j, k), (k, i)))
    compact, order = pack(w, nm, axis=1), Order.ws(ROWS, nm.m)
    seconds = fastest_of_turns(
        {
            "dense": lambda: w @ x,
            "fast": lambda: gemm(x.T, compact),
            "ordered": lambda: gemm(x.T, compact, order),
        },
        runs,
    )
    flops = 2 * layer.gemm.macs * nm.n / nm.m
    moved_bytes = 4 * (k * i + i * j) + nm.compact_bytes(k, j, 32)
    attainable = min(peak_flops, copy_bytes_per_s * flops / moved_bytes)
    share = flops / seconds["fast"] / attainable
    return Row(layer, seconds["dense"], seconds["fast"], seconds["ordered"], share)


def weight_passes(nm: NM, runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each pass over the convolution weights of ResNet-18, and how many copies that is.

    Copies are of the same type, into new memory, as all results are, and onto memory that exists.
    """
    random = np.random.default_rng(0)
    kernels = [node.kernel for node in resnet(1, depth=18).nodes if node.kernel and node.kind == "conv"]
    weights = [random.standard_normal((k.cout, k.cin, *k.size), np.float32) for k in kernels[1:]]
    bits = [narrow(w, Format.FP16) for w in weights]
    return passes_over(weights, nm, "float32", narrow, runs) | passes_over(bits, nm, "float16", widen, runs)


def passes_over(
    arrays: list[Any], nm: NM, dtype: str, convert: Callable[[Any, Format], object], runs: int
) -> dict[str, dict[str, float]]:
    """Of arrays that hold `dtype`, which `convert` takes from or to FP16."""
    existing = [np.empty_like(array) for array in arrays]

    def overwrite() -> None:
        for source, target in zip(arrays, existing, strict=True):
            np.copyto(target, source)

    seconds = fastest_of_turns(
        {
            f"copy {dtype}": lambda: [array.copy() for array in arrays],
            f"copy {dtype}, existing memory": overwrite,
            f"pack_both {dtype}": lambda: [pack_both(array, nm, dtype) for array in arrays],
            f"{convert.__name__} {dtype}": lambda: [convert(array, Format.FP16) for array in arrays],
        },
        runs,
    )
    new_s, existing_s = list(seconds.values())[:2]
    return {
        name: {"ms": 1e3 * s, "copies": s / new_s, "copies_onto_existing": s / existing_s}
        for name, s in seconds.items()
    }


def mean_speedup(rows: Iterable[Row], kind: str) -> float:
    """Geometric mean over the layers, each as often as it occurs."""
    logs = [math.log(row.dense_s / getattr(row, kind)) for row in rows for _ in range(row.layer.count)]
    return math.exp(sum(logs) / len(logs))


def as_dict(row: Row, nm: NM) -> dict[str, Any]:
    """A row as JSON."""
    gemm_shape = row.layer.gemm
    flops = 2 * gemm_shape.macs
    return {
        "network": row.layer.network,
        "shape": [gemm_shape.i, gemm_shape.k, gemm_shape.j],
        "count": row.layer.count,
        "dense_ms": 1e3 * row.dense_s,
        "dense_gflops": flops / row.dense_s / 1e9,
        "fast_ms": 1e3 * row.fast_s,
        "fast_gflops": flops * nm.n / nm.m / row.fast_s / 1e9,
        "fast_speedup": row.dense_s / row.fast_s,
        "ordered_speedup": row.dense_s / row.ordered_s,
        "roofline_share": row.roofline_share,
    }


def show(answer: dict[str, Any]) -> None:
    """Print the figures of one number of threads."""
    click.echo(
        f"{answer['threads']} threads: dense products reach {answer['peak_gflops']:.0f} GFLOP/s, "
        f"a copy moves {answer['copy_gb_per_s']:.1f} GB/s"
    )
    click.echo(
        f"{'layer (i x k x j)':32}{'dense':>18}{'sparse':>18}{'speedup':>9}{'ordered':>9}{'roofline':>10}"
    )
    for row in answer["layers"]:
        name = f"{row['count']:2} x {row['network']} {' x '.join(map(str, row['shape']))}"
        dense, fast = (
            f"{row[f'{kind}_ms']:7.2f} ms {row[f'{kind}_gflops']:4.0f} GF" for kind in ("dense", "fast")
        )
        click.echo(
            f"{name:32}{dense:>18}{fast:>18}{row['fast_speedup']:8.2f}x{row['ordered_speedup']:8.2f}x"
            f"{row['roofline_share']:10.0%}"
        )
    speedup = answer["speedup"]
    click.echo(f"{'geometric mean':68}{speedup['fast_s']:8.2f}x{speedup['ordered_s']:8.2f}x")
    for name, row in answer["passes_over_weights"].items():
        click.echo(
            f"{name:32}{row['ms']:8.2f} ms {row['copies']:8.2f} x copy "
            f"{row['copies_onto_existing']:8.2f} x copy onto existing memory"
        )


if __name__ == "__main__":
    main()
