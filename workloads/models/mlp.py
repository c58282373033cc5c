"""Multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


class Mlp(nn.Sequential):
    """Linear layers from `sizes[0]` inputs to `sizes[-1]` classes, ReLU between them; images are flattened."""

    def __init__(self, *, sizes: Sequence[int]) -> None:
        super().__init__()
        self.add_module("flatten", nn.Flatten())  # (B, ...) -> (B, sizes[0])
        for index, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
            if index > 1:
                self.add_module(f"relu{index - 1}", nn.ReLU())
            self.add_module(f"fc{index}", nn.Linear(inputs, outputs))
