"""What the importers share."""

from __future__ import annotations

from collections import Counter

from codesign.errors import SpecError

MAX_BYTES = 64 << 20


def refuse_batch(where: str, batch: int | None) -> None:
    """Raise SpecError if a batch is chosen for GEMMs, whose rows already contain it."""
    if batch is not None:
        raise SpecError(
            f"{where}: the rows of a GEMM contain the batch; scale them instead of setting batch {batch}"
        )


class UniqueNames:
    """Makes the names of a file's layers unique: `conv`, `conv#2`, `conv#3`."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._count: Counter[str] = Counter()

    def __call__(self, name: str) -> str:
        """`name`, with a number if it was used before."""
        unique = name
        while unique in self._used:
            self._count[name] += 1
            unique = f"{name}#{self._count[name] + 1}"
        self._used.add(unique)
        return unique
