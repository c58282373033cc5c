"""Text as a sequence of characters."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.errors import SpecError
from codesign.input_files import read_file
from codesign.spec_errors import printable
from codesign.train.data_source import Indices, Splits, describe
from workloads.models import ModelInput

MAX_BYTES = 64 << 20
CORPUS_BYTES = 4 << 20

MIN_WINDOWS = 20
"""Sequences that a text must hold: two of them are its validation part, and one of these allows for shifts."""


@dataclass(frozen=True)
class Text:
    """Source of windows of `length` tokens, at multiples of `length`, each with the token that follows."""

    tokens: NDArray[np.int32]
    length: int

    def __len__(self) -> int:
        """Number of windows; the last is left out, so that every window can be shifted."""
        return len(self.tokens) // self.length - 1

    def load(self, indices: Indices, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Tokens (B, T) and their successors (B, T); with `rng`, windows start up to T - 1 tokens later."""
        shift = 0 if rng is None else rng.integers(self.length, size=len(indices))
        starts = indices * self.length + shift
        windows = self.tokens[starts[:, None] + np.arange(self.length + 1)].astype(np.int64)  # (B, T + 1)
        return torch.from_numpy(windows[:, :-1]), torch.from_numpy(windows[:, 1:])


def load_text(where: Path | None, model_input: ModelInput | None) -> Splits:
    """A UTF-8 file, by default `standard_library()`: its first nine tenths for training, the rest for validation.

    The tokens are the characters that occur, numbered by code point.
    """
    chosen = model_input or ModelInput((128,), tokens=True)
    if not chosen.tokens:
        raise SpecError(
            f"the network reads {describe(chosen)}, the data are text; use gpt2-small or gpt-mini"
        )
    text = _read(where) if where else standard_library()
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    vocabulary, numbers = np.unique(characters, return_inverse=True)
    tokens = numbers.astype(np.int32)
    (length,) = chosen.shape
    if len(tokens) < MIN_WINDOWS * length:
        raise SpecError(
            f"text of {len(tokens)} characters is too short for sequences of {length} tokens; "
            f"expected at least {MIN_WINDOWS * length}, or a smaller seq_len"
        )
    cut = len(tokens) * 9 // 10
    return Splits(Text(tokens[:cut], length), Text(tokens[cut:], length), len(vocabulary), chosen)


def standard_library() -> str:
    """Sources of the running Python's standard library: top-level modules in ASCII by name, at most 4 MiB."""
    folder = Path(sysconfig.get_path("stdlib"))
    sources = (path.read_bytes() for path in sorted(folder.glob("*.py")))
    corpus = b"".join(source for source in sources if source.isascii())[:CORPUS_BYTES]
    if not corpus:
        raise SpecError(f"{folder}: no sources of the Python standard library; expected text:PATH")
    return corpus.decode("ascii")


def _read(path: Path) -> str:
    content = read_file(path, "a text file", MAX_BYTES)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{printable(str(path))}: byte {error.start} is not UTF-8; expected a text file"
        ) from None
