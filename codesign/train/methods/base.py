"""What a sparse training method is: the protocol between the methods and the layers.

A layer computes `y = x w_ff` and, for an output gradient g, `dx = p(g) w_bp` and `dw = q(g) x`. A method says what
w_ff, w_bp, p and q are. All of them are functions of the dense weight, of the ratio in force, and, for the few
methods that look back, of tensors that a layer's `Site` holds. What a method does not override is dense.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from codesign.errors import SpecError
from codesign.nm.format import NM
from codesign.train.methods.mvue import prune_unbiased
from codesign.train.schedule import Schedule
from workloads.ops import Role, Stage

_DEFAULT_RATIO, _ALWAYS = NM(2, 8), Schedule()


@dataclass(slots=True, eq=False)
class Site:
    """One sparse layer as its method sees it.

    - `cin_axis`, `cout_axis`: axes of its weight, the reduction axes of the forward and of the backward pass.
    - `goal`: the ratio that each pass shall reach; a pass that stays dense is missing.
    - `ff`, `bp`: the ratios in force, None while dense.
    - `step`: optimizer steps done. `followed`: id of the weight whose steps are counted, 0 if none.
    - `held`: what the method keeps from one step to the next.
    """

    name: str
    cin_axis: int
    cout_axis: int
    groups: int
    goal: Mapping[Stage, NM]
    ff: NM | None = None
    bp: NM | None = None
    step: int = 0
    followed: int = 0
    held: dict[str, Tensor] = field(default_factory=dict)


class Update(NamedTuple):
    """The optimizer step ahead: learning rate, and what gradients are multiplied with (None: 1)."""

    lr: float
    scale: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Method:
    """Base of all methods. The fields that every one has:

    - `nm`: N:M ratio of all layers (`sparsify` takes exceptions).
    - `schedule`: when layers are sparse.
    - `first_dense`, `head_dense`: whether the first and the last layer of the model stay dense.
    - `mvue`: ratio at which the output gradient is pruned for the weight gradient (see `methods.mvue`).
    """

    nm: NM = _DEFAULT_RATIO
    schedule: Schedule = _ALWAYS
    first_dense: bool = True
    head_dense: bool = False
    mvue: NM | None = None

    name: ClassVar[str]
    prunes: ClassVar[Mapping[Stage, Role]]
    """What is pruned in FF and BP; dense passes are missing."""
    coupled: ClassVar[bool] = False
    """Whether FF and BP are sparse together or not at all."""

    distillation_share: ClassVar[float | None] = None
    """Weight of the dense teacher in the loss of methods that distil (`codesign.train.distillation`)."""

    @classmethod
    def options_for(cls, steps: int) -> dict[str, Any]:
        """Options whose right value depends on the length of a run, for one of so many steps."""
        return {}

    def require(self, legal: bool, option: str, expected: str) -> None:
        """Raise SpecError unless an option is legal."""
        if not legal:
            raise SpecError(f"method {self.name}: {option} is {getattr(self, option)!r}; expected {expected}")

    @property
    def needs_steps(self) -> bool:
        """Whether the method must see the optimizer's steps (`codesign.train.follow`)."""
        return not self.schedule.constant

    def ratio(self, nm: NM, step: int) -> NM:
        """The ratio in force at `step` if `nm` is the goal."""
        return self.schedule.ratio(nm, step)

    def is_nm(self, site: Site) -> bool:
        """Whether pruned weights really are N:M while a ratio is in force, so that hardware can skip their zeros."""
        return True

    def forward_weight(self, site: Site, w: Tensor) -> Tensor:
        """w_ff: `w` itself or a new tensor."""
        return w

    def backward_weight(self, site: Site, w: Tensor, w_ff: Tensor) -> Tensor:
        """w_bp: one of the arguments or a new tensor."""
        return w_ff

    def observe(self, site: Site, x: Tensor, channel_axis: int) -> None:
        """Look at the input of a layer that trains; `channel_axis` is that of Cin."""

    def input_gradient_operand(self, site: Site, g: Tensor, channel_axis: int) -> Tensor:
        """p(g), the output gradient that is multiplied with w_bp; `channel_axis` is that of Cout in `g`."""
        return g

    def weight_gradient_operand(self, g: Tensor, channel_axis: int) -> Tensor:
        """q(g), the output gradient that is multiplied with the input."""
        return prune_unbiased(g, self.mvue, channel_axis) if self.mvue else g

    def renew(self, site: Site, w: Tensor) -> None:
        """Renew what the site holds: the ratios in force are new, also at the start."""

    def before_step(self, site: Site, w: Tensor, w_ff: Tensor, grad: Tensor, update: Update) -> None:
        """Change `grad`, or `w` itself, in place before an optimizer step."""

    def after_step(self, site: Site, w: Tensor) -> None:
        """Renew what the site holds if it is due; `site.step` steps are done."""


@dataclass(frozen=True, kw_only=True)
class PeriodicMethod(Method):
    """A method that renews what its sites hold every so many steps."""

    refresh_steps: int

    def __post_init__(self) -> None:
        self.require(self.refresh_steps >= 1, "refresh_steps", "at least 1")

    @property
    def needs_steps(self) -> bool:
        return True

    def after_step(self, site: Site, w: Tensor) -> None:
        if site.step % self.refresh_steps == 0:
            self.renew(site, w)


def add_decay(grad: Tensor, w: Tensor, w_ff: Tensor, rate: float, update: Update) -> None:
    """Add `rate` times the pruned part of the weight to a gradient, as SR-STE does."""
    pruned = w - w_ff
    grad.add_(pruned if update.scale is None else pruned * update.scale, alpha=rate)
