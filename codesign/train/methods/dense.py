"""Dense training: the baseline of every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from codesign.train.methods.base import Method
from workloads.ops import Role, Stage
from workloads.sparsity import METHODS


@dataclass(frozen=True, kw_only=True)
class Dense(Method):
    """Prunes nothing, except the gradient of WU if `mvue` is given."""

    name: ClassVar[str] = "dense"
    prunes: ClassVar[Mapping[Stage, Role]] = METHODS["dense"]
