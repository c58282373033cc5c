"""The Pareto front against its definition, and objectives by name."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from codesign.errors import SpecError
from codesign.sweep.columns import NUMBERS
from codesign.sweep.objectives import DEFAULT, NAMED, objectives_of
from codesign.sweep.pareto import non_dominated

FEW_VALUES = st.integers(0, 4).map(float)
ANY_VALUES = st.floats(-1e300, 1e300) | st.sampled_from((0.0, -0.0, float("inf"), -float("inf")))


def dominates(one, other):
    """The definition: nowhere worse, somewhere better."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def naive_front(costs):
    return [index for index, cost in enumerate(costs) if not any(dominates(other, cost) for other in costs)]


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 4), st.data(), st.sampled_from((FEW_VALUES, ANY_VALUES)))
def test_it_is_what_the_definition_says(points, objectives, data, values):
    costs = data.draw(arrays(float, (points, objectives), elements=values))
    assert non_dominated(costs).tolist() == naive_front(costs.tolist())


def test_equal_points_are_on_it_together_or_not_at_all():
    costs = [[1, 2], [2, 1], [1, 2], [2, 2], [2, 2]]
    assert non_dominated(np.array(costs, float)).tolist() == [0, 1, 2]


def test_ten_thousand_points_that_are_all_on_it():
    ramp = np.arange(10_000.0)
    assert non_dominated(np.stack([ramp, -ramp], axis=1)).tolist() == list(range(10_000))


def test_one_objective_leaves_the_least():
    assert non_dominated(np.array([[3.0], [1.0], [2.0], [1.0]])).tolist() == [1, 3]


def test_objectives_have_directions():
    time, accuracy, macs = objectives_of(("time", "accuracy", "macs:max"))
    row = {"latency_s": 0.5, "accuracy": 0.9, "macs": 7}
    assert [objective.cost(row) for objective in (time, accuracy, macs)] == [0.5, -0.9, -7.0]
    assert accuracy.cost({"accuracy": None}) is None


def test_every_name_is_a_number_of_a_result():
    assert {objective.column for objective in NAMED.values()} <= set(NUMBERS)
    assert set(DEFAULT) <= set(NAMED)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["tim"],
            "unknown objective 'tim', did you mean \"time\"; expected COLUMN:min, COLUMN:max or one of: time",
        ),
        (["latency_s:up"], "unknown objective 'latency_s:up'"),
        (["fits:max"], "unknown objective 'fits:max'"),
        (["time", "latency_s:min"], "'time' is named twice"),
    ],
)
def test_unknown_objectives_are_refused(names, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        objectives_of(names)
