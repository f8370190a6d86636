"""What every path must do: docs/design.md, the contract of paths."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import one_hot

from molflow.build import resolve
from molflow.paths import PATHS
from molflow.paths.affine import Positions
from molflow.rng import Rng

B, N, STATES = 6, 7, 5
SURE = 60.0  # a logit whose softmax is 1 to the last bit of float64


def endpoints(kind):
    """x0 and x1 of one kind of field, and the prediction of a network that knows x1."""
    random = torch.Generator().manual_seed(0)
    if kind == "coordinates":
        x0, x1 = torch.randn(2, B, N, 3, generator=random, dtype=torch.float64)
        return SimpleNamespace(kind=kind, x0=x0, x1=x1, oracle=x1)
    x1 = torch.randint(STATES, (B, N), generator=random)
    oracle = SURE * one_hot(x1, STATES).double()
    if kind == "labels":
        return SimpleNamespace(kind=kind, x0=torch.randint(STATES, (B, N), generator=random), x1=x1, oracle=oracle)
    x0 = torch.randn(B, N, STATES, generator=random, dtype=torch.float64)
    return SimpleNamespace(kind=kind, x0=x0, x1=x1, oracle=oracle)


KINDS = ("coordinates", "labels", "channels")


NUMBERS = [name for name, target in sorted(PATHS.items()) if Positions in getattr(resolve(target), "__mro__", ())]
PREDICTIONS = ("endpoint", "noise", "velocity", "preconditioned")


def members():
    """Every path, those of coordinates under each reading of the network's output, and labels that lead."""
    for name in sorted(PATHS):
        yield from ({"name": name, "predicts": reading} for reading in PREDICTIONS) if name in NUMBERS else [name]
    yield {"name": "jump", "lead": 2.5}


@pytest.fixture(params=members(), ids=lambda spec: spec if isinstance(spec, str) else " ".join(map(str, spec.values())))
def path(request, make):
    return make.member("path", PATHS, request.param, states=STATES)


@pytest.fixture
def ends(path):
    """The endpoints that this path joins: of the kinds of field, the one it starts at."""
    for kind in KINDS:
        ends = endpoints(kind)
        if kind == "coordinates" and hasattr(path, "states"):  # a path that is told of states joins labels
            continue
        try:
            start = path.sample(ends.x0, ends.x1, torch.zeros(B).double(), rng())
        except (RuntimeError, TypeError, ValueError, IndexError):
            continue
        if start.shape == ends.x0.shape and start.dtype == ends.x0.dtype:
            return ends
    pytest.fail(f"{type(path).__name__} starts at none of {', '.join(KINDS)}: sample(x0, x1, t=0) must be x0")


def rng(seed=0, n=B):
    return Rng.of(seed, n)


def times(value):
    return torch.full((B,), value, dtype=torch.float64)


def level(path, t):
    """alpha and sigma of a path of numbers."""
    return (float(level) for level in path.levels(t, torch.zeros((), dtype=torch.float64)))


def seen(path, pred, x, t):
    """The velocity of a network's output."""
    return path.velocity(path.endpoint(pred, x, t), x, t)


def output(path, ends, end, x, t):
    """What a network puts out to say ``end``: that endpoint, or the noise or the velocity that goes with it."""
    if ends.kind != "coordinates":
        return end
    alpha, sigma = path.levels(t, x)
    return {
        "endpoint": lambda: end,
        "noise": lambda: path.noise(end, x, t),
        "velocity": lambda: x + path.velocity(end, x, t),
        "preconditioned": lambda: x + (end * (alpha**2 + sigma**2) - alpha * x) / sigma,
    }[path.predicts]()


def corner(ends):
    """x1 as the state that a path ends in."""
    return one_hot(ends.x1, STATES).double() if ends.kind == "channels" else ends.x1


def test_starts_at_x0_and_ends_at_x1(path, ends):
    """A diffusion keeps a trace of the data at the start, below 2 % of it."""
    start, end = (path.sample(ends.x0, ends.x1, times(t), rng()) for t in (0.0, 1.0))
    if ends.kind == "labels":
        assert torch.equal(start, ends.x0)
    else:
        alpha, sigma = level(path, 0.0)
        assert 0 <= alpha < (0.02 if path.diffusion else 1e-12)
        assert abs(sigma - 1) < 1e-3
        torch.testing.assert_close(start, sigma * ends.x0 + alpha * corner(ends), atol=1e-9, rtol=0)
    torch.testing.assert_close(end, corner(ends), atol=1e-9, rtol=0)


def test_one_time_for_all_is_the_same_as_a_time_each(path, ends):
    x = path.sample(ends.x0, ends.x1, times(0.3), rng())
    torch.testing.assert_close(path.sample(ends.x0, ends.x1, 0.3, rng()), x)
    torch.testing.assert_close(seen(path, ends.oracle, x, 0.3), seen(path, ends.oracle, x, times(0.3)))


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_velocity_is_the_derivative_of_the_path_at_the_oracle(path, ends, t):
    if ends.kind == "labels":
        return  # a jump has rates instead
    h = 1e-5
    before, x, after = (path.sample(ends.x0, ends.x1, times(s), rng()) for s in (t - h, t, t + h))
    v = path.velocity(corner(ends), x, times(t))
    torch.testing.assert_close(v, (after - before) / (2 * h), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("t", [0.01, 0.4, 0.95])
def test_endpoint_noise_and_velocity_are_one_another(path, ends, t):
    """Whatever the output means, it is read as the endpoint that it was made from; velocities are undone too."""
    if ends.kind != "coordinates":
        return
    x = path.sample(ends.x0, ends.x1, t, rng())
    end = ends.x1.roll(1, 0)
    torch.testing.assert_close(path.endpoint(output(path, ends, end, x, t), x, t), end, atol=1e-9, rtol=0)
    torch.testing.assert_close(path.end_of(path.velocity(end, x, t), x, t), end, atol=1e-9, rtol=0)
    torch.testing.assert_close(path.noise(ends.x1, x, t), ends.x0, atol=1e-9, rtol=0)


@pytest.mark.parametrize("t", [0.01, 0.4, 0.95])
def test_the_oracle_arrives_from_anywhere_on_the_way(path, ends, t):
    x = path.sample(ends.x0, ends.x1, times(t), rng())
    end = path.endpoint(output(path, ends, ends.oracle, x, t), x, t)
    by_velocity = path.advance(x, path.velocity(end, x, t), t, 1.0, rng(1))
    for there in (by_velocity, path.hold(x, end, t, 1.0, rng(1))):
        torch.testing.assert_close(there, corner(ends), atol=1e-9, rtol=0)


def test_steps_from_the_very_start_are_finite(path, ends):
    pred = torch.randn(ends.oracle.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    end = path.endpoint(pred, ends.x0, 0.0)
    for moved in (path.advance(ends.x0, path.velocity(end, ends.x0, 0.0), 0.0, 0.2, rng()),
                  path.hold(ends.x0, end, 0.0, 0.2, rng())):  # fmt: skip
        assert moved.isfinite().all()


@pytest.mark.parametrize("t, s", [(0.0, 0.3), (0.3, 0.8), (0.8, 0.99)])
def test_holding_the_true_endpoint_stays_on_the_path(path, ends, t, s):
    if ends.kind == "labels":
        return  # by chance: its law is tested below
    x = path.sample(ends.x0, ends.x1, t, rng())
    moved = path.hold(x, corner(ends), t, s, rng())
    torch.testing.assert_close(moved, path.sample(ends.x0, ends.x1, s, rng()), atol=1e-9, rtol=0)


@pytest.mark.parametrize("churn", [0.5, 1.0])
def test_renewed_noise_keeps_the_law_of_the_path(path, ends, churn):
    """Seen from the true endpoint the noise stays a standard normal, and more of it is new the more is renewed."""
    if ends.kind == "labels":
        return
    many, t, s = 40_000, 0.3, 0.7
    x0, fresh = torch.randn(2, many, 1, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x1 = torch.ones(many, 1, 3, dtype=torch.float64)
    alpha, sigma = level(path, t)
    noise = path.noise(x1, path.hold(alpha * x1 + sigma * x0, x1, t, s, rng(0, many), fresh, churn), s)
    one = 1 / (3 * many) ** 0.5
    assert noise.mean().abs() < 5 * one
    assert (noise.std() - 1).abs() < 5 * one
    assert 5 * one < (noise * fresh).mean()
    assert abs((noise * fresh).mean() ** 2 + (noise * x0).mean() ** 2 - 1) < 10 * one


@pytest.mark.parametrize("t, s", [(0.9, 0.6), (0.5, 0.1), (0.3, 0.0)])
def test_going_back_gives_the_law_of_the_path(path, ends, t, s):
    """Noise added from t back to s: numbers by mean and spread, labels by how many are x1, within 5 standard errors."""
    many = 20_000
    random = torch.Generator().manual_seed(3)
    if ends.kind == "labels":
        x1 = torch.full((many, 1), 3)
        x0, fresh = torch.zeros(many, 1, dtype=torch.long), torch.ones(many, 1, dtype=torch.long)
        x = path.back(path.sample(x0, x1, t, rng(0, many)), t, s, fresh, rng(1, many))
        share, due = (x == 3).double().mean(), path.clock(s)
        assert abs(share - due) <= 5 * (due * (1 - due) / many) ** 0.5
        assert ((x == 0) | (x == 1) | (x == 3)).all()
        return
    x0, fresh = torch.randn(2, many, 1, 3, generator=random, dtype=torch.float64)
    x1 = torch.full((many, 1, 3), 2.0, dtype=torch.float64)
    alpha, sigma = level(path, t)
    x = path.back(alpha * x1 + sigma * x0, t, s, fresh, rng(1, many))
    alpha, sigma = level(path, s)
    assert (x - alpha * x1).mean().abs() < 5 * sigma / (3 * many) ** 0.5
    assert (x.std() - sigma).abs() < 5 * sigma / (6 * many) ** 0.5


@pytest.mark.parametrize("t", [0.02, 0.3, 0.99])
def test_the_loss_is_least_at_the_expected_endpoint(path, ends, t):
    """Of two endpoints, one twice as likely, no prediction does better than their expectation."""
    other = ends.x1.roll(1, 0)
    if ends.kind == "coordinates":
        best = (2 * ends.x1 + other) / 3
    else:
        best = ((2 * one_hot(ends.x1, STATES) + one_hot(other, STATES)) / 3).double().clamp(min=1e-12).log()

    x = path.sample(ends.x0, ends.x1, times(t), rng())
    best = output(path, ends, best, x, times(t))

    def loss(pred):
        return (2 * path.loss(pred, x, ends.x1, times(t)) + path.loss(pred, x, other, times(t))) / 3

    least = loss(best)
    assert least.shape == (B, N)
    random = torch.Generator().manual_seed(1)
    for size in (0.03, 0.3, 3.0):
        worse = loss(best + size * torch.randn(best.shape, generator=random, dtype=torch.float64))
        assert (worse >= least - 1e-9).all()
        assert worse.mean() > least.mean()


def test_the_loss_of_an_oracle_is_the_minimum_and_finite_at_both_ends(path, ends):
    for t in (0.0, 0.5, 1.0):
        x = path.sample(ends.x0, ends.x1, times(t), rng())
        known = 0 < t < 1 or getattr(path, "predicts", "endpoint") == "endpoint"  # else nothing left to tell
        oracle = output(path, ends, ends.oracle, x, times(t)) if known else ends.x1
        least = path.loss(oracle, x, ends.x1, times(t))
        wrong = path.loss(oracle.roll(1, 1), x, ends.x1, times(t))
        assert least.isfinite().all()
        assert wrong.isfinite().all()
        if known:
            assert (least <= 1e-9).all()
            assert wrong.sum() > least.sum()


def test_an_endpoint_is_a_position_or_a_distribution(path, ends):
    pred = torch.randn(ends.oracle.shape, dtype=torch.float64)
    end = path.endpoint(pred, ends.x0, 0.3)
    assert end.shape == pred.shape
    if ends.kind != "coordinates":
        assert (end >= 0).all()
        torch.testing.assert_close(end.sum(-1), torch.ones(B, N, dtype=torch.float64))


def test_the_rates_of_labels_sum_to_zero_and_leave_no_state_below_zero(path, ends):
    if ends.kind != "labels":
        return
    pred = torch.randn(B, N, STATES, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    rates = seen(path, pred, ends.x0, 0.3)
    assert rates.shape == (B, N, STATES)
    assert rates.sum(-1).abs().max() < 1e-12
    elsewhere = rates.masked_fill(one_hot(ends.x0, STATES).bool(), 0)
    assert (elsewhere >= 0).all()
    assert (rates.gather(-1, ends.x0[..., None]) <= 0).all()


def test_labels_stay_labels(path, ends):
    if ends.kind != "labels":
        return
    x, random = ends.x0, torch.Generator().manual_seed(2)
    grid = [0.0, 0.4, 0.5, 0.9, 0.999, 1.0]
    for k, (t, s) in enumerate(pairwise(grid)):
        pred = 3 * torch.randn(B, N, STATES, dtype=torch.float64, generator=random)
        x = path.advance(x, seen(path, pred, x, t), t, s, rng(k))
        assert x.dtype == ends.x1.dtype
        assert int(x.min()) >= 0
        assert int(x.max()) < STATES


@pytest.mark.parametrize("hidden", [False, True], ids=["uniform", "masked"])
def test_a_state_hidden_at_the_start_is_never_predicted(make, hidden, path, ends):
    if ends.kind != "labels":
        return
    states = STATES + hidden
    path = type(path)(states)
    x0 = torch.full((B, N), STATES) if hidden else ends.x0
    pred = torch.randn(B, N, STATES, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    rates = seen(path, pred, x0, 0.2)
    assert rates.shape[-1] == states
    end = path.advance(x0, rates, 0.2, 1.0, rng())
    assert int(end.max()) < STATES


def test_advancing_by_chance_gives_the_law_of_the_path(path, ends):
    """Simulated with the oracle's rates, labels are x1 as often as in sample(), within 5 standard errors."""
    if ends.kind != "labels":
        return
    many = 4000
    x0, x1 = torch.zeros(many, 5, dtype=torch.long), torch.full((many, 5), 3)
    oracle = SURE * one_hot(x1, STATES).double()
    x = x0
    grid = [0.0, 0.15, 0.35, 0.4, 0.8]
    for k, (t, s) in enumerate(pairwise(grid)):
        x = path.advance(x, seen(path, oracle, x, t), t, s, rng(k + 1, many))
        direct = path.sample(x0, x1, s, rng(100 + k, many))
        a, b = (x == 3).double().mean(), (direct == 3).double().mean()
        z = (a - b) / (2 * a * (1 - a) / x.numel()) ** 0.5
        assert abs(z) < 5, f"at t = {s}: {a:.4f} simulated, {b:.4f} by the path"
        assert ((x == 0) | (x == 3)).all()


def test_without_chance_only_what_is_deterministic_moves(path, ends):
    x = path.sample(ends.x0, ends.x1, times(0.2), rng())
    v = path.velocity(corner(ends) if ends.kind != "labels" else ends.oracle.softmax(-1), x, 0.2)
    moved = path.advance(x, v, 0.2, 0.6, None)
    if ends.kind == "labels":
        assert torch.equal(moved, x)
    else:
        torch.testing.assert_close(moved, path.advance(x, v, 0.2, 0.6, None))
        assert not torch.equal(moved, x)


def test_same_stream_same_state_alone_and_in_a_batch(path, ends):
    x = path.sample(ends.x0, ends.x1, times(0.5), rng())
    torch.testing.assert_close(path.sample(ends.x0, ends.x1, times(0.5), rng()), x, rtol=0, atol=0)
    for b in range(B):
        alone = path.sample(ends.x0[b : b + 1, :3], ends.x1[b : b + 1, :3], times(0.5)[:1], Rng(0, torch.tensor([b])))
        torch.testing.assert_close(alone[0], x[b, :3], rtol=0, atol=0)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("paired", [False, True], ids=["independent", "paired"])
def test_the_best_prediction_carries_noise_to_the_data(name, paired, make):
    """Noise N(0, 1), data N(0, 4), and of paired noise x1 = 2 x0: the best linear prediction of what a path asks for is
    the best of all, and its flow must end at the data's law."""
    path = make.member("path", PATHS, name)
    n, steps = 40_000, 100
    random = torch.Generator().manual_seed(0)
    x0, other, fresh = torch.randn(3, n, 1, 1, generator=random, dtype=torch.float64)
    x1 = 2 * (x0 if paired else other)
    fresh = fresh if path.mixes else None
    start = torch.full((n,), 0.0, dtype=torch.float64)
    x = path.sample(x0, x1, start, rng(), fresh)
    for k in range(steps):
        t, s = k / steps, (k + 1) / steps
        at = torch.full((n,), t, dtype=torch.float64)
        seen, goal = path.sample(x0, x1, at, rng(), fresh), path.goal(x0, x1, at, fresh)
        slope = (seen * goal).mean() / seen.square().mean()
        x = path.hold(x, slope * x, t, s, None)
    assert float(x.std()) == pytest.approx(2.0, rel=0.03)
