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
from molflow.paths.jump import Jump, draw
from molflow.priors import PRIORS
from molflow.priors.categorical import Uniform
from molflow.priors.gaussian import Gaussian
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.solvers import SOLVERS
from molflow.solvers.integrate import integrate
from molflow.solvers.schedule import GRIDS, grid


@pytest.fixture(params=sorted(SOLVERS))
def solver(request, make):
    return make.member("solver", SOLVERS, request.param)


@pytest.fixture
def followed(solver):
    """A method that follows the flow, on the steps it is given: an adaptive one with a tolerance that lets all pass."""
    if solver.order is None:
        pytest.skip("a stochastic method follows no path")
    return solver if solver.evaluations else type(solver)(rtol=1e9, atol=1e9)


class Swirl:
    """dx/dt = cos(t) A x, whose answer is x(t) = exp(sin(t) A) x(0), told as a velocity and as an endpoint."""

    A = torch.tensor([[-0.5, 2.0, 0.0], [-2.0, -0.5, 0.3], [0.0, 0.4, 0.2]], dtype=torch.float64)

    def __init__(self):
        self.asked = []

    def velocity(self, x, t, since=None):
        self.asked.append(t)
        return {"pos": self.field(x, t)}

    def field(self, x, t):
        return math.cos(t) * x.pos @ self.A.T

    def advance(self, x, v, t, s, rng):
        return x.replace(pos=x.pos + (s - t) * v["pos"])

    def endpoint(self, x, t, until=None):
        return {"pos": x.pos + (1 - t) * self.velocity(x, t)["pos"]}

    def hold(self, x, end, t, s, rng, churn=0.0):
        return x.replace(pos=end["pos"] + (1 - s) / (1 - t) * (x.pos - end["pos"]))

    def commit(self, x, end, t, s, rng, chance):
        return self.hold(x, end, t, s, rng)

    def clock(self, t):
        return {"pos": t}

    def answer(self, x, t):
        return x.pos @ torch.matrix_exp(math.sin(t) * self.A).T


@pytest.fixture
def start(make):
    return make.molecules(dtype=torch.float64)


@pytest.mark.parametrize("end", [0.8, 1.0])
def test_the_measured_order_is_the_stated_one(solver, followed, start, end):
    if end == 1 and not solver.evaluations:
        pytest.skip("an adaptive method lands within its tolerance")
    steps, errors = np.array([8, 16, 32, 64]), []
    for n in steps:
        x = integrate(Swirl(), start, np.linspace(0, end, n + 1).tolist(), followed, None)
        errors.append(float((x.pos - Swirl().answer(start, end)).abs().max()))
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - solver.order) < 0.3, f"order {slope:.2f} measured, {solver.order} stated; errors {errors}"


def test_a_tolerance_is_kept(solver, start):
    """Of methods that choose their steps: the error falls with it, and the evaluations grow."""
    if solver.evaluations or solver.order is None:
        pytest.skip("its steps are those of the grid")
    errors, asked = [], []
    for tolerance in (1e-2, 1e-4, 1e-6):
        flow = Swirl()
        x = integrate(flow, start, [0.0, 1.0], type(solver)(rtol=tolerance, atol=tolerance), None)
        errors.append(float((x.pos - flow.answer(start, 1.0)).abs().max()))
        asked.append(len(flow.asked))
        assert errors[-1] < 10 * tolerance
    assert errors[0] > 5 * errors[1] > 5 * errors[2]
    assert asked == sorted(asked)


def test_forward_then_back_returns(solver, followed, start):
    times = np.linspace(0, 0.9, 257).tolist()
    there = integrate(Swirl(), start, times, followed, None)
    back = integrate(Swirl(), there, times[::-1], followed, None)
    assert (there.pos - start.pos).abs().max() > 0.5
    assert (back.pos - start.pos).abs().max() < {1: 0.1, 2: 1e-3}.get(solver.order, 1e-5)


def test_a_run_does_not_remember_the_one_before(solver, start):
    times = grid("quadratic", 5)
    first = integrate(Swirl(), start, times, solver, None)
    integrate(Swirl(), start.replace(pos=start.pos.flip(0) * start.mask.unsqueeze(-1)), times[:3], solver, None)
    assert torch.equal(integrate(Swirl(), start, times, solver, None).pos, first.pos)


def test_a_step_asks_for_the_velocity_as_often_as_stated(solver, start):
    if not solver.evaluations:
        pytest.skip("as many as the tolerance needs")
    inner, last = Swirl(), Swirl()
    solver.step(inner, start, 0.2, 0.5, None)
    solver.start()
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
        def field(self, x, t):
            return torch.ones_like(x.pos)

    x = integrate(Wind(), start, [0.0, 0.3, 0.7], solver, None)
    torch.testing.assert_close(x.pos, start.pos + 0.7)


class Oracle:
    """A network that knows the molecules it is asked for."""

    def __init__(self, x1, classes):
        self.pred = {"pos": x1.pos}
        for name in x1.fields[1:]:
            self.pred[name] = 60.0 * one_hot(getattr(x1, name), classes[name]).to(x1.pos.dtype)

    def __call__(self, x, t, *, hint=None, span=None):
        return self.pred


LABEL_PATHS = [("uniform", "jump"), ("mask", "jump"), ("gaussian", "one_hot")]


@pytest.fixture(params=LABEL_PATHS, ids=" ".join)
def way(request, make, solver):
    """Priors and paths for coordinates, atoms and bonds, the labels' by the parameter; a diffusion if one is needed."""
    prior_name, path_name = request.param
    refused = None
    for coordinates in ("linear", "variance_preserving"):
        priors = [make.member("prior", PRIORS, "gaussian", field="pos", channels=3)]
        paths = {"pos": make.member("path", PATHS, coordinates)}
        for name in ("atom", "bond"):
            prior = make.member("prior", PRIORS, prior_name, field=name, channels=make.CLASSES[name])
            paths[name] = make.member("path", PATHS, path_name, states=prior.states(make.CLASSES[name]))
            priors.append(prior)
        try:
            solver.fits(Joint(paths), Product(priors))
        except UserError as error:
            refused = error
        else:
            return Product(priors), Joint(paths)
    pytest.skip(f"refused: {refused}")


@pytest.mark.parametrize("times", [(name, steps) for name in sorted(GRIDS) for steps in (1, 2, 9)], ids=str)
def test_an_oracle_flow_reaches_the_data(solver, way, make, times):
    prior, path = way
    x1 = make.molecules(fields=("atom", "bond"), atoms=11)
    rng = Rng.of(0, len(x1))
    flow = Flow(Oracle(x1, path_states(path, make)), path, prior)
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
        def __call__(self, x, t, *, hint=None, span=None):
            return {name: value if name == "pos" else value / 60 for name, value in self.pred.items()}

    def sample(x1, ids):
        rng = Rng(0, torch.tensor(ids))
        flow = Flow(Hesitant(x1, path_states(path, make)), path, prior)
        return integrate(flow, prior(x1, rng), grid("quadratic", 5), solver, rng)

    together = sample(x1, list(range(len(x1))))
    for b in range(len(x1)):
        alone, mine = sample(x1[b], [b]), together[b]
        torch.testing.assert_close(alone.pos, mine.pos, atol=1e-5, rtol=0)
        for name in ("atom", "bond"):
            torch.testing.assert_close(getattr(alone, name), getattr(mine, name), atol=1e-5, rtol=0)


MEAN, SPREAD, SHARES = 0.5, 0.4, (0.7, 0.2, 0.1)


class Expected:
    """What is to be expected of data N(MEAN, SPREAD^2) with labels of SHARES: the exact network."""

    def __init__(self, path):
        self.path = path

    def __call__(self, x, t, *, hint=None, span=None):
        alpha, sigma = self.path.paths["pos"].levels(t, x.pos)
        gain = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
        shares = torch.tensor(SHARES)
        stayed = t[0] * one_hot(x.atom, 3) + (1 - t[0]) / 3  # the chance of this label, for each that the data may have
        return {"pos": MEAN + gain * (x.pos - alpha * MEAN), "atom": (shares * stayed).log()}


def drawn_at_once(end, x, rng, s):
    """Each label from its law, before it is known which of them jump."""
    return {"atom": end["atom"].argmax(-1) if s >= 1 else draw(end["atom"], rng)}, {}


@pytest.mark.parametrize(
    ("coordinates", "together"), [("linear", None), ("variance_preserving", None), ("linear", drawn_at_once)]
)
def test_the_law_of_the_path_is_kept(solver, make, coordinates, together):
    """From independent noise, at the middle and at the end: the mean and spread of points, and the shares of labels."""
    if not solver.keeps_law:
        pytest.skip("it says that it does not keep the law of labels")
    prior = Product([Gaussian("pos", 1, centred=False), Uniform("atom", 3)])
    path = Joint({"pos": make.member("path", PATHS, coordinates), "atom": Jump(3)})
    try:
        solver.fits(path, prior)
    except UserError:
        pytest.skip("refused")
    like = Batch.of_sizes([2000, 2000], dim=1)
    rng, seen = Rng.of(0, 2), {}
    times = grid("quadratic", 60 if solver.order else 240)  # chance makes first-order errors
    flow = Flow(Expected(path), path, prior, together=together)
    integrate(flow, prior(like, rng), times, solver, rng, lambda t, x: seen.update({t: x}))
    for t in (times[len(times) // 3], 1.0):
        alpha, sigma = path.paths["pos"].levels(t, like.pos)
        mean, spread = float(alpha) * MEAN, float(alpha**2 * SPREAD**2 + sigma**2) ** 0.5
        pos = seen[t].pos
        assert abs(float(pos.mean()) - mean) < 0.04 * (spread + 0.5)
        assert abs(float(pos.std()) / spread - 1) < (0.05 if solver.order else 0.07)  # the last steps stay long
    found = torch.bincount(seen[1.0].atom.flatten(), minlength=3) / 4000
    assert (found - torch.tensor(SHARES)).abs().max() < 0.04


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
