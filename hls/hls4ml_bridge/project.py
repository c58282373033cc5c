"""The export of a network: converted, compiled, held against PyTorch, and only then put into its place."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codesign.errors import ExportError
from codesign.nm.format import NM
from codesign.output_files import ensure_writable
from hls.hls4ml_bridge.convert import Settings, convert
from hls.hls4ml_bridge.simulate import ensure_compiler, simulate

REPORT = "export.json"
WEIGHT_LAYERS = ("NMDense", "NMConv2D", "Dense", "Conv2D", "Conv2DBatchnorm", "PointwiseConv2D")


@dataclass(frozen=True)
class LayerSize:
    """Weights of a layer (bits, positions included) and multiplications of a sample, exported and dense.

    `steps` is the number of steps in which it takes the weights.
    """

    name: str
    nm: str | None
    steps: int
    weight_bits: int
    dense_weight_bits: int
    multiplications: int
    dense_multiplications: int


@dataclass(frozen=True)
class Agreement:
    """C simulation beside PyTorch on the same samples: share of equal classes, largest difference of a logit."""

    samples: int
    same_class: float
    max_error: float


@dataclass(frozen=True)
class Exported:
    """An export: sizes of its layers, and how well it agrees with PyTorch."""

    layers: tuple[LayerSize, ...]
    agreement: Agreement

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def total(self, quantity: str) -> int:
        """Sum of a field of `LayerSize` over the layers."""
        return sum(getattr(layer, quantity) for layer in self.layers)


def export(
    model: nn.Module,
    ratios: Mapping[str, NM],
    inputs: Tensor,
    out: Path,
    settings: Settings,
    *,
    force: bool = False,
) -> Exported:
    """Write the project of `model` into folder `out`, with `REPORT`; `force` replaces an earlier export there.

    `model` is in evaluation mode and gives (samples, classes) logits for `inputs`. Raises ExportError and leaves
    `out` as it was: for what `convert` refuses, if there is no compiler, or if `out` holds files.
    """
    ensure_compiler()
    _check_free(out, force)
    with torch.no_grad():
        expected = model(inputs).numpy()
    if expected.ndim != 2:
        raise ExportError(
            f"network: got outputs of shape {list(expected.shape)}, expected (samples, classes) logits"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".writing-") as scratch:
        project = Path(scratch) / "project"
        graph, modules = convert(model, ratios, inputs[:1], project, settings)
        computed = simulate(project, Path(scratch), _channels_last(inputs), expected.shape[1])
        exported = Exported(tuple(_layers(graph, modules)), _agreement(computed, expected))
        (project / REPORT).write_text(json.dumps(exported.as_dict(), indent=2) + "\n")
        _replace(project, out, Path(scratch))
    return exported


def _check_free(out: Path, force: bool) -> None:
    ensure_writable(out)
    if not out.exists() or not any(out.iterdir()):
        return
    if not force:
        raise ExportError(f"{out}: is not empty; use --force to replace an earlier export, or another folder")
    if not (out / REPORT).is_file():
        raise ExportError(f"{out}: holds no earlier export that could be replaced; choose another folder")


def _replace(project: Path, out: Path, scratch: Path) -> None:
    """Move the project to `out`; what was there goes with the scratch folder."""
    earlier = scratch / "earlier"
    try:
        if out.exists():
            out.rename(earlier)
        project.rename(out)
    except OSError as error:
        if earlier.exists():
            earlier.rename(out)
        raise ExportError(f"cannot write {out}: {error.strerror}; choose another folder") from None


def _channels_last(inputs: Tensor) -> NDArray[np.float32]:
    """Images as the project reads them."""
    moved = inputs.permute(0, 2, 3, 1) if inputs.dim() == 4 else inputs
    return np.ascontiguousarray(moved.numpy(), np.float32)


def _agreement(computed: NDArray[np.float32], expected: NDArray[np.float32]) -> Agreement:
    same = computed.argmax(1) == expected.argmax(1)
    return Agreement(len(expected), float(same.mean()), float(np.abs(computed - expected).max()))


def _layers(graph: Any, modules: Mapping[str, str]) -> Iterator[LayerSize]:
    for layer in graph.get_layers():
        if layer.class_name not in WEIGHT_LAYERS:
            continue
        value_bits = layer.get_weights("weight").type.precision.width
        kept = layer.get_weights("weight").data_length
        sparse = layer.class_name.startswith("NM")
        dense = layer.get_attr("n_in") * layer.get_attr("n_out") if sparse else kept
        position_bits = layer.get_weights("position").type.precision.width if sparse else 0
        pixels = prod(layer.get_output_variable().shape[:-1])
        yield LayerSize(
            modules.get(layer.name, layer.name),
            f"{layer.get_attr('n')}:{layer.get_attr('m')}" if sparse else None,
            int(layer.get_attr("n_steps" if sparse else "reuse_factor")),
            kept * (value_bits + position_bits),
            dense * value_bits,
            kept * pixels,
            dense * pixels,
        )
