"""What every data set supplies: samples in a fixed order, cut into a training and a validation part."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workloads.models import ModelInput

Indices = NDArray[np.int64]


class Source(Protocol):
    """Samples by number."""

    def __len__(self) -> int:
        """Number of samples."""

    def load(self, indices: Indices, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Inputs and targets of these samples, batch axis first; with `rng`, varied at random for training."""


class Splits(NamedTuple):
    """A data set: its two parts, its number of classes (of a text: the vocabulary) and the form of its inputs."""

    train: Source
    validation: Source
    classes: int
    model_input: ModelInput


def describe(model_input: ModelInput) -> str:
    """`images of shape [3, 32, 32]`: the middle of a message."""
    if model_input.tokens:
        return f"sequences of {model_input.shape[0]} tokens"
    return f"real inputs of shape {list(model_input.shape)}"
