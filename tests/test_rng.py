"""Random numbers as a function of seed, molecule, draw and index."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molflow.rng import _GOLDEN, Rng, _hash, _hash_int, numpy_generator, seed_of


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


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=6, unique=True), st.integers(-5, 2**40), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_a_molecule_draws_the_same_alone_in_a_batch_and_beside_padding(ids, seed, extent):
    together = Rng(seed, torch.tensor(ids))
    first, second = together.normal(extent + 2, 3), together.uniform(extent + 1)
    for row, identity in enumerate(ids):
        alone = Rng(seed, torch.tensor([identity]))
        assert torch.equal(alone.normal(extent, 3)[0], first[row, :extent])
        assert torch.equal(alone.uniform(extent)[0], second[row, :extent])


def test_the_hash_is_that_of_splitmix64():
    """Its published generator, seeded with 0 and 1234567, begins with these."""
    assert _hash_int(_GOLDEN) == 0xE220A8397B1DCDAF
    assert seed_of(0) == 0xE220A8397B1DCDAF
    assert _hash_int(1234567 + _GOLDEN & (1 << 64) - 1) == 6457827717110365317


def test_the_hash_of_a_tensor_is_the_hash_of_its_numbers():
    numbers = [0, 1, 2**31, 2**62, 2**63 - 1]
    signed = _hash(torch.tensor(numbers + [-n for n in numbers]))
    assert [value % 2**64 for value in signed.tolist()] == [
        _hash_int(n % 2**64) for n in numbers + [-n for n in numbers]
    ]


def test_numbers_stay_what_they_were():
    """A change here changes every sample that anyone made from a seed."""
    rng = Rng(0, torch.tensor([0, 7]))
    expected = [[0.2817613, 0.6131064], [0.0984916, 0.1302113]]
    assert torch.allclose(rng.uniform(2), torch.tensor(expected), atol=1e-6)


def test_host_generators_repeat():
    assert Rng.of(3, 5).generator().random() == Rng.of(3, 8).generator().random()
    assert numpy_generator(1, 2).random() == numpy_generator(1, 2).random()
    assert numpy_generator(1, 2).random() != numpy_generator(2, 1).random()
    assert numpy_generator(-1).random() >= 0


def test_a_stream_apart_is_another_and_leaves_its_own_as_it_was():
    one, two = Rng(3, torch.arange(1000)), Rng(3, torch.arange(1000))
    first, other = one.apart(5).uniform(4), one.apart(6).uniform(4)
    assert torch.equal(one.uniform(4), two.uniform(4))
    assert torch.equal(first[7], Rng(3, torch.tensor([7])).apart(5).uniform(4)[0])
    for a, b in (
        (first, other),
        (first, Rng(3, torch.arange(1000)).uniform(4)),
        (first, Rng(4, torch.arange(1000)).apart(5).uniform(4)),
    ):
        assert abs(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])) < 0.06
    assert one.apart(5).scalar() != one.apart(6).scalar() != Rng(3, torch.arange(2)).scalar()


def test_what_is_drawn_for_all_at_once_may_go_by_a_seed_of_its_own():
    ids = torch.arange(3)
    one, two = Rng(5, ids, together=1), Rng(5, ids, together=2)
    assert torch.equal(one.normal(4), two.normal(4))
    assert one.scalar() != two.scalar()
    assert Rng(5, ids).scalar() == Rng(5, ids, together=5).scalar()
