from __future__ import annotations

from itertools import permutations

import torch

from molflow.batch import Batch
from molflow.couplings.minibatch_ot import MinibatchOT, best_partners
from molflow.rng import Rng


def test_clouds_of_one_point_on_a_line_are_paired_in_order():
    x0 = Batch.of_points(torch.tensor([[[3.0]], [[1.0]], [[2.0]]]))
    x1 = Batch.of_points(torch.tensor([[[10.0]], [[20.0]], [[30.0]]]))
    y0, _ = MinibatchOT()(x0, x1, Rng.of(0, 3))
    assert y0.pos.flatten().tolist() == [1.0, 2.0, 3.0]


def test_the_pairing_is_the_best_of_all():
    x = Rng.of(0, 6).normal(2, 4, 3)
    x0, x1 = x[:, 0], x[:, 1]
    costs = {p: float((x0[list(p)] - x1).square().sum()) for p in permutations(range(6))}
    assert tuple(best_partners(x0, x1).tolist()) == min(costs, key=costs.__getitem__)


def test_noise_of_one_size_stays_with_molecules_of_that_size():
    x0 = Batch.of_sizes([2, 1, 2]).replace(pos=torch.tensor([[[0.0], [0.0]], [[7.0], [0.0]], [[5.0], [5.0]]]))
    x1 = x0.replace(pos=torch.tensor([[[6.0], [6.0]], [[0.0], [0.0]], [[1.0], [1.0]]]))
    y0, _ = MinibatchOT()(x0, x1, Rng.of(0, 3))
    assert y0.pos.squeeze(-1).tolist() == [[5.0, 5.0], [7.0, 0.0], [0.0, 0.0]]
