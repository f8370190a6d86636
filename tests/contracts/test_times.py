"""What every law of training times must do."""

from __future__ import annotations

import math

import pytest
import torch

from molflow.rng import Rng
from molflow.times import TIMES
from molflow.times.beta import Beta
from molflow.times.importance import Importance
from molflow.times.logit_normal import LogitNormal
from molflow.times.uniform import Uniform


@pytest.fixture(params=sorted(TIMES))
def times(request, make):
    return make.member("times", TIMES, request.param)


def test_there_is_a_time_in_the_unit_interval_for_each_molecule(times):
    t = times(Rng.of(0, 100_000))
    assert t.shape == (100_000,)
    assert float(t.min()) > 0
    assert float(t.max()) <= 1
    assert len(t.unique()) > 90_000


def taught(times):
    """The law after it has seen losses that fall with t."""
    t = times(Rng.of(9, 5000))
    times.learn(t, 3 - 2 * t)
    return times


def test_a_state_brings_a_law_back_bit_by_bit(times, make):
    name = next(name for name in TIMES if type(make.member("times", TIMES, name)) is type(times))
    again = make.member("times", TIMES, name)
    again.restore(taught(times).state())
    assert torch.equal(again(Rng.of(1, 100)), times(Rng.of(1, 100)))
    assert torch.equal(again.weight(times(Rng.of(1, 100))), times.weight(times(Rng.of(1, 100))))
    for law in (again, times):
        law.learn(torch.tensor([0.5, 0.1]), torch.tensor([1.0, 7.0]))
    assert torch.equal(again(Rng.of(2, 100)), times(Rng.of(2, 100)))


def test_weights_are_finite_and_above_zero(times):
    weight = taught(times).weight(times(Rng.of(0, 1000)))
    assert weight.shape == (1000,)
    assert weight.isfinite().all()
    assert (weight > 0).all()


def test_a_law_that_has_learnt_still_gives_times_of_each_molecule_alone(times):
    t = taught(times)(Rng.of(3, 10))
    assert torch.equal(t[7:8], times(Rng(3, torch.tensor([7]))))
    assert float(t.min()) > 0
    assert float(t.max()) < 1


def test_same_stream_same_times_alone_and_in_a_batch(times):
    t = times(Rng.of(3, 10))
    assert torch.equal(t, times(Rng.of(3, 10)))
    assert torch.equal(t[7:8], times(Rng(3, torch.tensor([7]))))
    assert not torch.equal(t, times(Rng.of(4, 10)))


class Edge:
    """A stream at the very edge of the unit interval."""

    def __init__(self, value):
        self.value = value

    def uniform(self, *shape):
        return torch.full((3, *shape), self.value)

    def normal(self, *shape):
        return torch.full((3, *shape), math.copysign(6.0, self.value - 0.5))


@pytest.mark.parametrize("value", [2.0**-24, 1 - 2.0**-24])
def test_the_edges_of_the_unit_interval_are_times_too(times, value):
    t = times(Edge(value))
    assert ((t >= 0) & (t <= 1)).all()


QUANTILES = [
    (Uniform(), 0.25, 0.25),
    (Beta(2, 1), 0.25, 0.5),  # the law t^2
    (Beta(1, 2), 0.75, 0.5),  # the law 1 - (1 - t)^2
    (LogitNormal(), 0.5, 0.5),
    (LogitNormal(mean=1.0), 0.5, 1 / (1 + math.exp(-1))),
    (LogitNormal(sd=2.0), 0.841345, 1 / (1 + math.exp(-2))),  # one standard deviation up
]


@pytest.mark.parametrize("law, share, quantile", QUANTILES)
def test_the_share_of_times_below_a_quantile_is_right(law, share, quantile):
    n = 100_000
    below = (law(Rng.of(0, n)) < quantile).double().mean()
    assert abs(below - share) < 5 * (share * (1 - share) / n) ** 0.5


def test_importance_has_the_density_of_the_running_loss():
    """Losses 1 and 3 in two halves, a fifth of uniform: 0.8 * (1/4, 3/4) + 0.2 * (1/2, 1/2) = (0.3, 0.7)."""
    times = Importance(bins=2, floor=0.2)
    times.learn(torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.tensor([0.5, 1.5, 2.0, 4.0]))
    torch.testing.assert_close(times.shares(), torch.tensor([0.3, 0.7], dtype=torch.float64))
    n = 100_000
    t = times(Rng.of(0, n))
    assert abs((t < 0.5).double().mean() - 0.3) < 5 * (0.3 * 0.7 / n) ** 0.5
    assert abs((t < 0.25).double().mean() - 0.15) < 5 * (0.15 * 0.85 / n) ** 0.5
    torch.testing.assert_close(times.weight(torch.tensor([0.2, 0.8])), torch.tensor([1 / 0.6, 1 / 1.4]))
    assert abs(times.weight(t).mean() - 1) < 0.01, "the weights leave the mean of a constant loss"


def test_importance_forgets_and_what_is_not_finite_teaches_nothing():
    times = Importance(bins=2, decay=0.5, floor=0.5)
    before = times.shares()
    times.learn(torch.tensor([0.1, 0.9]), torch.tensor([float("nan"), float("inf")]))
    assert torch.equal(times.shares(), before)
    times.learn(torch.tensor([0.1, 0.9]), torch.tensor([1.0, 1.0]))
    times.learn(torch.tensor([0.1]), torch.tensor([4.0]))  # (0.25 * 1 + 0.5 * 4) / 0.75 = 3
    torch.testing.assert_close(times.shares(), torch.tensor([0.5 * 0.75 + 0.25, 0.5 * 0.25 + 0.25]).double())


def test_a_time_of_no_loss_does_not_starve():
    times = Importance(bins=10, floor=0.1)
    t = torch.arange(10) / 10 + 0.05
    times.learn(t, (t > 0.9).float())
    assert float(times.shares().min()) == pytest.approx(0.01)
