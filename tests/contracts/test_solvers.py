"""What every solver must do: docs/design.md, the contract of solvers."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from molflow.batch import Batch
from molflow.build import UserError
from molflow.flow import Flow
from molflow.paths import PATHS
from molflow.paths.joint import Joint
from molflow.priors import PRIORS
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.solvers import SOLVERS
from molflow.solvers.integrate import integrate
from molflow.solvers.schedule import GRIDS, grid


@pytest.fixture(params=sorted(SOLVERS))
def solver(request, make):
    return make.member("solver", SOLVERS, request.param)


class Swirl:
    """dx/dt = cos(t) A x, whose answer is x(t) = exp(sin(t) A) x(0)."""

    A = torch.tensor([[-0.5, 2.0, 0.0], [-2.0, -0.5, 0.3], [0.0, 0.4, 0.2]], dtype=torch.float64)

    def __init__(self):
        self.asked = []

    def velocity(self, x, t):
        self.asked.append(t)
        return {"pos": math.cos(t) * x.pos @ self.A.T}

    def advance(self, x, v, t, s, rng):
        return x.replace(pos=x.pos + (s - t) * v["pos"])

    def answer(self, x, t):
        return x.pos @ torch.matrix_exp(math.sin(t) * self.A).T


@pytest.fixture
def start(make):
    return make.molecules(dtype=torch.float64)


@pytest.mark.parametrize("end", [0.8, 1.0])
def test_the_measured_order_is_the_stated_one(solver, start, end):
    steps, errors = np.array([8, 16, 32, 64]), []
    for n in steps:
        x = integrate(Swirl(), start, np.linspace(0, end, n + 1).tolist(), solver, None)
        errors.append(float((x.pos - Swirl().answer(start, end)).abs().max()))
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - solver.order) < 0.25, f"order {slope:.2f} measured, {solver.order} stated; errors {errors}"


def test_forward_then_back_returns(solver, start):
    times = np.linspace(0, 0.9, 257).tolist()
    there = integrate(Swirl(), start, times, solver, None)
    back = integrate(Swirl(), there, times[::-1], solver, None)
    assert (there.pos - start.pos).abs().max() > 0.5
    assert (back.pos - start.pos).abs().max() < {1: 0.1, 2: 1e-3}.get(solver.order, 1e-5)


def test_a_step_asks_for_the_velocity_as_often_as_stated(solver, start):
    inner, last = Swirl(), Swirl()
    solver.step(inner, start, 0.2, 0.5, None)
    solver.step(last, start, 0.5, 1.0, None)
    assert len(inner.asked) == solver.evaluations
    assert 1 <= len(last.asked) <= solver.evaluations


def test_the_velocity_is_never_asked_for_at_the_end(solver, start):
    flow = Swirl()
    integrate(flow, start, grid("quadratic", 7), solver, None)
    assert min(flow.asked) >= 0
    assert max(flow.asked) < 1


def test_the_step_is_exact_where_the_flow_is_straight(solver, start):
    class Wind(Swirl):
        def velocity(self, x, t):
            return {"pos": torch.ones_like(x.pos)}

    x = integrate(Wind(), start, [0.0, 0.3, 0.7], solver, None)
    torch.testing.assert_close(x.pos, start.pos + 0.7)


class Oracle:
    """A network that knows the molecules it is asked for."""

    def __init__(self, x1, classes):
        self.pred = {"pos": x1.pos}
        for name in x1.fields[1:]:
            self.pred[name] = 60.0 * one_hot(getattr(x1, name), classes[name]).to(x1.pos.dtype)

    def __call__(self, x, t, *, hint=None):
        return self.pred


LABEL_PATHS = [("uniform", "jump"), ("mask", "jump"), ("gaussian", "one_hot")]


@pytest.fixture(params=LABEL_PATHS, ids=" ".join)
def way(request, make):
    """Priors and paths for coordinates, atoms and bonds; the labels' by the parameter."""
    prior_name, path_name = request.param
    priors = [make.member("prior", PRIORS, "gaussian", field="pos", channels=3)]
    paths = {"pos": make.member("path", PATHS, "linear")}
    for name in ("atom", "bond"):
        prior = make.member("prior", PRIORS, prior_name, field=name, channels=make.CLASSES[name])
        paths[name] = make.member("path", PATHS, path_name, states=prior.states(make.CLASSES[name]))
        priors.append(prior)
    return Product(priors), Joint(paths)


@pytest.mark.parametrize("times", [(name, steps) for name in sorted(GRIDS) for steps in (1, 2, 9)], ids=str)
def test_an_oracle_flow_reaches_the_data(solver, way, make, times):
    prior, path = way
    x1 = make.molecules(fields=("atom", "bond"), atoms=11)
    rng = Rng.of(0, len(x1))
    flow = Flow(Oracle(x1, path_states(path, make)), path)
    x = integrate(flow, prior(x1, rng), grid(*times), solver, rng)
    torch.testing.assert_close(x.pos, x1.pos, atol=1e-4, rtol=0)
    for name in ("atom", "bond"):
        value, mask = getattr(x, name), x.mask if name == "atom" else x.pair_mask
        index = value.argmax(-1) if value.is_floating_point() else value
        assert torch.equal(index[mask], getattr(x1, name)[mask])


def path_states(path, make):
    """Channels of the oracle's logits: the hidden state is never predicted, channels are predicted whole."""
    return {name: make.CLASSES[name] for name in path.paths if name != "pos"}


def test_molecules_do_not_depend_on_their_neighbours(solver, way, make):
    """Coordinates and labels that jump by chance come out the same alone and in a padded batch."""
    prior, path = way
    x1 = make.molecules(fields=("atom", "bond"), atoms=11)

    class Hesitant(Oracle):
        def __call__(self, x, t, *, hint=None):
            return {name: value if name == "pos" else value / 60 for name, value in self.pred.items()}

    def sample(x1, ids):
        rng = Rng(0, torch.tensor(ids))
        flow = Flow(Hesitant(x1, path_states(path, make)), path)
        return integrate(flow, prior(x1, rng), grid("quadratic", 5), solver, rng)

    together = sample(x1, list(range(len(x1))))
    for b in range(len(x1)):
        alone, mine = sample(x1[b], [b]), together[b]
        torch.testing.assert_close(alone.pos, mine.pos, atol=1e-5, rtol=0)
        for name in ("atom", "bond"):
            torch.testing.assert_close(getattr(alone, name), getattr(mine, name), atol=1e-5, rtol=0)


def test_a_solver_can_be_watched(solver, start):
    seen = []
    x = integrate(Swirl(), start, [0.0, 0.4, 1.0], solver, None, lambda t, x: seen.append((t, x)))
    assert [t for t, _ in seen] == [0.0, 0.4, 1.0]
    assert seen[0][1] is start
    assert seen[-1][1] is x


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_grids_climb_from_zero_to_one(name):
    for steps in (1, 2, 20, 1000):
        times = grid(name, steps)
        assert len(times) == steps + 1
        assert times[0] == 0.0
        assert times[-1] == 1.0
        assert all(t < s for t, s in pairwise(times))


def test_grids_that_are_none_are_refused():
    with pytest.raises(UserError, match="'linaer'.*choose from.*linear"):
        grid("linaer", 5)
    with pytest.raises(UserError, match="at least 1, not 0"):
        grid("linear", 0)


def test_an_empty_batch_passes_through(solver):
    x = Batch(torch.zeros(0, 4, 3, dtype=torch.float64), torch.zeros(0, 4, dtype=torch.bool))
    assert len(integrate(Swirl(), x, [0.0, 1.0], solver, None)) == 0
