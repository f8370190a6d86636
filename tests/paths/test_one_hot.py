from __future__ import annotations

import torch

from molflow.paths.one_hot import OneHot
from molflow.rng import Rng


def test_half_way_from_noise_to_a_corner_by_hand():
    x0, x1 = torch.tensor([[[1.0, -1.0, 3.0]]]), torch.tensor([[1]])
    x = OneHot(3).sample(x0, x1, torch.tensor([0.5]), Rng.of(0, 1))
    assert x.tolist() == [[[0.5, 0.0, 1.5]]]


def test_the_velocity_points_at_the_predicted_distribution():
    pred = torch.tensor([0.5, 0.25, 0.25]).view(1, 1, 3)
    v = OneHot(3).velocity(pred, torch.tensor([[[0.0, 0.0, 1.0]]]), 0.5)
    torch.testing.assert_close(v, torch.tensor([[[1.0, 0.5, -1.5]]]))
