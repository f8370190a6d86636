from __future__ import annotations

import math

import torch

from molflow.batch import Batch
from molflow.networks.egnn import CoordinateUpdate, Egnn, FeatureUpdate
from molflow.networks.layers.edges import Edges


def constant(module, value):
    """Make every linear layer of it give ``value``."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                torch.nn.init.constant_(layer.bias, value)


def test_two_atoms_at_distance_three_push_each_other_apart_by_hand():
    update = CoordinateUpdate(width=4, edge=1, reach=2.0)
    constant(update.phi_x[0], 1.0)  # SiLU(1) = 0.7311 in each of four channels
    torch.nn.init.constant_(update.phi_x[2].weight, 0.25)
    pos = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    moved = update(torch.zeros(2, 4), pos, torch.tensor([[0, 1], [1, 0]]), torch.zeros(2, 1))
    step = 3 / (3 + 1) * 2 * math.tanh(1 / (1 + math.exp(-1)))
    torch.testing.assert_close(moved, torch.tensor([[-step, 0, 0], [3 + step, 0, 0]]))


def test_a_feature_hears_its_neighbours_through_their_gates():
    update = FeatureUpdate(width=1, edge=1)
    constant(update.phi_e, 1.0)  # m = SiLU(1) = 0.7311
    constant(update.phi_a, 0.0)  # the gate is half open
    torch.nn.init.eye_(update.phi_h[0].weight[:, 1:])  # SiLU of the sum of messages
    torch.nn.init.zeros_(update.phi_h[0].weight[:, :1])
    torch.nn.init.zeros_(update.phi_h[0].bias)
    torch.nn.init.ones_(update.phi_h[2].weight)
    torch.nn.init.zeros_(update.phi_h[2].bias)
    edges = Edges(Batch.of_sizes([3]))  # two neighbours: 2 * 0.7311 * 0.5 = 0.7311
    h = update(torch.full((3, 1), 5.0), edges.index, torch.zeros(6, 1))
    m = 1 / (1 + math.exp(-1))
    torch.testing.assert_close(h, torch.full((3, 1), 5 + m / (1 + math.exp(-m))))


def test_the_size_is_that_of_edm():
    parameters = sum(p.numel() for p in Egnn({"atom": (5, 5)}).parameters())
    assert 5.2e6 < parameters < 5.6e6
