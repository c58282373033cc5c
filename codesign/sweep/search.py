"""Search by Optuna: an optimizer picks the points.

The study lives in memory. It is told results in the order in which it asked, after whole generations, so a seed leads
to the same points every time: a search that was cut off starts over and finds in the store what it had computed, and
one of more trials goes on where one of fewer has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from codesign.errors import SpecError
from codesign.sweep.objectives import Objective
from codesign.sweep.point import Point
from codesign.sweep.space import Axis, Space
from codesign.sweep.spec import SearchSpec

Complete = Callable[[Sequence[Point]], Mapping[str, Mapping[str, Any] | None]]
"""Has points computed; rows by hash, None for a point that has failed."""


def search(
    space: Space, spec: SearchSpec, objectives: Sequence[Objective], must_fit: bool, complete: Complete
) -> None:
    """Have `spec.trials` points of `space` computed. Raises SpecError if an objective of one is not known.

    With `must_fit`, points that need more than the device has count as worse than all that fit.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize"] * len(objectives), sampler=_sampler(spec))
    distributions = {axis.name: _distribution(axis) for axis in space.axes}
    for first in range(0, spec.trials, spec.population):
        trials = [study.ask(distributions) for _ in range(min(spec.population, spec.trials - first))]
        points = [_point(space, trial) for trial in trials]
        rows = complete([point for point in points if point])
        for trial, point in zip(trials, points, strict=True):
            _tell(study, trial, rows[point.sha256] if point else None, objectives, must_fit)


def _sampler(spec: SearchSpec) -> optuna.samplers.BaseSampler:
    if spec.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=spec.seed)
    return optuna.samplers.NSGAIISampler(population_size=spec.population, seed=spec.seed)


def _distribution(axis: Axis) -> BaseDistribution:
    """Of the index of a value; the optimizer is told of an order if there is one."""
    values = axis.values
    if all(isinstance(value, int | float) for value in values) and sorted(values) == list(values):
        return IntDistribution(0, len(values) - 1)
    return CategoricalDistribution(range(len(values)))


def _point(space: Space, trial: Trial) -> Point | None:
    """The point of a trial, None if it cannot be."""
    try:
        return space.point([trial.params[axis.name] for axis in space.axes])
    except SpecError:
        return None


def _tell(
    study: optuna.Study,
    trial: Trial,
    row: Mapping[str, Any] | None,
    objectives: Sequence[Objective],
    must_fit: bool,
) -> None:
    if row is None:
        study.tell(trial, state=TrialState.FAIL)
        return
    if must_fit:
        trial.set_constraint("device_share", row["device_share"] - 1)
    study.tell(trial, [_cost(objective, row) for objective in objectives])


def _cost(objective: Objective, row: Mapping[str, Any]) -> float:
    cost = objective.cost(row)
    if cost is None:
        known = "give --accuracy" if objective.column == "accuracy" else "choose another"
        raise SpecError(
            f"objective {objective.name!r} is not known of {row['workload']} {row['method']}; {known}"
        )
    return cost
