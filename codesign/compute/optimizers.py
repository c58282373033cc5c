"""The update that WUVE makes, in which precision and order. This text is normative.

The master weight `w` and the optimizer's state are FP32. The gradient comes in 16 bits and is widened (an FP32
gradient is taken as it is), and multiplied by 1 / loss scale unless that is 1. Each `+ - * / sqrt` below is one FP32
operation, rounded to nearest, ties to even; none is fused. Constants in capitals are computed in double precision by
the host, for each step, and rounded to FP32 once. At last `w` is narrowed to 16 bits.

SGD with momentum                          AdamW (Loshchilov & Hutter, ICLR 2019)

    g = g + DECAY * w   if it decays           w = w * KEEP        if it decays; KEEP = 1 - lr * weight decay
    v = MOMENTUM * v + g   if it has any       m = m + RISE1 * (g - m)                   RISE1 = 1 - beta1
    w = w + STEP * v       STEP = -lr          v = BETA2 * v + (RISE2 * g) * g           RISE2 = 1 - beta2
                                               d = sqrt(v) / ROOT + EPS                  ROOT = sqrt(1 - beta2^t)
                                               w = w + (STEP * m) / d                    STEP = -lr / (1 - beta1^t)

These are the operations of `torch.optim.SGD` and `torch.optim.AdamW` on the CPU (foreach=False), in their order. They
agree bit for bit where torch does not fuse multiplications and additions (ATEN_CPU_CAPABILITY=default), but for its
square root, which may be off by one unit in the last place. Where it does fuse, it rounds less often.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np

from codesign.errors import SpecError


class SgdConstants(NamedTuple):
    """FP32 constants of an SGD step."""

    decay: np.float32
    momentum: np.float32
    step: np.float32


class AdamWConstants(NamedTuple):
    """FP32 constants of an AdamW step."""

    keep: np.float32
    rise1: np.float32
    beta2: np.float32
    rise2: np.float32
    root: np.float32
    eps: np.float32
    step: np.float32


@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent; 0 switches momentum or weight decay off."""

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def constants(self) -> SgdConstants:
        """The same for all steps."""
        return SgdConstants(*map(np.float32, (self.weight_decay, self.momentum, -self.lr)))


@dataclass(frozen=True, slots=True)
class AdamW:
    """Adam with decoupled weight decay; 0 switches that off. Raises SpecError unless 0.5 < beta1 < 1."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        if not 0.5 < self.beta1 < 1:  # torch writes the running average in another way below
            raise SpecError(f"AdamW: beta1 {self.beta1}: expected more than 0.5 and less than 1")

    def constants(self, t: int) -> AdamWConstants:
        """Of step `t`, counted from 1."""
        root, step = sqrt(1 - self.beta2**t), -self.lr / (1 - self.beta1**t)
        keep = 1 - self.lr * self.weight_decay
        numbers = keep, 1 - self.beta1, self.beta2, 1 - self.beta2, root, self.eps, step
        return AdamWConstants(*map(np.float32, numbers))
