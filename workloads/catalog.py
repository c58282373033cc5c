"""One door to every workload: a named network, a file, or a single GEMM.

| workload        | what it is                                                                         |
|-----------------|------------------------------------------------------------------------------------|
| `resnet18`, ... | a network of `names()`                                                             |
| `mlp:AxBx...xZ` | multi-layer perceptron with these layer sizes                                      |
| `gemm:MxKxN`    | one linear layer: M rows (batch included), K inputs, N outputs; FF, BP, WU, update |
| `*.yaml`        | layers or GEMMs, see `workloads.importers.yaml_file`                               |
| `*.csv`         | SCALE-Sim topology, see `workloads.importers.scalesim_csv`                         |
| `*.onnx`        | ONNX model, see `workloads.importers.onnx_model`                                   |
| `*.json`        | a trace that `codesign train` or `codesign trace` recorded                         |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from codesign.errors import SpecError
from codesign.spec_errors import nearest, shorten
from workloads.graph import DEFAULT_BATCH, Graph
from workloads.trace import Trace
from workloads.training import training_trace
from workloads.zoo.mlp import mlp
from workloads.zoo.raw_gemms import RawGemm, raw_gemms
from workloads.zoo.resnet import resnet, resnet9, resnet_cifar
from workloads.zoo.transformer import bert, gpt2, vit
from workloads.zoo.vgg import vgg, vgg_cifar

MAX_OPTION = {"batch": 1 << 20, "seq_len": 1 << 20, "classes": 1 << 24, "input_size": 1 << 14}

_IMAGE = ("classes", "input_size")
_TOKENS = ("seq_len",)
_SIZES = re.compile(r"[1-9]\d{0,7}(x[1-9]\d{0,7})*")


@dataclass(frozen=True, slots=True)
class Network:
    """How to build a network, which sizes may be chosen besides the batch, and what it is trained with."""

    build: Callable[..., Graph]
    options: tuple[str, ...]
    optimizer: str = "sgd"


def _networks() -> dict[str, Network]:
    table = {
        "bert-base": Network(bert, _TOKENS, "adamw"),
        "gpt2-small": Network(gpt2, _TOKENS, "adamw"),
        "mlp": Network(mlp, ()),
        "resnet9": Network(resnet9, _IMAGE),
    }
    # The small models of minGPT (Karpathy).
    for size, width, heads, depth in (("nano", 48, 3, 3), ("micro", 128, 4, 4), ("mini", 192, 6, 6)):
        build = partial(gpt2, width=width, heads=heads, depth=depth, seq_len=128)
        table[f"gpt-{size}"] = Network(build, _TOKENS, "adamw")
    for depth in (18, 34, 50):
        table[f"resnet{depth}"] = Network(partial(resnet, depth=depth), _IMAGE)
        table[f"resnet{depth}-cifar"] = Network(partial(resnet_cifar, depth=depth), _IMAGE)
    for depth in (16, 19):
        table[f"vgg{depth}"] = Network(partial(vgg, depth=depth), _IMAGE)
        table[f"vgg{depth}-cifar"] = Network(partial(vgg_cifar, depth=depth), _IMAGE)
    for size, heads in (("tiny", 3), ("small", 6), ("base", 12)):
        build = partial(vit, width=64 * heads, heads=heads)
        table[f"vit-{size}"] = table[f"deit-{size}"] = Network(build, _IMAGE, "adamw")
        small = partial(build, patch=4, input_size=32, classes=10)
        table[f"vit-{size}-cifar"] = Network(small, _IMAGE, "adamw")
    return table


NETWORKS = _networks()


def names() -> tuple[str, ...]:
    """Names of the built-in networks, sorted."""
    return tuple(sorted(NETWORKS))


def load(
    name_or_path: str,
    *,
    batch: int | None = None,
    seq_len: int | None = None,
    classes: int | None = None,
    input_size: int | None = None,
) -> Trace:
    """Trace of one training iteration of a workload; the table above lists what `name_or_path` may be.

    `batch` is DEFAULT_BATCH unless given; raw GEMMs and saved traces contain theirs and refuse one. Raises SpecError
    for an unknown name, an option that the workload does not take, a size out of range or a bad file, TraceError
    for a bad saved trace.
    """
    given = {"batch": batch, "seq_len": seq_len, "classes": classes, "input_size": input_size}
    options = {option: value for option, value in given.items() if value is not None}
    for option, value in options.items():
        if not 1 <= value <= MAX_OPTION[option]:
            raise SpecError(f"{option} {value}: expected an integer from 1 to {MAX_OPTION[option]}")
    family, colon, sizes = name_or_path.partition(":")
    if colon and family in ("gemm", "mlp"):
        return _load_sizes(name_or_path, family, sizes, options)
    if network := NETWORKS.get(name_or_path):
        return _build(name_or_path, network, options)
    return _load_file(name_or_path, options)


def _build(name: str, network: Network, options: dict[str, int]) -> Trace:
    _check_options(name, options, ("batch", *network.options))
    return training_trace(
        network.build(**{"batch": DEFAULT_BATCH} | options), name, optimizer=network.optimizer
    )


def _load_sizes(name: str, family: str, text: str, options: dict[str, int]) -> Trace:
    if not _SIZES.fullmatch(text):
        raise SpecError(f"workload {shorten(name)!r}: expected sizes from 1 to 99999999, such as 64x128x10")
    sizes = [int(size) for size in text.split("x")]
    if family == "mlp" and len(sizes) >= 2:
        return _build(name, Network(partial(mlp, sizes=sizes), ()), options)
    if family == "gemm" and len(sizes) == 3:
        _check_options(name, options, ())
        m, k, n = sizes
        return training_trace(raw_gemms([RawGemm("gemm", m, k, n)]), name)
    expected = "gemm:MxKxN" if family == "gemm" else "mlp: and at least two sizes"
    raise SpecError(f"workload {shorten(name)!r}: got {len(sizes)} sizes, expected {expected}")


def _load_file(name: str, options: dict[str, int]) -> Trace:
    """Choose the importer by the suffix of the file; each is imported only when used."""
    path = Path(name)
    match path.suffix.lower():
        case ".yaml" | ".yml":
            from workloads.importers.yaml_file import load_yaml

            _check_options(name, options, ("batch",))
            return load_yaml(path, **options)
        case ".csv":
            from workloads.importers.scalesim_csv import load_scalesim

            _check_options(name, options, ("batch",))
            return load_scalesim(path, **options)
        case ".onnx":
            from workloads.importers.onnx_model import load_onnx

            _check_options(name, options, ("batch", "seq_len"))
            return load_onnx(path, **options)
        case ".json":
            from workloads.run_trace import load_run_trace

            _check_options(name, options, ())
            return load_run_trace(path).iteration
    raise SpecError(
        f"unknown workload {shorten(name)!r}{nearest(name, names())}; expected a file (*.yaml, *.csv, "
        f"*.onnx, *.json), gemm:MxKxN, mlp:AxB or one of: {', '.join(names())}"
    )


def _check_options(name: str, options: dict[str, int], allowed: tuple[str, ...]) -> None:
    for option in options:
        if option not in allowed:
            takes = f"only {' and '.join(allowed)}" if allowed else "no size options"
            raise SpecError(f"workload {shorten(name)!r} does not take {option}; it takes {takes}")
