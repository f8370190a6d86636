"""What every law of training times must do."""

from __future__ import annotations

import math

import pytest
import torch

from molflow.rng import Rng
from molflow.times import TIMES, Beta, LogitNormal, Uniform


@pytest.fixture(params=sorted(TIMES))
def times(request, make):
    return make.member("times", TIMES, request.param)


def test_there_is_a_time_in_the_unit_interval_for_each_molecule(times):
    t = times(Rng.of(0, 100_000))
    assert t.shape == (100_000,)
    assert float(t.min()) > 0
    assert float(t.max()) <= 1
    assert len(t.unique()) > 90_000


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
