"""Curves of diffusion and of your own, by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from molflow.build import UserError
from molflow.paths.custom import Custom
from molflow.paths.interpolant import Interpolant
from molflow.paths.linear import Linear
from molflow.paths.trigonometric import Trigonometric
from molflow.paths.variance_exploding import VarianceExploding
from molflow.paths.variance_preserving import VariancePreserving
from molflow.rng import Rng

T = torch.linspace(0, 1, 101, dtype=torch.float64)
DIFFUSIONS = [VariancePreserving("cosine"), VariancePreserving("linear"), VarianceExploding(), Trigonometric()]


@pytest.mark.parametrize("path", DIFFUSIONS, ids=lambda path: f"{type(path).__name__} {getattr(path, 'schedule', '')}")
def test_the_variance_is_preserved_and_the_data_emerge(path):
    alpha, sigma = path.alpha(T), path.sigma(T)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(T))
    assert (alpha.diff() > 0).all()
    assert (alpha[-1], sigma[-1]) == (1, 0)


def test_the_schedules_by_hand():
    """u = 1/2: exp(-(19.9 / 16 + 0.1 / 4)) = 0.281; a cosine half way through its turn of 0.987 quarters is 0.709."""
    assert abs(float(VariancePreserving("linear").alpha(torch.tensor(0.5))) - math.exp(-19.9 / 16 - 0.1 / 4)) < 1e-6
    angle = math.pi / 2 * (0.008 / 1.008 + 0.987 / 2)
    assert abs(float(VariancePreserving("cosine").alpha(torch.tensor(0.5))) - math.cos(angle)) < 1e-3


def test_exploding_noise_falls_by_a_factor_in_equal_times():
    """From 60 to 0.002 log-linearly: half way it is their geometric mean, 0.346."""
    ratio = VarianceExploding(largest=60, smallest=0.002).ratio(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(ratio, torch.tensor([60.0, 0.3464, 0.0]), atol=3e-3, rtol=0)


@pytest.mark.parametrize("path", DIFFUSIONS, ids=lambda path: type(path).__name__)
def test_times_next_to_the_end_are_read_in_single_precision(path):
    x, end = torch.ones(1, 1, 3), torch.zeros(1, 1, 3)
    for t in (1 - 2**-23, 1 - 2**-22, 0.9999):
        time = torch.tensor([t])
        assert path.velocity(end, x, time).isfinite().all()
        assert path.loss(end, x, end + 1, time).isfinite().all()


def test_the_interpolant_spreads_as_its_sigma_says():
    """(1 - t) x0 + t (1 - t) z at t = 1/2: variance 1/4 + 1/16."""
    many = 100_000
    x0, z = torch.randn(2, many, 1, 1, generator=torch.Generator().manual_seed(0))
    path = Interpolant(noise=1.0)
    x = path.sample(x0, torch.zeros_like(x0), 0.5, Rng.of(0, many), z)
    assert abs(float(x.var()) - 0.3125) < 0.01
    assert abs(float(path.sigma(torch.tensor(0.5))) - 0.3125**0.5) < 1e-6


def test_formulas_make_the_linear_path():
    custom, linear = Custom("t", "1 - t"), Linear()
    x, end = torch.randn(2, 5, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(custom.velocity(end, x, 0.3), linear.velocity(end, x, 0.3))


def test_derivatives_of_a_formula_by_hand():
    """alpha = sin(pi t / 2)^2: slope pi/2 sin(pi t), which is pi/2 half way."""
    path = Custom("sin(pi * t / 2) ** 2", "cos(pi * t / 2) ** 2")
    rise, fall = path.slopes(torch.tensor(0.5))
    assert abs(float(rise) - math.pi / 2) < 1e-5
    assert abs(float(fall) + math.pi / 2) < 1e-5


@pytest.mark.parametrize(
    "alpha, sigma, why",
    [
        ("t + 1", "1 - t", r"alpha\(0\)"),
        ("t", "1 - t / 2", r"sigma\(1\) = 0"),
        ("t", "(1 - t) * (1 - 4 * t)", "sigma > 0"),
        ("sin(5 * pi / 2 * t)", "1 - t", "rises"),
        ("sqrt(t)", "1 - t", "a finite slope at t = 0"),
        ("t +", "1 - t", "cannot read 't \\+'"),
        ("x", "1 - t", "cannot read 'x'"),
        ("__import__('os').system('true')", "1 - t", "cannot read"),
        ("t.real", "1 - t", "cannot read"),
        ("t / 0", "1 - t", "alpha|cannot read"),
    ],
)
def test_formulas_that_are_no_path_are_refused(alpha, sigma, why):
    with pytest.raises(UserError, match=why):
        Custom(alpha, sigma)


@pytest.mark.parametrize("path", [Linear(), VariancePreserving()])
def test_steps_next_to_the_end_stay_finite(path):
    x, end = torch.ones(2, 3, 3), torch.zeros(2, 3, 3)
    times = [1 - 10.0**-k for k in (4, 6, 7, 8, 9)] + [1.0]
    for t, s in pairwise(times):
        x = path.hold(x, end, t, s, None)
        assert x.isfinite().all()
