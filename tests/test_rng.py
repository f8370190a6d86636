"""Random numbers as a function of seed, molecule, draw and index."""

from __future__ import annotations

import torch

from molflow.rng import Rng, seed_of


def test_uniform_numbers_lie_strictly_between_zero_and_one():
    """Molecule 873569 of seed 0 once drew 24 bits of ones, and 1 - 2^-25 rounds to 1."""
    assert float(Rng(0, torch.tensor([873569])).uniform()) < 1
    u = Rng.of(0, 1000).uniform(1000)
    assert float(u.min()) > 0
    assert float(u.max()) < 1


def test_uniform_and_normal_numbers_have_their_moments():
    u, z = Rng.of(0, 1000).uniform(1000), Rng.of(1, 1000).normal(1000)
    n = u.numel()
    for value, moments in ((u, (1 / 2, 1 / 3, 1 / 4)), (z, (0, 1, 0, 3))):
        for power, expected in enumerate(moments, 1):
            powers = value.double() ** power
            assert abs(powers.mean() - expected) < 5 * powers.std() / n**0.5


def test_neighbours_are_not_correlated():
    u = Rng.of(0, 500).uniform(500) - 0.5
    other = Rng.of(1, 500).uniform(500) - 0.5
    for a, b in ((u[1:], u[:-1]), (u[:, 1:], u[:, :-1]), (u, u.T), (u, other)):
        r = (a * b).mean() / (1 / 12)
        assert abs(r) < 5 / a.numel() ** 0.5


def test_draws_follow_one_another_and_repeat_from_the_start():
    one, two = Rng.of(0, 3), Rng.of(0, 3)
    first, second = one.normal(4), one.normal(4)
    assert not torch.equal(first, second)
    assert torch.equal(first, two.normal(4))
    assert torch.equal(second, two.normal(4))
    assert one.scalar() == two.scalar()


def test_seeds_of_places_differ():
    assert len({seed_of(0, epoch, step) for epoch in range(50) for step in range(50)}) == 2500
    assert seed_of(1, 2) != seed_of(2, 1)
