"""Writes down the operations of a forward pass on the meta device: which tensors each one reads and makes.

A `Value` is a tensor as one operation left it, so writing in place makes a new one. Tensors may share memory: what is
written through one is seen by those that show all of the memory, and by those that are made later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from codesign.train.tracer_contents import Contents, Maker
from codesign.train.tracer_values import Call, Value, values_in

META = torch.device("meta")

OVERWRITES = frozenset({"fill", "zero"})
"""Operations that use the shapes of their operands alone, besides `new_*` and `*_like`."""


@dataclass(slots=True)
class _Memory:
    """Values of the tensors that share one piece of memory, by their `id`, and of all of it where that is known."""

    whole: Value | None = None
    tensors: dict[int, Value] = field(default_factory=dict)


class Recorder(TorchDispatchMode):
    """Records, while it is active, all that is computed from inputs and parameters; other tensors are constants."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self._modules: list[tuple[nn.Module | None, str]] = [(None, "")]
        self._memories: dict[int, _Memory] = {}
        self._alive: list[Tensor] = []  # else an address could be given out again
        self._contents = Contents()

    def add_input(self, tensor: Tensor, *, parameter: str = "") -> Value:
        """Begin with an input or a parameter."""
        return self._remember(tensor, _value(tensor, parameter=parameter))

    def add_constant(self, tensor: Tensor, content: Tensor) -> None:
        """Begin with a constant and what it holds."""
        self._contents.set(self._remember(tensor, _value(tensor, constant=True)), content)

    @property
    def module(self) -> str:
        """Name of the innermost module that is being called."""
        return self._modules[-1][1]

    @contextmanager
    def follow_modules(self, model: nn.Module) -> Iterator[None]:
        """Know which modules of `model` are being called; one that is not registered counts as its caller."""
        names = {module: name for name, module in model.named_modules()}

        def enter(module: nn.Module, _: Any) -> None:
            self._modules.append((module, names.get(module, self.module)))

        def leave(module: nn.Module, *_: Any) -> None:
            while self._modules.pop()[0] is not module:
                pass  # an exception left it

        with ExitStack() as hooks:
            hooks.enter_context(register_module_forward_pre_hook(enter))
            hooks.enter_context(register_module_forward_hook(leave))
            yield

    def value(self, tensor: Tensor) -> Value:
        """What a tensor is now."""
        memory = self._memory(tensor)
        if known := memory.tensors.get(id(tensor)):
            return known
        if memory.whole:
            shown = _value(tensor, constant=memory.whole.constant, random=memory.whole.random)
            self._add("alias", {"self": memory.whole}, [shown])
            return self._remember(tensor, shown)
        self.add_constant(tensor, tensor)
        return memory.tensors[id(tensor)]

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and record it."""
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return self._contents.get(self.value(args[0])).item()
        operands, options = tree_map_only(Tensor, self.value, (args, kwargs))
        args, kwargs = _on_one_device(args, kwargs)
        result = func(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        values = self._record(func, operands, options, results)
        for output, (value, tensor) in enumerate(zip(values, results, strict=True)):
            self._contents.set_maker(value, Maker(func, operands, options, output, tensor.dtype))
        return result

    def _record(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], results: list[Tensor]
    ) -> list[Value]:
        name = func._schema.name.removeprefix("aten::")
        in_place = name.endswith("_") and not name.endswith("__")
        op = name.removesuffix("_") if in_place else name
        shapes_only = op in OVERWRITES or op.startswith("new_") or op.endswith("_like")
        operands = [] if shapes_only else values_in((args, kwargs))
        constant = all(value.constant for value in operands)
        random = torch.Tag.nondeterministic_seeded in func.tags or any(value.random for value in operands)
        values = [_value(tensor, constant=constant, random=constant and random) for tensor in results]
        self._add(op, _by_name(func, args, kwargs), values, pointwise=torch.Tag.pointwise in func.tags)
        for tensor, value in zip(results, values, strict=True):
            if in_place:
                self._overwrite(tensor, value)
            else:
                self._remember(tensor, value)
        return values

    def _add(
        self, op: str, arguments: dict[str, Any], outputs: list[Value], *, pointwise: bool = False
    ) -> None:
        if not all(value.constant for value in outputs):
            modules = tuple(name for _, name in self._modules)
            self.calls.append(Call(op, arguments, tuple(outputs), modules, pointwise))

    def _remember(self, tensor: Tensor, value: Value) -> Value:
        memory = self._memory(tensor)
        memory.tensors[id(tensor)] = value
        if memory.whole is None and _is_whole(tensor):
            memory.whole = value
        self._alive.append(tensor)
        return value

    def _overwrite(self, tensor: Tensor, value: Value) -> None:
        """Note that `tensor` was written in place. Other tensors that show a part of it are not found."""
        memory = self._memory(tensor)
        if _is_whole(tensor):
            memory.whole, memory.tensors = value, {}
        elif before := memory.whole:
            memory.whole = Value(before.shape, before.offset, constant=before.constant and value.constant)
            self._add("slice_scatter", {"self": before, "src": value}, [memory.whole])
            parts = {key: part for key, part in memory.tensors.items() if part.elements < before.elements}
            memory.tensors = parts
        self._remember(tensor, value)

    def _memory(self, tensor: Tensor) -> _Memory:
        return self._memories.setdefault(tensor.untyped_storage()._cdata, _Memory())


def _value(tensor: Tensor, *, parameter: str = "", constant: bool = False, random: bool = False) -> Value:
    return Value(tuple(tensor.shape), int(tensor.storage_offset()), parameter, constant, random)


def _is_whole(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


def _by_name(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a call by name, defaults included."""
    formal = func._schema.arguments
    defaults = {argument.name: argument.default_value for argument in formal if argument.has_default_value()}
    given = {argument.name: value for argument, value in zip(formal, args, strict=False)}
    return defaults | given | kwargs


def _on_one_device(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with every tensor on the meta device if one is; constants of a model may be anywhere."""
    if not any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves((args, kwargs))):
        return args, kwargs
    args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to(META), (args, kwargs))
    return args, kwargs | ({"device": META} if kwargs.get("device") else {})
