"""What the constants of a forward pass hold: computed on the CPU, and only when the pass looks at it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves, tree_map_only

from codesign.errors import SpecError
from codesign.train.tracer_values import Value

NO_DATA = (
    "looks at the values of a tensor (item, if, nonzero, a mask as index), which a trace does not have; "
    "trace a model that decides by shapes"
)


class Maker(NamedTuple):
    """An operation that made a constant, one of its outputs. Its arguments hold values in place of tensors."""

    func: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: int
    dtype: torch.dtype


class Contents:
    """Remembers how constants are made."""

    def __init__(self) -> None:
        self._known: dict[Value, Tensor] = {}
        self._makers: dict[Value, Maker] = {}

    def set(self, value: Value, content: Tensor) -> None:
        """Note what a constant holds, if that is known."""
        if not content.is_meta:
            self._known[value] = content

    def set_maker(self, value: Value, maker: Maker) -> None:
        """Note how a constant is made."""
        if value.constant and not value.random:
            self._makers[value] = maker

    def get(self, value: Value) -> Tensor:
        """What a constant holds. Raises SpecError if that is not known, or it is none."""
        if value not in self._known:
            if value not in self._makers:
                raise SpecError(NO_DATA)
            self._known[value] = self._make(self._makers[value])
        return self._known[value]

    def _make(self, maker: Maker) -> Tensor:
        args, kwargs = tree_map_only(Value, self._operand, (maker.args, maker.kwargs))
        if kwargs.get("device"):
            kwargs["device"] = "cpu"
        made: Tensor = tree_leaves(maker.func(*args, **kwargs))[maker.output]
        return made.to(maker.dtype)

    def _operand(self, value: Value) -> Tensor:
        """A tensor that may be written in place; of what is no constant, a constant depends on the shape alone."""
        return self.get(value).to("cpu", copy=True) if value.constant else torch.empty(value.shape)
