"""The Pareto front: the points that no other point beats.

A point *dominates* another if it is at least as good in every objective and better in one. The front is what no point
dominates; equal points do not dominate each other, so they are on it together or not at all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]

BLOCK = 128


def non_dominated(costs: Costs) -> NDArray[np.intp]:
    """Indices, ascending, of the rows of `costs` (points, objectives) on the front; lower is better, NaN forbidden.

    Distinct rows are taken in lexicographic order, where a row is dominated by an earlier one or by none, and
    compared a block at a time with the front so far: O(points x front), under a second for 10^4 points.
    """
    distinct, inverse = np.unique(costs, axis=0, return_inverse=True)
    on_front = np.zeros(len(distinct), dtype=bool)
    for start in range(0, len(distinct), BLOCK):
        block = distinct[start : start + BLOCK]
        rivals = np.concatenate([distinct[:start][on_front[:start]], block])
        on_front[start : start + BLOCK] = _at_most(rivals, block).sum(axis=0) == 1  # nothing but itself
    return np.flatnonzero(on_front[inverse.reshape(-1)])


def _at_most(rivals: Costs, block: Costs) -> NDArray[np.bool_]:
    """Whether each rival is at most each row of a block in all objectives: (rivals, rows)."""
    columns = range(block.shape[1])
    result: NDArray[np.bool_] = np.logical_and.reduce(
        [rivals[:, None, column] <= block[None, :, column] for column in columns]
    )
    return result
