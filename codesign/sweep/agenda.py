"""What a sweep has to do: the points to compute, in order, with the baselines that they are compared with.

The agenda is a temporary table of this process; other processes see it as the list of the sweep's points, which is
replaced at once. So a sweep that is started twice at a time does everything, twice at worst.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice

from codesign.sweep.point import Point
from codesign.sweep.spec import SweepSpec
from codesign.sweep.store import PAGE, Counts, Store, now
from codesign.sweep.work import Task


class Agenda:
    """Of one sweep in one store. A new agenda of the same store takes the place of the old one."""

    def __init__(self, store: Store, sweep: SweepSpec, *, retry_failed: bool = False) -> None:
        """Begin with no points. `retry_failed`: points that have failed before are pending again."""
        self._store = store
        self._sweep = sweep.sha256
        self._retry_failed = retry_failed
        with store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO sweeps VALUES (?, ?, ?)",
                (sweep.sha256, sweep.model_dump_json(exclude_defaults=True), now()),
            )
            connection.execute("DROP TABLE IF EXISTS temp.agenda")
            connection.execute(
                "CREATE TEMP TABLE agenda "
                "(position INTEGER PRIMARY KEY, point TEXT NOT NULL UNIQUE, shown INTEGER NOT NULL)"
            )

    def add(self, points: Iterable[Point]) -> None:
        """Enter points. What the store knows of them already stays."""
        remaining = iter(points)
        while page := list(islice(remaining, PAGE)):
            with self._store.transaction() as connection:
                for point in page:
                    self._add(connection, point)
        self._publish()

    def counts(self) -> Counts:
        """How far the sweep is."""
        return self._store.count("agenda")

    def pending(self, *, baselines: bool) -> Iterator[Task]:
        """Points to compute: those that need no baseline, or else those that do, with what is known of it.

        May be read while outcomes are recorded.
        """
        query = (
            "SELECT a.position, p.hash, p.inputs, json_extract(b.result, '$.total_cycles') "
            "FROM agenda a JOIN points p ON p.hash = a.point LEFT JOIN points b ON b.hash = p.baseline "
            f"WHERE p.baseline IS {'' if baselines else 'NOT'} NULL AND p.result IS NULL AND p.error IS NULL "
            "AND a.position > ? ORDER BY a.position LIMIT ?"
        )
        return (Task(*row) for row in self._store.pages(query))

    def _add(self, connection: sqlite3.Connection, point: Point) -> None:
        baseline = point.baseline
        if baseline:
            self._enter(connection, baseline, None, shown=False)
        self._enter(connection, point, baseline, shown=True)

    def _enter(
        self, connection: sqlite3.Connection, point: Point, baseline: Point | None, *, shown: bool
    ) -> None:
        connection.execute(
            "INSERT INTO points (hash, inputs, baseline, version) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET inputs = excluded.inputs WHERE result IS NULL",  # files may have moved
            (point.sha256, point.model_dump_json(), baseline and baseline.sha256, point.version),
        )
        if self._retry_failed:
            connection.execute(
                "UPDATE points SET error = NULL WHERE hash = ?1 AND error IS NOT NULL "
                "AND NOT EXISTS (SELECT * FROM agenda WHERE point = ?1)",
                (point.sha256,),
            )
        connection.execute(
            "INSERT INTO agenda (point, shown) VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET shown = max(shown, excluded.shown)",
            (point.sha256, shown),
        )

    def _publish(self) -> None:
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM members WHERE sweep = ?", (self._sweep,))
            connection.execute(
                "INSERT INTO members SELECT ?, position, point, shown FROM agenda", (self._sweep,)
            )
