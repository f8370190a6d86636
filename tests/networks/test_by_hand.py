"""Derivatives written out are those that autograd finds, of formulas written down once more."""

from __future__ import annotations

import pytest
import torch

from molflow.networks.layers.by_hand import distances, measured, normalised
from molflow.networks.layers.radial import Radial


def pieces(dim: int = 3):
    numbers = torch.Generator().manual_seed(0)
    pos = torch.randn(2, 5, dim, generator=numbers, dtype=torch.float64).requires_grad_()
    mask = torch.tensor([[1.0] * 5, [1.0] * 3 + [0.0] * 2], dtype=torch.float64)
    return pos, mask, Radial(6).double()


@pytest.mark.parametrize("dim", [2, 3])
def test_derivatives(dim):
    pos, mask, radial = pieces(dim)
    v = torch.randn(2, 3, 4, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(normalised, v)
    assert torch.autograd.gradcheck(lambda x: measured(x, mask, radial), pos)


def test_values():
    pos, mask, radial = pieces()
    d, r = distances(pos)
    near, reduced = measured(pos, mask, radial)
    assert torch.equal(near, radial(d, 0))
    assert torch.equal(reduced, r * (mask.unsqueeze(1) / (1 + d)))
    v = 10 * torch.randn(2, 3, 4, 3, dtype=torch.float64)
    assert torch.allclose(normalised(v), v / (1 + v.square().sum((-1, -2), keepdim=True) / 4).sqrt())


def test_atoms_in_one_place_have_finite_derivatives():
    """As those of padding are: the distance of an atom to itself does not move it."""
    pos, mask, radial = pieces()
    here = torch.zeros_like(pos).requires_grad_()
    near, reduced = measured(here, mask, radial)
    (near.sum() + reduced.square().sum()).backward()
    assert torch.equal(here.grad, torch.zeros_like(pos))
