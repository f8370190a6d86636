"""Our methods beside torchdiffeq's, on dx/dt = sin(5 t) - x^2 in several dimensions."""

from __future__ import annotations

import pytest
import torch

from molflow.batch import Batch
from molflow.solvers.dopri5 import DormandPrince5
from molflow.solvers.integrate import integrate
from molflow.solvers.rk4 import RungeKutta4

torchdiffeq = pytest.importorskip("torchdiffeq")
X = Batch.of_points(torch.linspace(0.1, 0.9, 12, dtype=torch.float64).view(2, 3, 2))


class Ricatti:
    def __init__(self):
        self.evaluations = 0

    def field(self, t, pos):
        self.evaluations += 1
        return torch.sin(5 * torch.as_tensor(t)) - pos**2

    def velocity(self, x, t, since=None):
        return {"pos": self.field(t, x.pos)}

    def advance(self, x, v, t, s, rng):
        return x.replace(pos=x.pos + (s - t) * v["pos"])


def theirs(method, times, **options):
    return torchdiffeq.odeint(
        Ricatti().field, X.pos, torch.tensor(times, dtype=torch.float64), method=method, **options
    )


def test_runge_kutta_4():
    """torchdiffeq's rk4 is the 3/8 rule, another method of the same order: both are near the answer."""
    times = torch.linspace(0, 0.9, 65).tolist()
    answer = theirs("dopri8", [0.0, 0.9], rtol=1e-12, atol=1e-12)[-1]
    ours = integrate(Ricatti(), X, times, RungeKutta4(), None).pos
    assert (ours - answer).abs().max() < 2 * (theirs("rk4", times)[-1] - answer).abs().max() + 1e-9


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_dormand_prince_5(tolerance):
    answer = theirs("dopri8", [0.0, 0.9], rtol=1e-12, atol=1e-12)[-1]
    flow = Ricatti()
    ours = integrate(flow, X, [0.0, 0.9], DormandPrince5(rtol=tolerance, atol=tolerance), None).pos
    assert (ours - answer).abs().max() < 10 * tolerance
    assert flow.evaluations < 40 * tolerance**-0.2


def test_steps_of_dopri5_are_those_of_its_tableau():
    """One step, however wrong, is the same step."""
    ours = integrate(Ricatti(), X, [0.0, 0.5], DormandPrince5(rtol=1e9, atol=1e9), None).pos
    again = theirs("dopri5", [0.0, 0.5], rtol=1e9, atol=1e9, options={"first_step": 0.5})[-1]
    torch.testing.assert_close(ours, again, atol=1e-8, rtol=0)
