"""A sweep read back: its points as flat rows, and those on the Pareto front."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from codesign.sweep.columns import RESULTS
from codesign.sweep.objectives import DEFAULT, Objective, objectives_of
from codesign.sweep.pareto import non_dominated
from codesign.sweep.spec import SIZES, Accuracy, SweepSpec
from codesign.sweep.store import Record, Store
from hw_models.arch import Arch

Row = dict[str, Any]
"""A value for each of `View.columns`; None where there is none."""

FITS = "yes"
"""The verdict that a device holds even the upper ends of what is needed."""


class Front(NamedTuple):
    """Rows that no other of the same workload dominates, by workload, then by the first objective."""

    objectives: tuple[Objective, ...]
    rows: list[Row]


class View:
    """The rows of a sweep in a store.

    `columns` are their names with types: what the point is, among it every parameter that the sweep varies, then the
    results (`codesign.sweep.columns`), and the error of a point that has failed.
    """

    def __init__(self, store: Store, spec: SweepSpec) -> None:
        self._store = store
        self.spec = spec
        self._accuracies = _means(spec.accuracy)
        self.parameters = tuple(
            dict.fromkeys([*spec.set, *(key for point in spec.points for key in point.set)])
        )
        self.columns: dict[str, type] = {
            "hash": str,
            "arch": str,
            **{key: _parameter_type(key) for key in self.parameters},
            "workload": str,
            "source": str,
            "workload_sha256": str,
            **dict.fromkeys(SIZES, int),
            "method": str,
            "nm": str,
            **RESULTS,
            "error": str,
        }

    def rows(self) -> Iterator[Row]:
        """Every point that was asked for, in order."""
        return map(self.row, self._store.records(self.spec.sha256))

    def row(self, record: Record) -> Row:
        """One point."""
        arch, workload = record.inputs["arch"], record.inputs["workload"]
        method, nm = record.inputs["method"], record.inputs["nm"]
        result = record.result or dict.fromkeys(RESULTS)
        accuracy = result["accuracy"]
        if accuracy is None and record.result:
            accuracy = self._accuracies.get((workload["name"], method, nm))
        return {
            "hash": record.sha256,
            "arch": arch["name"],
            **{key: _look_up(arch, key) for key in self.parameters},
            "workload": workload["name"],
            "source": workload["source"],
            "workload_sha256": workload["sha256"],
            **{size: workload["sizes"].get(size) for size in SIZES},
            "batch": workload["batch"],
            "method": method,
            "nm": nm,
            **result,
            "accuracy": accuracy,
            "error": record.error,
        }

    def first_error(self) -> str | None:
        """The error of the first point that has failed."""
        return next((record.error for record in self._store.records(self.spec.sha256) if record.error), None)

    def front(self) -> Front:
        """The Pareto front of each workload.

        Without chosen objectives, those of DEFAULT and, if it is known of every point, accuracy. A point of which an
        objective is not known, or that does not fit although it must, is not on it.
        """
        names = self.spec.objectives or (*DEFAULT, "accuracy")
        objectives = objectives_of(names)
        costs = self._costs(objectives)
        if not self.spec.objectives and any(
            None in cost for group in costs.values() for cost in group.values()
        ):
            objectives = objectives_of(DEFAULT)
            costs = {key: {sha: cost[:-1] for sha, cost in group.items()} for key, group in costs.items()}
        found = [sha for group in costs.values() for sha in _best(group)]
        return Front(objectives, [self.row(record) for sha in found if (record := self._store.find(sha))])

    def _costs(self, objectives: Sequence[Objective]) -> dict[str, dict[str, list[float | None]]]:
        """Costs of the points that may be on the front, by workload and point."""
        costs: defaultdict[str, dict[str, list[float | None]]] = defaultdict(dict)
        for record in self._store.records(self.spec.sha256):
            row = self.row(record)
            if record.result and (row["fits"] == FITS or not self.spec.must_fit):
                group = costs[row["workload_sha256"]]
                group[record.sha256] = [objective.cost(row) for objective in objectives]
        return costs


def _best(costs: Mapping[str, list[float | None]]) -> list[str]:
    """Keys of those that are not dominated, the lowest first cost first."""
    known = {
        key: [value for value in cost if value is not None] for key, cost in costs.items() if None not in cost
    }
    keys = sorted(known, key=lambda key: known[key])
    return [keys[index] for index in non_dominated(np.array([known[key] for key in keys]))] if keys else []


def _means(accuracies: Sequence[Accuracy]) -> dict[tuple[str, str, str | None], float]:
    """Mean accuracy by workload, method and ratio."""
    found: defaultdict[tuple[str, str, str | None], list[float]] = defaultdict(list)
    for each in accuracies:
        found[each.workload, each.method, str(each.nm) if each.nm else None].append(each.accuracy)
    return {trained: fmean(values) for trained, values in found.items()}


def _look_up(arch: Mapping[str, Any], key: str) -> Any:
    """A parameter by its dotted key."""
    value: Any = arch
    for part in key.split("."):
        value = value[part]
    return value


def _parameter_type(key: str) -> type:
    """Type of an architecture parameter; `object` for what is no scalar."""
    kind: Any = Arch
    for part in key.split("."):
        kind = kind.model_fields[part].annotation
    return kind if kind in (bool, int, float, str) else object
