"""A torch network as an hls4ml project."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import hls4ml
import torch
from hls4ml.converters.pytorch_to_hls import get_supported_pytorch_layers
from hls4ml.utils.torch import CustomFXTracer
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d

from codesign.errors import CodesignError, ExportError, SpecError
from codesign.nm.format import NM
from hls.hls4ml_bridge.extension import BACKEND, RATIO, NMDense, register

PROJECT = "net"

CONFIG_FILE = "hls4ml_config.yml"
"""hls4ml pickles the whole network into it."""

MAX_BITS = 32

_NOTHING = (nn.Flatten, nn.Identity, nn.Dropout)
"""Modules that do nothing in evaluation if the shape stays as it is."""

_GLOBAL_POOLS: dict[Any, type[nn.Module]] = {
    adaptive_avg_pool2d: nn.AvgPool2d,
    adaptive_max_pool2d: nn.MaxPool2d,
    nn.AdaptiveAvgPool2d: nn.AvgPool2d,
    nn.AdaptiveMaxPool2d: nn.MaxPool2d,
}
"""Adaptive pools, which hls4ml does not know, and what they are if one pixel is left."""

_POOLS: dict[Any, type[nn.Module]] = {avg_pool2d: nn.AvgPool2d, max_pool2d: nn.MaxPool2d}
"""Functions that hls4ml knows as modules only, which take the same arguments."""


@dataclass(frozen=True)
class Settings:
    """How a network becomes hardware.

    `interface`: a layer takes all its inputs at once, or as a stream. `precision`: ap_fixed of inputs, weights and
    activations; sums are as wide as they can become. `reuse`: the largest number of steps in which a layer takes its
    weights; a sparse one takes as many as divide its groups. Raises SpecError.
    """

    interface: Literal["io_parallel", "io_stream"] = "io_parallel"
    part: str = "xcvu9p-fsgd2104-2L-e"
    clock_ns: float = 5
    precision: str = "fixed<16,6>"
    reuse: int = 1

    def __post_init__(self) -> None:
        bits = re.fullmatch(r"fixed<([0-9]{1,2}),([0-9]{1,2})>", self.precision)
        if not bits or not 1 <= int(bits[2]) <= int(bits[1]) <= MAX_BITS:
            raise SpecError(
                f"precision {self.precision!r}: expected fixed<BITS,INTEGER_BITS> of at most {MAX_BITS} bits, "
                "such as fixed<16,6>"
            )
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", self.part):
            raise SpecError(f"part {self.part!r}: expected the name of an FPGA such as {Settings.part}")


def convert(
    model: nn.Module, ratios: Mapping[str, NM], sample: torch.Tensor, folder: Path, settings: Settings
) -> tuple[Any, dict[str, str]]:
    """Write the project of a network into `folder`; returns hls4ml's graph of it and the modules of its layers.

    The network must be in evaluation mode; `ratios` are those of its sparse layers, by module name. `sample` is an
    input, (1, ...). Images enter the project channels last. Raises ExportError for what hls4ml does not support, and
    for a sparse layer that is not N:M sparse or no `nn.Linear` on vectors or `nn.Conv2d`.
    """
    register()
    network = _simplified(model, sample)
    modules = {node.name: str(node.target) for node in network.graph.nodes if node.op == "call_module"}
    wanted = {layer: ratios[name] for layer, name in modules.items() if name in ratios}
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            graph = _convert(network, wanted, sample, folder, settings)
        except CodesignError:
            raise
        except Exception as error:  # hls4ml raises whatever comes
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ExportError(
                f"hls4ml cannot convert this network: {reason}; expected a simpler one"
            ) from None
    replaced = {modules[layer.name] for layer in graph.get_layers() if isinstance(layer, NMDense)}
    for name in ratios:
        if name not in replaced:
            kind = type(model.get_submodule(name)).__name__
            raise ExportError(
                f"layer {name!r}: a sparse {kind} cannot be exported; expected nn.Linear on vectors or nn.Conv2d"
            )
    (folder / CONFIG_FILE).unlink()
    return graph, modules


def _convert(
    network: fx.GraphModule, ratios: Mapping[str, NM], sample: torch.Tensor, folder: Path, settings: Settings
) -> Any:
    shape = tuple(sample.shape[1:])
    config = hls4ml.utils.config_from_pytorch_model(
        network,
        shape,
        granularity="name",
        backend=BACKEND,
        default_precision=settings.precision,
        default_reuse_factor=settings.reuse,
        channels_last_conversion="internal",
    )
    config["Model"]["PipelineStyle"] = "dataflow"  # layers take several cycles each
    for layer, nm in ratios.items():
        config["LayerName"][layer][RATIO] = str(nm)
    graph = hls4ml.converters.convert_from_pytorch_model(
        network,
        output_dir=str(folder),
        project_name=PROJECT,
        backend=BACKEND,
        hls_config=config,
        io_type=settings.interface,
        part=settings.part,
        clock_period=settings.clock_ns,
    )
    graph.write()
    return graph


def _simplified(model: nn.Module, sample: torch.Tensor) -> fx.GraphModule:
    """A copy without what hls4ml does not know although it could: modules that do nothing, pools but for modules.

    Raises ExportError for other modules that it does not know.
    """
    copy = deepcopy(model)
    try:
        network = fx.GraphModule(copy, CustomFXTracer().trace(copy))
    except (fx.proxy.TraceError, TypeError, ValueError) as error:
        raise ExportError(
            f"the network cannot be traced ({str(error).splitlines()[0]}); expected one whose operations do not "
            "depend on its data"
        ) from None
    with torch.no_grad():
        ShapeProp(network).propagate(sample)
    for node in list(network.graph.nodes):
        if node.op in ("call_module", "call_function") and node.all_input_nodes:
            _simplify(network, node)
    network.recompile()
    return network


def _simplify(network: fx.GraphModule, node: fx.Node) -> None:
    is_module = node.op == "call_module"
    kind: Any = type(network.get_submodule(str(node.target))) if is_module else node.target
    source = node.all_input_nodes[0]
    if kind in _NOTHING and _shape(node) == _shape(source):
        _replace(network, node, source)
    elif kind in _GLOBAL_POOLS and _shape(node)[-2:] == (1, 1):
        _replace_by_module(network, node, _GLOBAL_POOLS[kind](tuple(_shape(source)[-2:])))
    elif kind in _POOLS:
        _replace_by_module(network, node, _POOLS[kind](*node.args[1:], **node.kwargs))
    elif is_module and kind.__name__ not in get_supported_pytorch_layers():
        raise ExportError(
            f"layer {str(node.target)!r}: hls4ml does not support {kind.__name__}; expected one of: "
            f"{', '.join(get_supported_pytorch_layers())}"
        )


def _replace_by_module(network: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    network.add_submodule(node.name, module)
    with network.graph.inserting_after(node):
        call = network.graph.call_module(node.name, (node.all_input_nodes[0],))
    call.meta = node.meta
    _replace(network, node, call)


def _replace(network: fx.GraphModule, node: fx.Node, other: fx.Node) -> None:
    node.replace_all_uses_with(other)
    network.graph.erase_node(node)


def _shape(node: fx.Node) -> torch.Size:
    shape: torch.Size = node.meta["tensor_meta"].shape
    return shape
