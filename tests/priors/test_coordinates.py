"""Noise of coordinates: its widths, and its densities against laws that are known and against integrals."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from molflow.batch import Batch
from molflow.build import UserError
from molflow.priors.ball import Ball
from molflow.priors.gaussian import Gaussian
from molflow.priors.harmonic import Harmonic
from molflow.priors.prior import Product
from molflow.priors.sized import Sized
from molflow.rng import Rng


def points(*rows):
    return Batch.of_points(torch.tensor(rows, dtype=torch.float64))


def standard_error(values):
    return float(values.std() / len(values) ** 0.5)


def test_noise_without_a_fixed_centre_has_the_density_of_independent_normals():
    x = Batch.of_points(Rng.of(0, 5).normal(4, 3))
    known = Normal(0, 1.7).log_prob(x.pos).sum((1, 2))
    torch.testing.assert_close(Gaussian("pos", 3, 1.7, centred=False).log_prob(x), known)
    torch.testing.assert_close(Sized("pos", 3, law=(0.85, 0.5), centred=False).log_prob(x), known)


def test_centred_noise_has_the_density_on_the_plane_of_zero_mean():
    """Two points at -a and a on a line: one free direction, of coordinate sqrt(2) a."""
    a = 0.6
    known = Normal(0.0, 1.7).log_prob(torch.tensor(2**0.5 * a)).item()
    assert Gaussian("pos", 1, 1.7).log_prob(points([[-a], [a]])).item() == pytest.approx(known)
    assert Sized("pos", 1, law=(1.7 / 2, 1.0)).log_prob(points([[-a], [a]])).item() == pytest.approx(known)
    assert Gaussian("pos", 1).log_prob(points([[0.0]])).item() == 0, "one atom has no freedom left"


def test_the_density_of_label_channels_counts_each_pair_once():
    x = Batch.of_sizes([2]).replace(bond=torch.tensor([[[0.0], [0.5]], [[0.5], [0.0]]]).reshape(1, 2, 2, 1))
    known = Normal(0.0, 2.0).log_prob(torch.tensor(0.5)).item()
    assert Gaussian("bond", 1, 2.0).log_prob(x).item() == pytest.approx(known)


@pytest.mark.parametrize(
    "prior", [Gaussian("pos", 1, 0.7), Sized("pos", 1), Harmonic("pos", 1), Harmonic("pos", 1, graph="bonds")]
)
def test_densities_of_three_points_on_a_line_integrate_to_one(prior):
    """Over the plane of zero mean, with the unit vectors (1, -1, 0) / sqrt 2 and (1, 1, -2) / sqrt 6."""
    axis = torch.linspace(-8, 8, 201, dtype=torch.float64)
    u, v = torch.meshgrid(axis, axis, indexing="ij")
    plane = torch.tensor([[1, -1, 0], [1, 1, -2]], dtype=torch.float64) / torch.tensor([[2.0], [6.0]]).sqrt()
    x = Batch.of_points((torch.stack([u, v], -1).reshape(-1, 2) @ plane).unsqueeze(-1))
    bond = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]]).expand(len(x), 3, 3)  # and a fragment of one atom
    total = prior.log_prob(x.replace(bond=bond)).exp().sum() * float(axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1, abs=1e-4)


def test_sized_noise_is_as_wide_as_the_law_says():
    """Centred, (N - 1) / N of the variance is left: of 4 atoms 0.75 * 1.2^2, of 9 (8 / 9) * 1.8^2."""
    prior = Sized("pos", 3, law=(0.6, 0.5))
    for n, variance in ((4, 0.75 * 1.44), (9, 8 / 9 * 3.24)):
        pos = prior(Batch.of_sizes([n] * 5000), Rng.of(0, 5000)).pos.double()
        each = pos.square().mean((1, 2))
        assert abs(float(each.mean()) - variance) < 5 * standard_error(each)


def test_points_of_a_ball_are_uniform_in_it():
    """Half of the volume lies within 2^(-1/3) of the radius, and a coordinate has the scale as standard deviation."""
    prior = Ball("pos", 3, scale=2.0, centred=False)
    pos = prior(Batch.of_sizes([1] * 20_000), Rng.of(0, 20_000)).pos[:, 0].double()
    far = pos.norm(dim=1)
    assert float(far.max()) <= prior.radius
    assert abs(float((far < prior.radius * 2 ** (-1 / 3)).double().mean()) - 0.5) < 5 * 0.5 / 20_000**0.5
    square = pos[:, 0].square()
    assert abs(float(square.mean()) - 4) < 5 * standard_error(square)


def test_the_density_of_a_ball_is_one_over_its_volume():
    prior = Ball("pos", 2, scale=0.5, centred=False)  # radius 1, area pi
    x = Batch.of_points(torch.tensor([[[0.1, 0.2], [0.9, 0.0]], [[0.0, 0.0], [0.9, 0.9]]]))
    assert prior.log_prob(x).tolist() == [pytest.approx(-2 * math.log(math.pi)), -math.inf]
    with pytest.raises(UserError, match="not known in closed form"):
        Ball("pos", 2).log_prob(x)


RING = torch.tensor([[0, 1, 0, 1, 0], [1, 0, 2, 0, 0], [0, 2, 0, 1, 0], [1, 0, 1, 0, 1], [0, 0, 0, 1, 0]])


def test_neighbours_of_a_chain_are_a_length_apart():
    pos = Harmonic("pos", 3, length=0.8)(Batch.of_sizes([6] * 4000), Rng.of(0, 4000)).pos.double()
    step = pos.diff(dim=1).square().mean((1, 2))
    assert abs(float(step.mean()) - 0.64) < 5 * standard_error(step)
    ends = (pos[:, 5] - pos[:, 0]).square().mean(1)
    assert abs(float(ends.mean()) - 5 * 0.64) < 5 * standard_error(ends)


@pytest.mark.parametrize("graph", ["chain", "bonds"])
def test_harmonic_noise_has_the_covariance_of_its_springs(graph):
    """The pseudo-inverse of the Laplacian: of a ring of four with a tail, and of a chain of five."""
    bond = RING if graph == "bonds" else torch.eye(5).roll(1, 1).triu(1) + torch.eye(5).roll(1, 1).triu(1).T
    spring = (bond > 0).double()
    covariance = 0.25 * torch.linalg.pinv(torch.diag(spring.sum(1)) - spring)
    like = Batch.of_sizes([5] * 20_000, 1).replace(bond=bond.expand(20_000, 5, 5))
    pos = Harmonic("pos", 1, graph=graph, length=0.5)(like, Rng.of(0, 20_000)).pos[..., 0].double()
    found = pos.T @ pos / 20_000
    error = (covariance.diag()[:, None] * covariance.diag() + covariance**2).sqrt() / 20_000**0.5
    assert ((found - covariance).abs() < 5 * error).all()


def test_the_density_of_springs_is_that_of_the_normal_law_with_their_covariance():
    prior, x = Harmonic("pos", 2, graph="bonds", length=0.5), Batch.of_points(Rng.of(0, 3).normal(5, 2).double())
    x = x.replace(pos=x.pos - x.pos.mean(1, keepdim=True), bond=RING.expand(3, 5, 5))
    spring = (RING > 0).double()
    values, vectors = torch.linalg.eigh(torch.diag(spring.sum(1)) - spring)
    free = vectors[:, 1:]  # all but the centre
    law = MultivariateNormal(torch.zeros(4).double(), torch.diag(0.25 / values[1:]))
    known = sum(law.log_prob(x.pos[..., d] @ free) for d in range(2))
    torch.testing.assert_close(prior.log_prob(x), known)


def test_fragments_stay_as_near_as_the_ends_of_a_chain():
    bond = torch.zeros(4, 4, dtype=torch.long)
    bond[0, 1] = bond[1, 0] = bond[2, 3] = bond[3, 2] = 1
    like = Batch.of_sizes([4] * 4000).replace(bond=bond.expand(4000, 4, 4))
    pos = Harmonic("pos", 3, graph="bonds", length=1.0)(like, Rng.of(0, 4000)).pos.double()
    apart = (pos[:, :2].mean(1) - pos[:, 2:].mean(1)).square().mean(1)
    assert abs(float(apart.mean()) - 1 / (2 - 2**0.5)) < 5 * standard_error(apart)


def test_bonds_are_read_from_the_molecule_or_asked_for():
    like = Batch.of_sizes([5]).replace(bond=RING[None])
    prior = Harmonic("pos", 3, graph="bonds")
    x = Product([prior])(like, Rng.of(0, 1))
    assert x.fields == ("pos",)
    torch.testing.assert_close(x.pos, prior(like, Rng.of(0, 1)).pos)
    with pytest.raises(UserError, match="none are given here.*use graph: chain"):
        prior(Batch.of_sizes([5]), Rng.of(0, 1))
