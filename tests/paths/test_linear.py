from __future__ import annotations

import torch

from molflow.paths.linear import Linear
from molflow.rng import Rng

X0, X1 = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]]), torch.tensor([[[4.0, 8.0]], [[3.0, -1.0]]])


def test_a_quarter_of_the_way_by_hand():
    x = Linear().sample(X0, X1, torch.tensor([0.25, 0.5]), Rng.of(0, 2))
    assert x.tolist() == [[[1.0, 2.0]], [[2.0, 0.0]]]


def test_the_velocity_is_the_difference_of_the_ends():
    path = Linear()
    x = path.sample(X0, X1, 0.25, Rng.of(0, 2))
    torch.testing.assert_close(path.velocity(X1, x, 0.25), X1 - X0)


def test_the_loss_is_the_squared_error_of_the_velocity_up_to_the_cap():
    """Off by 1 and 2: mean square 2.5; weight 4 at t = 1/2; 100 at t = 0.99, where (1 - t)^-2 would be 10,000."""
    path, pred = Linear(), X1 + torch.tensor([1.0, 2.0])
    torch.testing.assert_close(path.loss(pred, X1, X1, torch.tensor([0.5, 0.99])), torch.tensor([[10.0], [250.0]]))
    assert Linear(cap=16).loss(pred, X1, X1, 0.99)[0, 0] == 40
