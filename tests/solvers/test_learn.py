"""The best grid is the one that all others are worse than, and it follows where the prediction changes."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from molflow.build import UserError
from molflow.solvers.learn import best_grid, learned
from molflow.solvers.multistep import mean_ahead

TIMES = [0.0, 0.1, 0.25, 0.4, 0.5, 0.65, 0.8, 0.9, 0.95, 1.0]
FLOOR = 0.1


def ends(seed=0):
    """Predicted positions at each time but the last, [9, 5]."""
    return np.random.default_rng(seed).normal(size=(9, 5)).cumsum(0)


def gram_of(predicted):
    off = predicted - predicted[-1]
    return off @ off.T


def error_of(picked, predicted, reuse):
    """The squared errors of the steps of one grid, from their definition."""
    total, past = 0.0, None
    for i, j in pairwise(picked):
        u, s = TIMES[i], TIMES[j]
        if j == len(TIMES) - 1:
            mean, fall = predicted[-1], 1.0
        else:
            ratio = [t / (1 - t) for t in TIMES[i : j + 1]]
            means = [(predicted[k] + predicted[k + 1]) / 2 for k in range(i, j)]
            mean = sum((b - a) * m for (a, b), m in zip(pairwise(ratio), means)) / (ratio[-1] - ratio[0])
            fall = 1 - (1 - s) / (1 - u)
        guess = predicted[i]
        if past is not None:
            guess = guess + reuse * mean_ahead(u, s) * (predicted[i] - predicted[past]) / (u - TIMES[past])
        total += (fall / (1 - s + FLOOR)) ** 2 * ((mean - guess) ** 2).sum()
        past = i
    return total


@pytest.mark.parametrize("reuse", [0.0, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_no_other_grid_is_better(steps, reuse):
    predicted = ends()
    found = best_grid(TIMES, gram_of(predicted), steps, reuse, FLOOR)
    every = [(0, *inner, 9) for inner in combinations(range(1, 9), steps - 1)]
    least = min(every, key=lambda picked: error_of(picked, predicted, reuse))
    assert tuple(found) == least


def test_steps_gather_where_the_prediction_changes():
    late = np.zeros((9, 1))
    late[6:] = [[1.0], [2.0], [3.0]]  # nothing happens before 0.65
    assert learned(dict(zip(TIMES, TIMES)), gram_of(late), 4, 0.0)[1:] == [0.8, 0.9, 0.95, 1.0]


def test_there_are_no_more_steps_than_were_looked_at():
    with pytest.raises(UserError, match="between 1 and 9 steps, not 10"):
        best_grid(TIMES, gram_of(ends()), 10)
