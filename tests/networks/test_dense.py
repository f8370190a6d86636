"""The parts of the dense network by hand; what holds of the whole is in tests/contracts/test_networks.py."""

from __future__ import annotations

import pytest
import torch

from molflow.build import UserError
from molflow.networks.dense import Dense, triangles

FIELDS = {"atom": (5, 5), "bond": (4, 4)}


def network(**keywords):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        given = {"width": 16, "pair_width": 8, "vectors": 3, "heads": 2, "layers": 2, "triangles": 4} | keywords
        return Dense(FIELDS, **given)


def test_two_sides_close_a_triangle_by_hand():
    """Three atoms: pair (0, 1) hears a_00 b_01 + a_01 b_11 + a_02 b_21 = 1 * 2 + 3 * 5 + 4 * 7 = 45."""
    a = torch.tensor([[1.0, 3.0, 4.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    b = torch.tensor([[0.0, 2.0, 0.0], [0.0, 5.0, 0.0], [0.0, 7.0, 0.0]])
    sides = torch.stack([a, b]).unsqueeze(1)
    everyone = triangles(sides, torch.ones(1, 3))
    assert everyone[0, 0, 0, 1] == 45
    without_the_last = triangles(sides, torch.tensor([[1.0, 1.0, 0.0]]))
    assert without_the_last[0, 0, 0, 1] == 17, "padding is no third atom"


def test_without_triangles_it_has_the_weights_of_earlier_models():
    plain = network(triangles=0).state_dict()
    assert not any("closed" in name for name in plain)
    assert plain["layers.0.to_pairs.weight"].shape == (8 + 2 + 3 + 3 + 1, 8)


def test_less_than_no_triangles_is_refused():
    with pytest.raises(UserError, match="triangles"):
        network(triangles=-1)
