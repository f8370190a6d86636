"""Functions on coordinates, against brute force and numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from molflow.geometry import centre, kabsch, pair_distances, random_rotation, rotate, sum_squares

DIMENSIONS = [1, 2, 3]


def clouds(dim=3, seed=0, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    mask = torch.arange(7) < torch.tensor([7, 1, 4, 2, 0])[:, None]
    return torch.randn(5, 7, dim, generator=random, dtype=dtype), mask, random


@pytest.mark.parametrize("dim", DIMENSIONS)
@pytest.mark.parametrize("nonsense", [1e6, math.nan, math.inf])
def test_padding_has_no_say(dim, nonsense):
    pos, mask, _ = clouds(dim)
    dirty = pos.masked_fill(~mask[..., None], nonsense)
    assert torch.equal(centre(dirty, mask), centre(pos, mask))
    assert torch.equal(sum_squares(dirty, mask), sum_squares(pos, mask))
    target = pos.flip(1).masked_fill(~mask[..., None], nonsense)
    assert torch.equal(kabsch(dirty, target, mask), kabsch(pos, pos.flip(1), mask))


def test_centring_by_hand():
    pos = torch.tensor([[[1.0, 0], [3, 2], [9, 9]]])
    centred = centre(pos, torch.tensor([[True, True, False]]))
    assert centred.tolist() == [[[-1, -1], [1, 1], [0, 0]]]
    assert sum_squares(centred, torch.tensor([[True, True, False]])).tolist() == [4]


@pytest.mark.parametrize("dim", DIMENSIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_rotations_are_proper_and_orthogonal(dim, dtype):
    normal = torch.randn(2000, dim, dim, generator=torch.Generator().manual_seed(0), dtype=dtype)
    rotation = random_rotation(normal)
    identity = torch.eye(dim, dtype=dtype).expand(2000, dim, dim)
    assert torch.allclose(rotation @ rotation.mT, identity, atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(2000, dtype=dtype), atol=1e-5)


def test_random_rotations_are_uniform():
    """Each entry has mean 0 and variance 1/3; the trace of a uniform rotation has mean 0 and variance 1."""
    rotation = random_rotation(torch.randn(40_000, 3, 3, generator=torch.Generator().manual_seed(0)))
    assert rotation.mean(0).abs().max() < 0.02
    assert (rotation.var(0) - 1 / 3).abs().max() < 0.01
    trace = rotation.diagonal(dim1=1, dim2=2).sum(1)
    assert abs(trace.mean()) < 0.03
    assert trace.var() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_kabsch_finds_the_rotation_that_was_applied(dim):
    pos, mask, random = clouds(dim)
    pos = centre(pos, mask)
    rotation = random_rotation(torch.randn(5, dim, dim, generator=random, dtype=pos.dtype))
    turned = rotate(pos, rotation)
    found = kabsch(pos, turned, mask)
    assert torch.allclose(rotate(pos, found), turned, atol=1e-10)
    assert torch.allclose(torch.linalg.det(found), torch.ones(5, dtype=pos.dtype))


def test_kabsch_is_best_among_many_and_never_reflects():
    pos, mask, random = clouds()
    pos = centre(pos, mask)
    target = centre(pos * torch.tensor([1.0, 1.0, -1.0]), mask)  # the mirror image: no rotation reaches it
    best = sum_squares(rotate(pos, kabsch(pos, target, mask)) - target, mask)
    assert best[0] > 0.1
    for _ in range(200):
        other = random_rotation(torch.randn(5, 3, 3, generator=random, dtype=pos.dtype))
        assert (best <= sum_squares(rotate(pos, other) - target, mask) + 1e-9).all()


def test_kabsch_by_hand():
    """A quarter turn about z takes x to y."""
    pos = torch.tensor([[[1.0, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 3], [0, 0, -3]]])
    target = torch.tensor([[[0.0, 1, 0], [0, -1, 0], [-2, 0, 0], [2, 0, 0], [0, 0, 3], [0, 0, -3]]])
    found = kabsch(pos, target, torch.ones(1, 6, dtype=torch.bool))
    assert torch.allclose(found, torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]]), atol=1e-6)


def test_distances_by_hand_with_gradients_at_zero():
    pos = torch.tensor([[0.0, 0], [3, 4], [0, 0]], requires_grad=True)
    distances = pair_distances(pos)
    assert distances[0, 1] == 5
    assert distances[0, 2] < 1e-5
    distances.sum().backward()
    assert torch.isfinite(pos.grad).all()
