"""Workload from a YAML file: a sequential network, or a list of GEMMs.

    name: small-cnn                 # default: the file's name
    input: [3, 32, 32]              # one sample: [features], [tokens, width] or [channels, height, width]
    layers:
      - conv: {out: 64, kernel: 3, padding: 1}
        name: stem                  # default: kind and position, such as conv1
      - batchnorm
      - relu
      - global_avgpool
      - linear: {out: 10}

A softmax cross-entropy loss follows the last layer. GEMMs stand for themselves, rows with the batch included,
see `workloads.zoo.raw_gemms`:

    gemms:
      - {name: projection, m: 8192, k: 768, n: 768}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from codesign import strict_yaml
from codesign.errors import SpecError
from codesign.spec_errors import got
from workloads.graph import DEFAULT_BATCH, Graph, Node
from workloads.importers.files import UniqueNames, refuse_batch
from workloads.trace import Trace
from workloads.training import training_trace
from workloads.zoo.raw_gemms import RawGemm, raw_gemms

Size = Annotated[int, Field(ge=1, le=1 << 24)]
Padding = Annotated[int, Field(ge=0, le=1 << 24)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w./#-]+$")]


def _height_width(kernel: Any) -> Any:
    if isinstance(kernel, list) and len(kernel) == 2:
        return tuple(kernel)
    if isinstance(kernel, int):
        return kernel, kernel
    raise ValueError(f"got {got(kernel)}, expected one integer or [height, width]")


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Conv(_Spec):
    """2-D convolution; `padding` is per side."""

    out: Size
    kernel: Annotated[tuple[Size, Size], BeforeValidator(_height_width)]
    stride: Size = 1
    padding: Padding = 0
    dilation: Size = 1
    groups: Size = 1
    bias: bool = True


class Linear(_Spec):
    """Linear layer over the last axis."""

    out: Size
    bias: bool = True


class Pool(_Spec):
    """Pooling window; the stride is the kernel unless given."""

    kernel: Size
    stride: Size | None = None
    padding: Padding = 0


class Plain(_Spec):
    """A layer without parameters of its own, written as its bare name."""


class Layer(_Spec):
    """One layer: exactly one kind, and a name if wanted."""

    name: Name | None = None
    conv: Conv | None = None
    linear: Linear | None = None
    maxpool: Pool | None = None
    avgpool: Pool | None = None
    global_avgpool: Plain | None = None
    batchnorm: Plain | None = None
    layernorm: Plain | None = None
    relu: Plain | None = None
    gelu: Plain | None = None
    tanh: Plain | None = None
    softmax: Plain | None = None
    flatten: Plain | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, data: Any) -> Any:
        return {data: {}} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_kind(self) -> Layer:
        kinds = sorted(self.model_fields_set - {"name"})
        if len(kinds) != 1:
            raise ValueError(f"got {' and '.join(kinds) or 'no kind'}, expected one kind of layer an item")
        return self

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(iter(self.model_fields_set - {"name"}))


class GemmSpec(_Spec):
    """m x k times k x n."""

    name: Name | None = None
    m: Size
    k: Size
    n: Size


class Network(_Spec):
    """The whole file."""

    name: Name | None = None
    optimizer: Literal["sgd", "adamw"] = "sgd"
    input: Annotated[list[Size], Field(min_length=1, max_length=3)] | None = None
    layers: Annotated[list[Layer], Field(min_length=1)] | None = None
    gemms: Annotated[list[GemmSpec], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _layers_or_gemms(self) -> Network:
        if (self.layers is None) == (self.gemms is None):
            raise ValueError("expected either 'layers' or 'gemms'")
        if (self.input is None) != (self.layers is None):
            raise ValueError("'layers' need 'input', the shape of one sample; 'gemms' have none")
        return self


def load_yaml(path: Path, *, batch: int | None = None) -> Trace:
    """Trace of the workload in a YAML file. Raises SpecError with file, line and key."""
    document = strict_yaml.load(path)
    network = strict_yaml.validate(document, Network)
    name = network.name or path.stem
    unique = UniqueNames()
    if network.gemms is not None:
        refuse_batch(document.where(("gemms",)), batch)
        gemms = [
            RawGemm(unique(g.name or f"gemm{n}"), g.m, g.k, g.n) for n, g in enumerate(network.gemms, start=1)
        ]
        return training_trace(raw_gemms(gemms), name, optimizer=network.optimizer)
    graph = Graph(batch or DEFAULT_BATCH)
    x = graph.input(*network.input or ())
    for index, layer in enumerate(network.layers or ()):
        try:
            x = _add(graph, x, layer, unique(layer.name or f"{layer.kind}{index + 1}"))
        except SpecError as error:
            raise SpecError(f"{document.where(('layers', index))}: {error}") from None
    graph.loss(x, unique("loss"))
    return training_trace(graph, name, optimizer=network.optimizer)


def _add(graph: Graph, x: Node, layer: Layer, name: str) -> Node:
    if layer.conv:
        c = layer.conv
        return graph.conv(x, c.out, c.kernel, name, **c.model_dump(exclude={"out", "kernel"}))
    if layer.linear:
        return graph.linear(x, layer.linear.out, name, bias=layer.linear.bias)
    if pool := layer.maxpool or layer.avgpool:
        return graph.pool(
            layer.kind, x, pool.kernel, name, stride=pool.stride or pool.kernel, padding=pool.padding
        )
    match layer.kind:
        case "global_avgpool":
            return graph.global_pool("avgpool", x, name)
        case "batchnorm":
            return graph.batchnorm(x, name)
        case "layernorm":
            return graph.layernorm(x, name)
        case "flatten":
            return graph.flatten(x)
    return graph.vector(layer.kind, x, name)
