"""Gaussian data, whose flow is known: x_t = alpha m + sqrt(alpha^2 s^2 + sigma^2) x0, so x_1 = m + s x0."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molflow.batch import Batch
from molflow.flow import Flow
from molflow.paths import PATHS
from molflow.paths.joint import Joint
from molflow.solvers.ddim import DDIM
from molflow.solvers.euler import Euler
from molflow.solvers.integrate import integrate
from molflow.solvers.multistep import Multistep
from molflow.solvers.schedule import grid

MEAN, SPREAD = 0.7, 0.3
X0 = Batch.of_points(torch.linspace(-2, 2, 7, dtype=torch.float64).view(1, 7, 1))


def flow_of(name):
    from molflow.build import build

    path = build("path", PATHS, name)

    def network(x, t, *, hint=None, span=None):
        alpha, sigma = path.levels(t, x.pos)
        gain = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
        end = MEAN + gain * (x.pos - alpha * MEAN)
        return {"pos": end if path.predicts == "endpoint" else unread(path, end, x.pos, alpha, sigma)}

    return Flow(network, Joint({"pos": path}))


def unread(path, end, x, alpha, sigma):
    """The output that a preconditioned path reads as ``end``."""
    assert path.predicts == "preconditioned"
    return x + (end * (alpha**2 + sigma**2) - alpha * x) / sigma


def error(solver, name, steps):
    flow = flow_of(name)
    times = grid("quadratic", steps)
    alpha, sigma = flow.path.paths["pos"].levels(0.0, X0.pos)
    start = X0.replace(pos=alpha * MEAN + (alpha**2 * SPREAD**2 + sigma**2).sqrt() * X0.pos)
    x = integrate(flow, start, times, solver, None)
    assert flow.evaluations == steps
    return float((x.pos - (MEAN + SPREAD * X0.pos)).abs().max())


@pytest.mark.parametrize("name", ["linear", "trigonometric", "variance_preserving", "interpolant"])
def test_multistep_is_of_second_order_on_every_path(name):
    steps = np.array([10, 20, 40, 80])
    errors = [error(Multistep(), name, n) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope > 1.7, errors
    assert errors[0] < error(Euler(), name, 10)
    assert errors[1] < error(DDIM(), name, 20) / 3


def test_the_past_is_not_reused_where_it_is_not_trusted():
    assert error(Multistep(reuse=0), "linear", 10) == pytest.approx(error(DDIM(), "linear", 10), rel=1e-6)
    assert error(Euler(), "linear", 10) == pytest.approx(error(DDIM(), "linear", 10), rel=1e-4)
