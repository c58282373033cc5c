"""Packages that a sweep needs only for some of what it can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from codesign.errors import SpecError


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Around an import: turns ImportError into SpecError."""
    try:
        yield
    except ImportError as error:
        raise SpecError(f"{what} needs the package {error.name}; pip install 'codesign[sweep]'") from None
