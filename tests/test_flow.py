"""A network read through a path."""

from __future__ import annotations

import torch

from molflow.batch import Batch
from molflow.flow import Flow
from molflow.paths.joint import Joint
from molflow.paths.jump import Jump
from molflow.paths.linear import Linear


class Counts:
    """Predicts 1, 2, 3, ... for every coordinate, and remembers what it was given."""

    def __init__(self):
        self.hints, self.times = [], []

    def __call__(self, x, t, *, hint=None):
        self.hints.append(hint)
        self.times.append(t)
        logits = torch.tensor([0.0, 0.0, -1e9]).expand(*x.mask.shape, 3)
        return {"pos": torch.full_like(x.pos, float(len(self.hints))), "atom": logits}


def flow():
    network = Counts()
    return network, Flow(network, Joint({"pos": Linear(), "atom": Jump(3)}))


X = Batch.of_sizes([2, 3]).replace(atom=torch.zeros(2, 3, dtype=torch.long))


def test_the_velocity_leads_to_the_predicted_endpoint():
    """(1 - 0) / (1 - 0.75) = 4; half a chance for each of two classes, at rate 4, makes -2 and 2."""
    _, f = flow()
    v = f.velocity(X, 0.75)
    torch.testing.assert_close(v["pos"], torch.full((2, 3, 3), 4.0))
    torch.testing.assert_close(v["atom"], torch.tensor([-2.0, 2.0, 0.0]).expand(2, 3, 3))


def test_each_prediction_is_the_hint_of_the_next_evaluation():
    network, f = flow()
    for t in (0.0, 0.1, 0.2):
        f.velocity(X, t)
    assert network.hints[0] is None
    assert [float(hint["pos"][0, 0, 0]) for hint in network.hints[1:]] == [1.0, 2.0]
    torch.testing.assert_close(network.hints[1]["atom"][0, 0], torch.tensor([0.5, 0.5, 0.0]))


def test_a_network_that_was_taught_without_hints_is_given_none():
    network, f = flow()
    f.hinted = False
    for t in (0.0, 0.1, 0.2):
        f.velocity(X, t)
    assert network.hints == [None, None, None]


def test_evaluations_are_counted_and_every_molecule_gets_the_time():
    network, f = flow()
    assert f.evaluations == 0
    for t in (0.0, 0.5):
        f.velocity(X, t)
    assert f.evaluations == 2
    assert [t.tolist() for t in network.times] == [[0.0, 0.0], [0.5, 0.5]]


def test_sampling_keeps_no_gradient():
    network, f = flow()
    weight = torch.ones(1, requires_grad=True)
    f.network = lambda x, t, hint=None: {name: value * weight for name, value in network(x, t).items()}
    assert not f.velocity(X, 0.5)["pos"].requires_grad


def test_without_chance_labels_wait():
    _, f = flow()
    moved = f.advance(X, f.velocity(X, 0.0), 0.0, 0.5, None)
    assert torch.equal(moved.atom, X.atom)
    torch.testing.assert_close(moved.pos[1], torch.full((3, 3), 0.5))
    assert not moved.pos[0, 2].any(), "padding stays zero"
