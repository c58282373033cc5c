"""What goes into and comes out of layers, seen through hooks that exist only while somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

See = Callable[[str, str, Tensor], None]
"""Takes the name of a layer, one of WHAT, and the tensor, which must not be changed."""

WHAT = ("input", "output", "input_gradient", "output_gradient")


@contextmanager
def observed(layers: Mapping[str, nn.Module], see: See) -> Iterator[None]:
    """Show `see` the tensors of WHAT at every call of a layer and in every backward pass.

    An input gradient is that of this layer alone, even if its input goes to other layers, too. Results do not change.
    """
    handles = []
    try:
        for name, layer in layers.items():
            handles.append(layer.register_forward_pre_hook(_before(name, see)))
            handles.append(layer.register_forward_hook(_after(name, see)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _before(name: str, see: See) -> Callable[[nn.Module, Any], Any]:
    def hook(_layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        x = arguments[0]
        see(name, "input", x.detach())
        if x.requires_grad:
            x = x.view_as(x)  # a step of its own in the graph
            x.register_hook(lambda gradient: see(name, "input_gradient", gradient))
        return (x, *arguments[1:])

    return hook


def _after(name: str, see: See) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(_layer: nn.Module, _arguments: Any, output: Tensor) -> None:
        see(name, "output", output.detach())
        if output.requires_grad:
            output.register_hook(lambda gradient: see(name, "output_gradient", gradient))  # type: ignore[no-untyped-call]

    return hook
