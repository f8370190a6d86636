"""The loss of distances: what it is of two atoms, what it leaves alone, and that it reaches what training descends."""

from __future__ import annotations

import math

import pytest
import torch

from molflow.batch import Batch
from molflow.chem.vocabulary import Vocabulary
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.experiment import make_objective
from molflow.facts import Facts
from molflow.geometry import random_rotation, rotate
from molflow.objectives.distances import DISTANCES, REACH, distances
from molflow.paths.joint import Joint
from molflow.paths.linear import Linear
from molflow.rng import Rng

PATH = Joint({"pos": Linear()})
FACTS = Facts(Vocabulary(("H", "C", "N+"), (), (0, 1, 2)), Sizes({3: 1, 5: 3}), 1.5, 3)


def of(pos, *, expected, t=0.95):
    """Of one cloud and what is expected of it."""
    x1 = Batch.of_sizes([len(pos)]).replace(pos=torch.as_tensor(pos, dtype=torch.float)[None])
    pred = {"pos": torch.as_tensor(expected, dtype=torch.float)[None]}
    return distances(PATH, pred, x1, x1, torch.tensor([t]))


def cloud(n=6, seed=0):
    return 1.2 * torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("t", "weight"), [(0.95, 100.0), (0.9, 100.0), (0.8, 25 / 4), (0.5, 4 / 25)])
def test_two_atoms_a_tenth_too_far_apart(t, weight):
    """One pair of two atoms: 0.1^2 / 2, by the weight of coordinates at that time and by (0.1 / (1 - t))^2."""
    found = of([[0, 0, 0], [1.5, 0, 0]], expected=[[0, 0, 0], [1.6, 0, 0]], t=t)
    assert found.tolist() == pytest.approx([0.01 / 2 * weight], rel=1e-4)


def test_atoms_that_are_far_from_one_another_cost_nothing():
    far = REACH + 0.01
    assert of([[0, 0, 0], [far, 0, 0]], expected=[[0, 0, 0], [far + 1, 0, 0]]) == 0


def test_a_turned_moved_or_mirrored_molecule_has_the_distances_it_had():
    pos = cloud()
    turned = rotate(pos, random_rotation(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))) + 5.0
    for same in (turned, -pos):
        assert float(of(pos, expected=same)) == pytest.approx(0, abs=1e-8)


def test_a_molecule_costs_the_same_beside_others_and_beside_padding():
    clouds = [cloud(4, 1), cloud(7, 2), cloud(1, 3)]
    x1 = Batch.of_sizes([4, 7, 1])
    pos = torch.zeros_like(x1.pos)
    for b, each in enumerate(clouds):
        pos[b, : len(each)] = each
    x1, t = x1.replace(pos=pos), torch.tensor([0.7, 0.95, 0.99])
    wrong = pos + 0.1 * torch.randn(pos.shape, generator=torch.Generator().manual_seed(4))  # of the padding, too
    together = distances(PATH, {"pos": wrong}, x1, x1, t)
    for b, each in enumerate(clouds):
        alone = of(each, expected=wrong[b, : len(each)], t=float(t[b]))
        torch.testing.assert_close(together[b : b + 1], alone)
    assert together[2] == 0, "an atom alone has no distance"


def test_gradients_are_finite_where_atoms_are_expected_in_one_place():
    """Before anything is known of them, and in the padding."""
    x1 = Batch.of_sizes([3, 2]).replace(pos=torch.stack([cloud(3), cloud(3, 1)]))
    pred = torch.zeros(2, 3, 3, requires_grad=True)
    distances(PATH, {"pos": pred}, x1, x1, torch.tensor([0.0, 0.95])).sum().backward()
    assert pred.grad.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", ["matching", "shortcut", "distill"])
def test_a_weight_adds_it_to_what_training_descends(name, stirred):
    network = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1, "span": True}
    labels = {"atom": torch.zeros(2, 5, dtype=torch.long), "bond": torch.zeros(2, 5, 5, dtype=torch.long)}
    x1 = Batch.of_sizes([5, 4]).replace(pos=torch.stack([cloud(5), cloud(5, 1)]), **labels).tidy()
    totals, found = {}, {}
    for weight in (None, 0.0, 0.5):
        given = {} if weight is None else {DISTANCES: weight}
        config = parse_config({"network": network, "objective": name, "loss": {"weights": given}})
        model, teacher = (stirred(config, FACTS, seed, by=0.1) for seed in (0, 1))
        objective = make_objective(config, model, teacher)
        found = objective(model.network, x1, Rng.of(0, len(x1)))
        assert (DISTANCES in found) == bool(weight)
        totals[weight] = float(objective.total(found))
    assert totals[None] == totals[0.0]
    part = float(found[DISTANCES])
    assert part > 0 and math.isclose(totals[0.5], totals[0.0] + 0.5 * part, rel_tol=1e-5)
