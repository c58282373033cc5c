"""How N:M sparsity comes and goes over a training run."""

from __future__ import annotations

from dataclasses import dataclass

from codesign.errors import SpecError
from codesign.nm.format import NM


@dataclass(frozen=True, slots=True)
class Schedule:
    """Dense before `start_step`, N sinking linearly from M until `full_step`, dense again from `dense_step` on.

    Steps count the optimizer's steps that are done, from 0. The default is N:M throughout. A dense warm-up has
    `start_step == full_step > 0`. A ramp from 25 % to 75 % of training is that of Jin et al., "The Journey Matters"
    (ICLR 2025); sparse pre-training with dense fine-tuning that of Thangarasa et al., "SPDF" (UAI 2023).
    """

    start_step: int = 0
    full_step: int = 0
    dense_step: int | None = None

    def __post_init__(self) -> None:
        points = [0, self.start_step, self.full_step]
        points += [] if self.dense_step is None else [self.dense_step]
        if points != sorted(points):
            raise SpecError(f"schedule {self}: expected 0 <= start_step <= full_step <= dense_step")

    @classmethod
    def of_fractions(cls, steps: int, start: float = 0.0, full: float = 0.0, dense: float = 1.0) -> Schedule:
        """The points as fractions of a training run of so many steps; `full` is at least `start`.

        Raises SpecError if they are not in order between 0 and 1.
        """
        if not 0 <= start <= 1 or not max(start, full) <= dense <= 1:
            raise SpecError(
                f"schedule fractions {start}, {full}, {dense}: expected start <= full <= dense <= 1"
            )
        first, last = round(start * steps), round(max(start, full) * steps)
        return cls(first, last, None if dense == 1 else round(dense * steps))

    @property
    def constant(self) -> bool:
        """Whether the ratio never changes."""
        return self == Schedule()

    def ratio(self, nm: NM, step: int) -> NM:
        """The ratio in force at `step` if `nm` is the goal; M:M where training is dense."""
        if step < self.start_step or (self.dense_step is not None and step >= self.dense_step):
            return NM(nm.m, nm.m)
        if step >= self.full_step:
            return nm
        pruned = (nm.m - nm.n) * (step - self.start_step) // (self.full_step - self.start_step)
        return NM(nm.m - pruned, nm.m)
