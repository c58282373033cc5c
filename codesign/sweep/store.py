"""The store of sweeps: one SQLite file with a row for each point and a row for each sweep.

A point is known by its content hash, so sweeps that share a store share its results. Points are entered before they
are computed (`agenda`), so wherever a sweep was cut off, the next one goes on.

    points   hash, inputs (JSON of a Point), baseline (hash of the dense point that it is compared with), result (JSON
             object) or error (text) once computed, version of the package, created (when computed, UTC)
    sweeps   id (hash of the description), description (JSON of a SweepSpec), created (when started last, UTC)
    members  the points of a sweep in order; `shown` is 0 for one that is only a baseline of others

Write-ahead logging lets any number of processes of one machine read and write; it does not work on network file
systems. A result that was committed survives the loss of power.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from codesign.errors import ExportError, SpecError
from codesign.output_files import ensure_file_writable
from codesign.spec_errors import printable
from codesign.sweep.spec import SweepSpec
from codesign.sweep.work import Outcome

APPLICATION_ID = 0x53415453
"""In the header of the file: "SATS"."""

VERSION = 1
BUSY_TIMEOUT_S = 60.0

PAGE = 256
"""Rows read or entered at a time, so that memory does not grow with the sweep and no writer has to wait for long."""

_SCHEMA = f"""
PRAGMA journal_mode = WAL;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE points (
    hash TEXT PRIMARY KEY, inputs TEXT NOT NULL, baseline TEXT, result TEXT, error TEXT,
    version TEXT NOT NULL, created TEXT
);
CREATE TABLE sweeps (id TEXT PRIMARY KEY, description TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE members (
    sweep TEXT NOT NULL, position INTEGER NOT NULL, point TEXT NOT NULL, shown INTEGER NOT NULL,
    PRIMARY KEY (sweep, position), UNIQUE (sweep, point)
) WITHOUT ROWID;
"""

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full; what was computed is safe: free some space and run the same line again",
    sqlite3.SQLITE_READONLY: "it is read-only; choose another place",
    sqlite3.SQLITE_CANTOPEN: "no permission there; choose another place",
    sqlite3.SQLITE_BUSY: f"another process has held it for {BUSY_TIMEOUT_S:g} s; run the same line again",
}


class Counts(NamedTuple):
    """Points of a sweep by state. `pending` counts baselines, too, which the others leave out."""

    total: int
    done: int
    failed: int
    pending: int


class Record(NamedTuple):
    """A computed point of a sweep, parsed; result and error are both None while it is pending."""

    sha256: str
    inputs: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None


class Store:
    """An open store. Not for use by several threads; every process opens its own."""

    def __init__(self, path: Path) -> None:
        """Open the file, which is created if there is none. Raises SpecError for one of another kind, ExportError."""
        self._path = path
        if not os.path.lexists(path):
            self._create()
        with self._guard():
            uri = f"{path.absolute().as_uri()}?mode=rw"
            self._connection = sqlite3.connect(uri, timeout=BUSY_TIMEOUT_S, isolation_level=None, uri=True)
        try:
            self._check()
            with self._guard():
                self._connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what was computed. A result that another process has recorded meanwhile stays."""
        with self.transaction() as connection:
            connection.executemany(
                "UPDATE points SET result = ?, error = ?, created = ? WHERE hash = ? AND result IS NULL",
                [(outcome.result, outcome.error, now(), outcome.sha256) for outcome in outcomes],
            )

    def sweeps(self) -> dict[str, SweepSpec]:
        """Descriptions of all sweeps by their ids, the one started last at the end. Raises SpecError."""
        rows = self.read("SELECT id, description FROM sweeps ORDER BY created, rowid")
        try:
            return {sweep: SweepSpec.model_validate_json(description) for sweep, description in rows}
        except ValidationError:
            raise SpecError(
                f"{printable(str(self._path))}: describes a sweep that this version cannot read; sweep again"
            ) from None

    def counts(self, sweep: str) -> Counts:
        """How far a sweep is."""
        return self.count("(SELECT point, shown FROM members WHERE sweep = ?)", sweep)

    def count(self, members: str, *values: Any) -> Counts:
        """How far the points of a table or query with columns `point` and `shown` are."""
        (row,) = self.read(
            "SELECT sum(shown), sum(shown AND result IS NOT NULL), sum(shown AND error IS NOT NULL), "
            f"sum(result IS NULL AND error IS NULL) FROM {members} JOIN points ON point = hash",
            *values,
        )
        return Counts(*(count or 0 for count in row))

    def records(self, sweep: str) -> Iterator[Record]:
        """Points of a sweep in order, without those that are only baselines."""
        query = (
            "SELECT m.position, p.hash, p.inputs, p.result, p.error FROM members m JOIN points p ON p.hash = m.point "
            "WHERE m.sweep = ? AND m.shown AND m.position > ? ORDER BY m.position LIMIT ?"
        )
        return (_record(*row) for row in self.pages(query, sweep))

    def find(self, sha256: str) -> Record | None:
        """One point, if it is there."""
        rows = self.read("SELECT hash, inputs, result, error FROM points WHERE hash = ?", sha256)
        return _record(*rows[0]) if rows else None

    # -- SQLite ----------------------------------------------------------------------------------------------------

    def pages(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Rows of a query, some at a time and without the first column, which is the position to go on from.

        Its last two parameters are that position and how many rows are wanted.
        """
        last = 0
        while page := self.read(query, *values, last, PAGE):
            yield from (row[1:] for row in page)
            last = page[-1][0]

    def read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._guard():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is written inside, or nothing of it. Raises ExportError."""
        with self._guard():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turns errors of SQLite into ExportError."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of it is detail
            reason = _ADVICE.get(code, str(error))
            raise ExportError(f"cannot use the store {printable(str(self._path))}: {reason}") from None

    def _create(self) -> None:
        """A new store appears at once and whole, even if several processes create it."""
        ensure_file_writable(self._path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._path.parent, prefix=".writing-") as scratch:
                fresh = Path(scratch) / "store"
                with self._guard(), closing(sqlite3.connect(fresh)) as connection:
                    connection.executescript(_SCHEMA)
                with suppress(FileExistsError):
                    os.link(fresh, self._path)
        except OSError as error:
            place = printable(str(self._path))
            raise ExportError(
                f"cannot create {place}: {error.strerror or error}; choose another place"
            ) from None

    def _check(self) -> None:
        try:
            found = [
                self._connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version")
            ]
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_NOTADB:
                with self._guard():
                    raise
            found = [0, 0]
        name = printable(str(self._path))
        if found[0] != APPLICATION_ID:
            raise SpecError(f"{name}: is no store of sweeps; choose another file")
        if found[1] > VERSION:
            raise SpecError(
                f"{name}: was written by a newer codesign (format {found[1]}, this one reads {VERSION}); update it"
            )


def _record(sha256: str, inputs: str, result: str | None, error: str | None) -> Record:
    return Record(sha256, json.loads(inputs), json.loads(result) if result else None, error)


def now() -> str:
    """The time, UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
