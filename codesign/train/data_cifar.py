"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), read from the binary archives of their author."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codesign.errors import SpecError
from codesign.spec_errors import printable
from codesign.train.data_images import Labelled, image_input, image_splits, in_memory
from codesign.train.data_source import Splits
from workloads.models import ModelInput

HOME = "https://www.cs.toronto.edu/~kriz"
IMAGE = (3, 32, 32)


class Archive(NamedTuple):
    """A published archive; in its records, `label_bytes` labels, the one that counts last, precede the image."""

    name: str
    md5: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int
    classes: int


ARCHIVES = {
    10: Archive(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        tuple(f"cifar-10-batches-bin/data_batch_{index}.bin" for index in range(1, 6)),
        ("cifar-10-batches-bin/test_batch.bin",),
        label_bytes=1,
        classes=10,
    ),
    100: Archive(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        ("cifar-100-binary/train.bin",),
        ("cifar-100-binary/test.bin",),
        label_bytes=2,  # coarse, fine
        classes=100,
    ),
}


def load_cifar10(where: Path | None, model_input: ModelInput | None) -> Splits:
    """CIFAR-10 from the archive in folder `where`; the published test set is the validation part."""
    return _load(ARCHIVES[10], where, model_input)


def load_cifar100(where: Path | None, model_input: ModelInput | None) -> Splits:
    """CIFAR-100 from the archive in folder `where`; the published test set is the validation part."""
    return _load(ARCHIVES[100], where, model_input)


def _load(archive: Archive, folder: Path | None, model_input: ModelInput | None) -> Splits:
    if folder is None:
        raise SpecError(
            f"data 'cifar{archive.classes}': expected cifar{archive.classes}:DIR, the folder of {archive.name}"
        )
    chosen = image_input(model_input, default_size=IMAGE[-1])
    path = folder / archive.name
    _check(path, archive)
    content = _members(path, {*archive.train, *archive.test})
    return image_splits(
        _labelled(archive, [content[name] for name in archive.train]),
        _labelled(archive, [content[name] for name in archive.test]),
        classes=archive.classes,
        model_input=chosen,
        augmented=True,
    )


def _check(path: Path, archive: Archive) -> None:
    """Raise SpecError unless the file is, byte for byte, the published one: then its content needs no checks."""
    name = printable(str(path))
    if not path.is_file():
        raise SpecError(f"{name}: no such file; download {HOME}/{archive.name} and put it there")
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != archive.md5:
        raise SpecError(f"{name}: md5 is {md5}, expected {archive.md5}; download {HOME}/{archive.name} again")


def _members(path: Path, names: set[str]) -> dict[str, bytes]:
    """Content of the named files, in one pass, as the archive can only be read forwards."""
    content = {}
    with tarfile.open(path, "r|gz") as tar:
        for member in tar:
            if member.name in names and (file := tar.extractfile(member)):
                content[member.name] = file.read()
    return content


def _labelled(archive: Archive, parts: list[bytes]) -> Labelled:
    record_bytes = archive.label_bytes + int(np.prod(IMAGE))
    records = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, record_bytes)
    labels = records[:, archive.label_bytes - 1].astype(np.int64)
    return in_memory(records[:, archive.label_bytes :].reshape(-1, *IMAGE), labels)
