from __future__ import annotations

import math

import torch

from molflow.batch import Batch
from molflow.networks.layers.edges import Edges
from molflow.networks.layers.inputs import LabelInputs, time_features
from molflow.networks.layers.radial import Radial


def test_edges_join_every_two_atoms_of_a_molecule_both_ways():
    edges = Edges(Batch.of_sizes([2, 1, 2]))  # atoms 0 1 | 2 | 3 4
    assert sorted(zip(edges.sender.tolist(), edges.receiver.tolist())) == [(0, 1), (1, 0), (3, 4), (4, 3)]


def test_lists_spread_back_to_where_they_came_from():
    x = Batch.of_sizes([2, 3])
    edges = Edges(x)
    nodes, pairs = torch.randn(2, 3, 4), torch.randn(2, 3, 3, 4)
    assert torch.equal(edges.spread_nodes(edges.nodes(nodes)), nodes * x.mask[..., None])
    assert torch.equal(edges.spread_pairs(edges.pairs(pairs)), pairs * x.pair_mask[..., None])


def test_edges_gather_the_entry_of_receiver_and_sender():
    x = Batch.of_sizes([3])
    edges = Edges(x)
    value = torch.arange(9.0).view(1, 3, 3)
    assert torch.equal(edges.pairs(value), 3.0 * edges.receiver + edges.sender)


def test_time_features_are_waves_between_noise_and_data():
    start, half = time_features(torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(start, torch.tensor([0.0, 1.0] + [1.0] * 7 + [0.0] * 7))
    torch.testing.assert_close(half[:4], torch.tensor([0.5, 0.5, 0.0, -1.0]), atol=1e-6, rtol=0)


def test_a_gaussian_is_one_at_its_centre_and_1_over_e_a_width_away():
    radial = Radial(4)  # centres 0.5, 2.2 | 6.1, 10.0
    torch.testing.assert_close(radial.mu, torch.tensor([0.5, 2.2, 6.1, 10.0]))
    values = radial(torch.tensor([0.5, 2.2 + 1.7, 6.1 + 3.9]))
    torch.testing.assert_close(values[0, 0], torch.tensor(1.0))
    torch.testing.assert_close(values[1, 1], torch.tensor(math.exp(-1)))
    torch.testing.assert_close(values[2, 2:], torch.tensor([math.exp(-1), 1.0]))


def test_labels_become_channels_beside_an_absent_hint():
    inputs = LabelInputs({"atom": (3, 2), "bond": (2, 2)}, pairs=False)
    x = Batch.of_sizes([2]).replace(atom=torch.tensor([[2, 0]]))
    assert inputs.width == 5
    assert torch.cat(inputs(x, None), -1).tolist() == [[[0, 0, 1, 0, 0], [1, 0, 0, 0, 0]]]
