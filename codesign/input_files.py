"""Reading of files that a user names: bounded, regular files only, every failure one clear line."""

from __future__ import annotations

from pathlib import Path

from codesign.errors import SpecError
from codesign.spec_errors import printable


def read_file(path: Path, expected: str, max_bytes: int) -> bytes:
    """Content of a regular file of at most `max_bytes`; `expected` is for the message. Raises SpecError."""
    name = printable(str(path))
    try:
        if path.exists() and not path.is_file():
            kind = "a directory" if path.is_dir() else "not a regular file"
            raise SpecError(f"{name}: is {kind}; expected {expected}")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise SpecError(f"{name}: no such file; expected {expected}") from None
    except (OSError, ValueError) as error:  # ValueError: the path holds a NUL
        raise SpecError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not content:
        raise SpecError(f"{name}: is empty; expected {expected}")
    if len(content) > max_bytes:
        raise SpecError(f"{name}: larger than {max_bytes} bytes; expected {expected}")
    return content
