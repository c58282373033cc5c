"""Image files, a subfolder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from codesign.errors import SpecError
from codesign.spec_errors import printable
from codesign.train.data_images import (
    HELD_OUT,
    Labelled,
    Pixels,
    hold_out,
    image_input,
    image_shape,
    image_splits,
)
from codesign.train.data_source import Indices, Splits
from workloads.models import ModelInput

SUFFIXES = (".png", ".jpg", ".jpeg")

STATISTICS_IMAGES = 1000
"""Images that are decoded beforehand to measure mean and deviation."""

Files = Sequence[tuple[Path, int]]
"""Image files and their classes."""


def load_folder(where: Path | None, model_input: ModelInput | None) -> Splits:
    """Images of a folder, decoded when they are needed.

    `where` holds a subfolder for each class, of which every fifth image is held out; or, as ImageNet, the folders
    `train` and `val` with the same subfolders. Classes are numbered, and images ordered, by name. An image is cropped
    about its centre to the shape of the input, then resized.
    """
    if where is None:
        raise SpecError(
            "data 'imagefolder': expected imagefolder:PATH, a folder with a subfolder for each class"
        )
    _check_pillow()
    chosen = image_input(model_input, default_size=224)
    train, validation, classes = _split(where)
    _, height, width = image_shape(chosen)
    return image_splits(
        _decoded(train, height, width),
        _decoded(validation, height, width),
        classes=classes,
        model_input=chosen,
        augmented=True,
        statistics_limit=STATISTICS_IMAGES,
    )


def _split(folder: Path) -> tuple[Files, Files, int]:
    """Files for training, files for validation, and the number of classes."""
    parts = [folder / "train", folder / "val"]
    if all(part.is_dir() for part in parts):
        names = _class_names(parts[0])
        if _class_names(parts[1]) != names:
            raise SpecError(
                f"{_show(folder)}: train and val have different subfolders; expected the same classes"
            )
        train, validation = ([file for files in _files(part, names) for file in files] for part in parts)
        return train, validation, len(names)
    names = _class_names(folder)
    train, validation = [], []
    for files in _files(folder, names):
        kept, held = hold_out(np.arange(len(files)))
        train += [files[index] for index in kept]
        validation += [files[index] for index in held]
    if not validation:
        raise SpecError(
            f"{_show(folder)}: no class has {HELD_OUT} images, of which one is held out; add images"
        )
    return train, validation, len(names)


def _class_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise SpecError(f"{_show(folder)}: no such folder; expected a folder with a subfolder for each class")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not names:
        raise SpecError(f"{_show(folder)}: has no subfolders; expected one for each class")
    return names


def _files(folder: Path, names: Sequence[str]) -> Sequence[Files]:
    """Image files of each class, sorted by name."""
    classes = [
        [(file, label) for file in sorted((folder / name).iterdir()) if file.suffix.lower() in SUFFIXES]
        for label, name in enumerate(names)
    ]
    for name, files in zip(names, classes, strict=True):
        if not files:
            raise SpecError(f"{_show(folder / name)}: has no images; expected files {', '.join(SUFFIXES)}")
    return classes


def _decoded(files: Files, height: int, width: int) -> Labelled:
    paths = [path for path, _ in files]

    def read(indices: Indices) -> Pixels:
        return np.stack([_decode(paths[index], height, width) for index in indices])

    return Labelled(read, np.array([label for _, label in files], np.int64))


def _decode(path: Path, height: int, width: int) -> Pixels:
    """(3, height, width) pixels of a file. Raises SpecError."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            fitted = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:  # all that a bad file raises
        reason = printable(str(error)).replace(str(path), "file")
        raise SpecError(f"{_show(path)}: is no PNG or JPEG image that can be read: {reason}") from None
    return np.asarray(fitted).transpose(2, 0, 1)


def _check_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise SpecError("reading images needs the pillow package; run: pip install codesign[train]") from None


def _show(path: Path) -> str:
    return printable(str(path))
