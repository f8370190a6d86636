"""One step of each solver on dx/dt = x, from 1 at t = 0, worked by hand."""

from __future__ import annotations

import pytest
import torch

from molflow.batch import Batch
from molflow.solvers.ddim import DDIM
from molflow.solvers.euler import Euler
from molflow.solvers.heun import Heun
from molflow.solvers.leap import Leap
from molflow.solvers.midpoint import Midpoint
from molflow.solvers.multistep import Multistep
from molflow.solvers.rk4 import RungeKutta4
from molflow.solvers.schedule import grid

ONE = Batch.of_points(torch.ones(1, 1, 1))


class Growth:
    def velocity(self, x, t, since=None):
        return {"pos": x.pos}

    def endpoint(self, x, t, until=None):
        return {"pos": x.pos + (1 - t) * x.pos}

    def hold(self, x, end, t, s, rng, churn=0.0):
        return x.replace(pos=end["pos"] + (1 - s) / (1 - t) * (x.pos - end["pos"]))

    def clock(self, t):
        return {"pos": t}

    def advance(self, x, v, t, s, rng):
        return x.replace(pos=x.pos + (s - t) * v["pos"])


@pytest.mark.parametrize(
    "solver, expected",
    [
        (Euler(), 1.5),
        (DDIM(), 1.5),
        (Leap(), 1.5),
        (Multistep(), 1.5),
        (Midpoint(), 1.625),
        (Heun(), 1.625),
        (RungeKutta4(), 1 + 1 / 2 + 1 / 8 + 1 / 48 + 1 / 384),
    ],
)
def test_a_step_of_one_half(solver, expected):
    """Order p sums the series of exp(h) to h^p; a first step has no past to learn from."""
    assert solver.step(Growth(), ONE, 0.0, 0.5, None).pos.item() == pytest.approx(expected, abs=1e-6)


def test_a_second_step_learns_from_the_first():
    """1 to 1.5 in the first half. The endpoint was 2, then is 1.5 + 1.5 / 2 = 2.25: it gains 1/2 a unit of time, and
    the end is 1/2 away: 2.25 + 1/4."""
    solver = Multistep()
    x = solver.step(Growth(), ONE, 0.0, 0.5, None)
    assert solver.step(Growth(), x, 0.5, 1.0, None).pos.item() == 2.5


@pytest.mark.parametrize(
    "solver, expected",
    [(Euler(), 1.5), (Midpoint(), 1.25**2), (Heun(), 1.5), (RungeKutta4(), 1 + 1 / 2 + 1 / 8 + 1 / 48)],
)
def test_the_last_step_ends_on_a_prediction(solver, expected):
    """Where the velocity has no value, at t = 1: Euler's, or what looks at most two thirds ahead."""
    assert solver.step(Growth(), ONE, 0.5, 1.0, None).pos.item() == pytest.approx(expected, abs=1e-6)


def test_grids_by_hand():
    assert grid("linear", 4) == [0, 0.25, 0.5, 0.75, 1]
    assert grid("quadratic", 4) == [0, 0.4375, 0.75, 0.9375, 1]
    assert grid("sine", 3) == pytest.approx([0, 0.5, 3**0.5 / 2, 1])
    assert grid("cosine", 3) == pytest.approx([0, 0.25, 0.75, 1])
    assert grid("linear_quadratic", 4) == pytest.approx([0, 1 / 3, 2 / 3, 11 / 12, 1])
    assert grid("arcsin", 2) == pytest.approx([0, 1 / (1 + (20 * 0.01) ** 0.5), 1])  # half way in the logarithm
    assert grid("log", 2) == pytest.approx([0, 0.9 / 0.99, 1])  # 1 - 0.1 of 1 - 0.01
