"""One door to all training data.

| data               | what it is                                                                                |
|--------------------|-------------------------------------------------------------------------------------------|
| `digits`           | 1,797 grey 8 x 8 images of handwritten digits that come with scikit-learn (Alpaydin 1998)  |
| `cifar10:DIR`      | CIFAR-10, from `cifar-10-binary.tar.gz` in a folder                                       |
| `cifar100:DIR`     | CIFAR-100, from `cifar-100-binary.tar.gz` in a folder                                     |
| `imagefolder:PATH` | PNG and JPEG files, a subfolder for each class                                            |
| `text[:PATH]`      | characters of a UTF-8 file, by default of the sources of the Python standard library      |

Nothing is downloaded and nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from codesign.errors import SpecError
from codesign.spec_errors import nearest, shorten
from codesign.train.data_cifar import load_cifar10, load_cifar100
from codesign.train.data_folder import load_folder
from codesign.train.data_images import load_digits
from codesign.train.data_source import Source, Splits
from codesign.train.data_text import load_text
from workloads.models import ModelInput

_LOADERS: dict[str, Callable[[Path | None, ModelInput | None], Splits]] = {
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "digits": load_digits,
    "imagefolder": load_folder,
    "text": load_text,
}


@dataclass(frozen=True)
class TrainBatches:
    """Full batches in an order, and with random variations, that follow from the seed and the epoch alone."""

    source: Source
    batch: int
    seed: int

    def __len__(self) -> int:
        """Batches of an epoch; what does not fill one is left out."""
        return len(self.source) // self.batch

    def epoch(self, number: int, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of epoch `number`, from batch `start` on, as an uninterrupted run would see them."""
        order = np.random.default_rng((self.seed, number, 0)).permutation(len(self.source))
        for step in range(start, len(self)):
            rng = np.random.default_rng((self.seed, number, 1 + step))
            yield self.source.load(order[step * self.batch : (step + 1) * self.batch], rng)


@dataclass(frozen=True)
class ValidationBatches:
    """Every sample once, unvaried and in order; the last batch may be smaller."""

    source: Source
    batch: int

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.source) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets."""
        for first in range(0, len(self.source), self.batch):
            yield self.source.load(np.arange(first, min(first + self.batch, len(self.source))), None)


@dataclass(frozen=True)
class Data:
    """Training and validation batches.

    Inputs are float32 (B, *model_input.shape) and targets int64 (B,), both on the CPU; of a text both are
    int64 (B, T), the target of each token being the next. Targets are below `classes`.
    """

    name: str
    train: TrainBatches
    validation: ValidationBatches
    classes: int
    model_input: ModelInput


def load_data(
    spec: str, *, batch: int, seed: int, root: Path = Path(), model_input: ModelInput | None = None
) -> Data:
    """The data that `spec` names in the table above; a path in it is relative to `root`.

    Samples are brought to the form of `model_input`; without it, images are 3 x 32 x 32 (of a folder 3 x 224 x 224)
    and texts 128 tokens long. Which samples are for validation does not depend on the seed. Raises SpecError for an
    unknown name, files that are missing or bad, an input that the data cannot fill and a batch too large.
    """
    kind, _, where = spec.partition(":")
    if kind not in _LOADERS:
        raise SpecError(
            f"unknown data {shorten(spec)!r}{nearest(kind, _LOADERS)}; expected digits, cifar10:DIR, "
            "cifar100:DIR, imagefolder:PATH or text[:PATH]"
        )
    if seed < 0:
        raise SpecError(f"seed {seed}: expected an integer from 0")
    splits = _LOADERS[kind](root / where if where else None, model_input)
    samples = len(splits.train)
    if not 1 <= batch <= samples:
        raise SpecError(
            f"batch {batch}: expected an integer from 1 to the {samples} training samples of {spec}"
        )
    return Data(
        spec,
        TrainBatches(splits.train, batch, seed),
        ValidationBatches(splits.validation, batch),
        splits.classes,
        splits.model_input,
    )
