"""One step of each solver on dx/dt = x, from 1 at t = 0, worked by hand."""

from __future__ import annotations

import pytest
import torch

from molflow.batch import Batch
from molflow.solvers.euler import Euler
from molflow.solvers.heun import Heun
from molflow.solvers.midpoint import Midpoint
from molflow.solvers.schedule import grid

ONE = Batch.of_points(torch.ones(1, 1, 1))


class Growth:
    def velocity(self, x, t):
        return {"pos": x.pos}

    def advance(self, x, v, t, s, rng):
        return x.replace(pos=x.pos + (s - t) * v["pos"])


@pytest.mark.parametrize("solver, expected", [(Euler(), 1.5), (Midpoint(), 1.625), (Heun(), 1.625)])
def test_a_step_of_one_half(solver, expected):
    """Euler 1 + h; the second-order methods 1 + h + h^2 / 2."""
    assert solver.step(Growth(), ONE, 0.0, 0.5, None).pos.item() == expected


@pytest.mark.parametrize("solver, expected", [(Euler(), 1.5), (Midpoint(), 1.25**2), (Heun(), 1.5)])
def test_the_last_step_ends_on_a_prediction(solver, expected):
    """Where the velocity has no value, at t = 1, the last move is Euler's."""
    assert solver.step(Growth(), ONE, 0.5, 1.0, None).pos.item() == expected


def test_grids_by_hand():
    assert grid("linear", 4) == [0, 0.25, 0.5, 0.75, 1]
    assert grid("quadratic", 4) == [0, 0.4375, 0.75, 0.9375, 1]
    assert grid("sine", 3) == pytest.approx([0, 0.5, 3**0.5 / 2, 1])
    assert grid("log", 2) == pytest.approx([0, 0.9 / 0.99, 1])  # 1 - 0.1 of 1 - 0.01
