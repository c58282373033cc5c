"""Images of any origin, brought to the form that a network reads, and the handwritten digits of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from codesign.errors import SpecError
from codesign.train.data_source import Indices, Splits, describe
from workloads.models import ModelInput

Pixels = NDArray[np.uint8]
"""Images (N, C, H, W), C being 1 or 3."""

HELD_OUT = 5
"""Where a data set has no validation part of its own, every so many-th sample is held out."""

STATISTICS_CHUNK = 1000


class Labelled(NamedTuple):
    """Images by their numbers, and the class of each."""

    read: Callable[[Indices], Pixels]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Preparation:
    """From pixels to inputs: mean 0 and deviation 1 in each channel, then the wanted size and channels."""

    mean: Tensor  # (C, 1, 1)
    deviation: Tensor  # (C, 1, 1)
    image_shape: tuple[int, int, int]
    input_shape: tuple[int, ...]

    def __call__(self, pixels: Pixels) -> Tensor:
        """(B, C, H, W) bytes -> (B, *input_shape) float32. Sizes change bilinearly, grey is repeated."""
        x = (torch.from_numpy(pixels).float() - self.mean) / self.deviation
        channels, *size = self.image_shape
        if list(x.shape[2:]) != size:
            x = interpolate(x, size=size, mode="bilinear", antialias=True)
        if channels == 1:
            x = x.mean(dim=1, keepdim=True)
        return x.expand(-1, channels, -1, -1).reshape(-1, *self.input_shape)


@dataclass(frozen=True)
class Images:
    """Source of labelled images."""

    samples: Labelled
    prepare: Preparation
    augmented: bool

    def __len__(self) -> int:
        """Number of images."""
        return len(self.samples.labels)

    def load(self, indices: Indices, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Inputs (B, *input shape) and classes (B,)."""
        pixels = self.samples.read(indices)
        if self.augmented and rng is not None:
            pixels = flip_and_shift(pixels, rng)
        return self.prepare(pixels), torch.from_numpy(self.samples.labels[indices])


def load_digits(where: Path | None, model_input: ModelInput | None) -> Splits:
    """The digits of scikit-learn, every fifth held out; not augmented, as a mirrored digit is no digit."""
    if where is not None:
        raise SpecError(f"data 'digits:{where}': digits come with scikit-learn; write digits without a path")
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise SpecError("digits need the scikit-learn package; run: pip install codesign[train]") from None
    digits = load()
    pixels = digits.images.astype(np.uint8)[:, None]  # (N, 1, 8, 8), values 0 to 16
    train, validation = hold_out(np.arange(len(pixels)))
    labels = digits.target.astype(np.int64)
    return image_splits(
        in_memory(pixels[train], labels[train]),
        in_memory(pixels[validation], labels[validation]),
        classes=10,
        model_input=image_input(model_input, default_size=32),
        augmented=False,
    )


def image_input(wanted: ModelInput | None, *, default_size: int) -> ModelInput:
    """The input form to make of images, checked. Raises SpecError."""
    chosen = wanted or ModelInput((3, default_size, default_size), tokens=False)
    image_shape(chosen)
    return chosen


def image_shape(model_input: ModelInput) -> tuple[int, int, int]:
    """(C, H, W) that fills a network's input; a flat one takes a square image, grey if it can be, else RGB."""
    if not model_input.tokens:
        match model_input.shape:
            case (1 | 3 as channels, height, width):
                return channels, height, width
            case (inputs,) if isqrt(inputs) ** 2 == inputs:
                return 1, isqrt(inputs), isqrt(inputs)
            case (inputs,) if inputs % 3 == 0 and isqrt(inputs // 3) ** 2 == inputs // 3:
                return 3, isqrt(inputs // 3), isqrt(inputs // 3)
    raise SpecError(
        f"the network reads {describe(model_input)}, the data are images; expected [1 or 3, H, W] "
        "or the number of values of a square image, such as 784 or 3072"
    )


def image_splits(
    train: Labelled,
    validation: Labelled,
    *,
    classes: int,
    model_input: ModelInput,
    augmented: bool,
    statistics_limit: int | None = None,
) -> Splits:
    """Both parts of an image data set, normalised by the `statistics` of the training part."""
    mean, deviation = (
        torch.from_numpy(value).float().view(-1, 1, 1) for value in statistics(train, statistics_limit)
    )
    prepare = Preparation(mean, deviation, image_shape(model_input), model_input.shape)
    return Splits(
        Images(train, prepare, augmented), Images(validation, prepare, augmented=False), classes, model_input
    )


def in_memory(pixels: Pixels, labels: NDArray[np.int64]) -> Labelled:
    """Images that are held in an array."""
    return Labelled(lambda indices: pixels[indices], labels)


def hold_out(indices: Indices) -> tuple[Indices, Indices]:
    """Numbers for training, and every fifth for validation."""
    held = np.arange(len(indices)) % HELD_OUT == HELD_OUT - 1
    return indices[~held], indices[held]


def statistics(samples: Labelled, limit: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (C,) of each channel; a constant channel has deviation 1.

    Exact over all images or, if there are more than `limit`, over that many at even distances.
    """
    count = len(samples.labels)
    used = min(count, limit or count)
    chosen = np.arange(used) * count // used
    parts = (samples.read(part) for part in np.array_split(chosen, -(-used // STATISTICS_CHUNK)))
    histogram = sum(map(_histogram, parts), np.zeros((1, 256), np.int64))  # (C, 256)
    levels = np.arange(256)
    share = histogram / histogram.sum(axis=1, keepdims=True)
    mean = share @ levels
    variance = (share * (levels - mean[:, None]) ** 2).sum(axis=1)
    return mean, np.sqrt(np.where(variance > 0, variance, 1))


def _histogram(pixels: Pixels) -> NDArray[np.int64]:
    """How often each channel has each value: (N, C, H, W) -> (C, 256)."""
    return np.stack(
        [np.bincount(pixels[:, channel].ravel(), minlength=256) for channel in range(pixels.shape[1])]
    )


def flip_and_shift(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Mirror half of the images and shift each by up to an eighth of its size, black outside.

    For 32 x 32 images that is the augmentation of He et al., CVPR 2016.
    """
    count, channels, height, width = pixels.shape
    pad_h, pad_w = height // 8, width // 8
    mirrored = np.where(rng.random((count, 1, 1, 1)) < 0.5, pixels[..., ::-1], pixels)
    padded = np.pad(mirrored, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    rows = rng.integers(2 * pad_h + 1, size=(count, 1)) + np.arange(height)  # (N, H)
    columns = rng.integers(2 * pad_w + 1, size=(count, 1)) + np.arange(width)  # (N, W)
    shifted: Pixels = padded[
        np.arange(count)[:, None, None, None],
        np.arange(channels)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
    return shifted
