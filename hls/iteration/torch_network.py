"""A torch module as a network that the exported accelerator trains, layer by layer under the same names."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from codesign.errors import ExportError
from hls.iteration.network import INPUT, Add, BatchNorm, Conv, Flatten, Layer, Linear, Network, Pool, ReLU

FLAT = "input.flat"
"""Layer that makes rows of images of one pixel, which is what networks on vectors read."""

_MODULES = (
    nn.Conv2d,
    nn.Linear,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Identity,
    nn.Dropout,
)
_FUNCTIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "max_pool2d": nn.MaxPool2d,
    "avg_pool2d": nn.AvgPool2d,
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "flatten": nn.Flatten,
}
"""Functions and methods by name, as the modules that do the same with the same arguments."""

_ADDS = ("add", "iadd", "add_")


def network_of(model: nn.Module, name: str, sample: torch.Tensor) -> Network:
    """The network of a module that trains on inputs like `sample`, (B, C, H, W) or (B, inputs).

    Layers with parameters have the names of their modules. Raises ExportError, naming the layer, for what the kernels
    lack, and for branches other than a sum with an earlier layer.
    """
    converter = _Converter(_traced(model, sample), sample.dim() == 2)
    for node in converter.traced.graph.nodes:
        converter.add(node)
    channels, height, width = (*sample.shape[1:], 1, 1)[:3]
    return Network(name, (channels, height, width), tuple(converter.layers))


class _Tracer(fx.Tracer):
    """Looks into modules that consist of others; stops at one that the kernels lack."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return next(m.children(), None) is None or isinstance(m, _MODULES)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        name = self.path_of_module(m)
        if self.is_leaf_module(m, name) and not isinstance(m, _MODULES):
            raise _lacking(name, type(m).__name__)
        return super().call_module(m, forward, args, kwargs)


def _traced(model: nn.Module, sample: torch.Tensor) -> fx.GraphModule:
    """The graph, each node with the shape of its output."""
    try:
        traced = fx.GraphModule(model, _Tracer().trace(model))
    except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError) as error:
        raise ExportError(
            f"the network cannot be traced ({str(error).splitlines()[0]}); expected layers that do not depend on data"
        ) from None
    trains = model.training
    model.eval()
    with torch.no_grad():
        ShapeProp(traced.eval()).propagate(sample)
    model.train(trains)
    return traced


class _Converter:
    """Turns nodes into layers; `outputs` says which layer's output a node is."""

    def __init__(self, traced: fx.GraphModule, flat: bool) -> None:
        self.traced = traced
        self.layers: list[Layer] = [Flatten(FLAT)] if flat else []
        self.outputs: dict[fx.Node, str] = {}

    @property
    def last(self) -> str:
        """Name of the layer before."""
        return self.layers[-1].name if self.layers else INPUT

    def add(self, node: fx.Node) -> None:
        """Append the layer of a node, if it is one."""
        if node.op == "placeholder":
            self.outputs[node] = self.last
            return
        name, module = self._module(node)
        layer = self._sum(node) if module is None else self._layer(name, module, node)
        if layer:
            self.layers.append(layer)
        self.outputs[node] = self.last if layer else self.outputs[node.all_input_nodes[0]]

    def _module(self, node: fx.Node) -> tuple[str, nn.Module | None]:
        """Name and module of a node, none of a sum. A module without parameters may be used several times."""
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            return (str(node.target) if next(module.parameters(), None) is not None else node.name), module
        kind = _function(node)
        if kind in _ADDS:
            return node.name, None
        if node.op == "output":
            return node.name, nn.Identity()
        if kind not in _FUNCTIONS:
            raise _lacking(node.name, kind)
        return node.name, _FUNCTIONS[kind](*node.args[1:], **_options(node))

    def _sum(self, node: fx.Node) -> Layer:
        names = [self.outputs[each] for each in node.all_input_nodes]
        if len(node.args) != 2 or node.kwargs or len(names) != 2 or self.last not in names:
            raise ExportError(
                f"layer {node.name!r}: adds {' and '.join(names)}, expected the layer before, {self.last!r}, and an "
                "earlier one"
            )
        names.remove(self.last)
        return Add(node.name, names[0])

    def _layer(self, name: str, module: nn.Module, node: fx.Node) -> Layer | None:
        """None for what does nothing. Raises ExportError for what the kernels lack."""
        source = node.all_input_nodes[0]
        x, y = _shape(source), _shape(node)
        layer = _convert(name, module, x, y)
        if (layer or node.op == "output") and self.outputs[source] != self.last:
            raise ExportError(
                f"layer {name!r}: {_kind(module)} reads {self.outputs[source]!r}, expected the layer before, "
                f"{self.last!r}; the kernels' programs have no branches with layers of their own"
            )
        if layer and any(layer.name == other.name for other in self.layers):
            raise ExportError(f"layer {name!r}: is used twice, expected parameters of its own for each use")
        return layer


def _convert(name: str, module: nn.Module, x: torch.Size, y: torch.Size) -> Layer | None:
    """The layer of a module from shape `x` to `y`."""
    match module:
        case nn.Conv2d():
            return _conv(name, module)
        case nn.Linear() if len(x) == 2:
            return Linear(name, module.out_features, module.bias is not None)
        case nn.BatchNorm2d() if module.affine and module.track_running_stats and module.momentum:
            return BatchNorm(name, module.eps, module.momentum)
        case nn.ReLU():
            return ReLU(name)
        case nn.MaxPool2d() if not (module.ceil_mode or module.return_indices) and module.dilation == 1:
            return Pool(name, "maxpool", *_window(name, module))
        case nn.AvgPool2d() if not (module.ceil_mode or module.divisor_override) and module.count_include_pad:
            return Pool(name, "avgpool", *_window(name, module))
        case nn.AdaptiveMaxPool2d() | nn.AdaptiveAvgPool2d() if x[2] == x[3] and y[2:] == (1, 1) != x[2:]:
            kind = "maxpool" if isinstance(module, nn.AdaptiveMaxPool2d) else "avgpool"
            return Pool(name, kind, x[2], x[2])
        case nn.AdaptiveMaxPool2d() | nn.AdaptiveAvgPool2d() | nn.Flatten() if x == y:
            return None
        case nn.Flatten() if len(y) == 2 and y[0] == x[0] and x[1] in (1, y[1]):
            return Flatten(
                name
            )  # of one channel or one pixel: the order in memory, channels last, is torch's
        case nn.Identity():
            return None
        case nn.Dropout(p=0):
            return None
    raise _lacking(name, f"{_kind(module)} {list(x)} -> {list(y)} of this form")


def _conv(name: str, conv: nn.Conv2d) -> Layer:
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    if not plain or isinstance(conv.padding, str):
        raise _lacking(name, "Conv2d with groups, dilation or padding other than zeros")
    kernel, stride, padding = (_square(name, size) for size in (conv.kernel_size, conv.stride, conv.padding))
    return Conv(name, conv.out_channels, kernel, stride, padding, conv.bias is not None)


def _window(name: str, pool: nn.MaxPool2d | nn.AvgPool2d) -> tuple[int, int, int]:
    kernel, stride, padding = (_square(name, size) for size in (pool.kernel_size, pool.stride, pool.padding))
    return kernel, stride, padding


def _square(name: str, size: int | tuple[int, ...]) -> int:
    if isinstance(size, int):
        return size
    if len(set(size)) != 1:
        raise _lacking(name, f"window with sides {tuple(size)}")
    return size[0]


def _function(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "operation")


def _options(node: fx.Node) -> dict[str, Any]:
    return {name: value for name, value in node.kwargs.items() if name != "input"}


def _kind(module: nn.Module) -> str:
    """Torch's name of a module, be it sparse or not."""
    return next(kind.__name__ for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn"))


def _lacking(name: str, kind: str) -> ExportError:
    known = ", ".join(kind.__name__ for kind in _MODULES)
    return ExportError(f"layer {name!r}: the kernels lack {kind}; expected {known} and sums of two layers")


def _shape(node: fx.Node) -> torch.Size:
    shape: torch.Size = node.meta["tensor_meta"].shape
    return shape
