"""Tensors of one training step as a file, for whoever computes the step again, in hardware say. No torch is needed.

The file is in safetensors format. Keys are `LAYER/WHAT`; of each recorded layer there are

- `input`, `output`, `output_gradient`, `input_gradient` (of this layer alone; the first layer has none);
- `weight`, `bias` as they were before the step, `weight_after`, `bias_after` as they are after it;
- `weight_ff`, `weight_bp`: the weight that each pass multiplied with;
- `weight_gradient`, `bias_gradient` as the backward pass gave them, and `weight_gradient_used`,
  `bias_gradient_used` as the optimizer saw them, clipped and changed by the method; of a weight that is tied to
  another, sums over both uses;
- state of the optimizer, `..._before` and `..._after`: `momentum`, or `exp_avg` and `exp_avg_sq`, for a bias with
  `bias_` before it;
- of a pass whose weight is N:M sparse, its two streams in the layout of `codesign.nm.format`, the values rounded to
  float16: `weight_ff/values` (vectors, groups, N) and `weight_ff/indices` (bytes,), or `weight_bp/...`.

Operands of type bfloat16 are stored as float32, which is exact. Metadata are JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from codesign.errors import SpecError, TraceError
from codesign.spec_errors import printable

FILE_NAME = "tensors.safetensors"
HEADER = "codesign"
"""Key of the metadata."""

Array = NDArray[Any]


class LayerGeometry(BaseModel):
    """What a layer computes; of a linear layer the lists are empty. Ratios are None where a pass is dense."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["linear", "conv"]
    stride: list[int] = []
    padding: list[int] = []
    dilation: list[int] = []
    groups: int = 1
    nm_ff: str | None = None
    nm_bp: str | None = None


class Header(BaseModel):
    """What holds for the whole step: `step` counts from 0, `hyperparameters` are those of torch's optimizer."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["codesign recorded tensors"] = "codesign recorded tensors"
    version: Literal[1] = 1
    step: int
    lr: float
    optimizer: str
    hyperparameters: dict[str, Any]
    dtype: str
    layers: dict[str, LayerGeometry]


@dataclass(frozen=True)
class Recording:
    """A file that was read: its header, and by layer its tensors by name."""

    header: Header
    layers: dict[str, dict[str, Array]]


def load_tensors(path: Path) -> Recording:
    """Read a file of recorded tensors, or `tensors.safetensors` of a folder.

    Raises SpecError if there is none, TraceError for a bad one.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise SpecError(
            "recorded tensors need the safetensors package; run: pip install codesign[train]"
        ) from None
    if path.is_dir():
        path /= FILE_NAME
    name = printable(str(path))
    if not path.exists():
        raise SpecError(f"{name}: no such file; expected recorded tensors, train with --record-tensors")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        header = Header.model_validate_json(metadata.get(HEADER, "null"))
    except (OSError, SafetensorError) as error:
        raise TraceError(
            f"{name}: cannot be read ({error}); expected recorded tensors, record them again"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "metadata"
        raise TraceError(
            f"{name}: {where}: {first['msg']}; expected recorded tensors, record them again"
        ) from None
    layers: dict[str, dict[str, Array]] = {layer: {} for layer in header.layers}
    for key, tensor in tensors.items():
        layer, _, what = key.partition("/")
        if layer not in layers:
            raise TraceError(f"{name}: tensor {key!r} belongs to no layer of the metadata; record them again")
        layers[layer][what] = tensor
    return Recording(header, layers)
