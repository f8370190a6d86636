from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from molflow.batch import Batch
from molflow.build import UserError
from molflow.couplings.align import Align
from molflow.couplings.coupling import Chain, transport_cost
from molflow.couplings.minibatch_ot import MinibatchOT, aligned_distances, distances
from molflow.couplings.plans import exact, sinkhorn, unbalanced
from molflow.geometry import centre
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
    assert tuple(exact(distances(x0, x1, [torch.arange(6)])[0].numpy())[0].tolist()) == min(
        costs, key=costs.__getitem__
    )


def test_noise_of_one_size_stays_with_molecules_of_that_size():
    x0 = Batch.of_sizes([2, 1, 2]).replace(pos=torch.tensor([[[0.0], [0.0]], [[7.0], [0.0]], [[5.0], [5.0]]]))
    x1 = x0.replace(pos=torch.tensor([[[6.0], [6.0]], [[0.0], [0.0]], [[1.0], [1.0]]]))
    y0, _ = MinibatchOT()(x0, x1, Rng.of(0, 3))
    assert y0.pos.squeeze(-1).tolist() == [[5.0, 5.0], [7.0, 0.0], [0.0, 0.0]]


def clouds(size, count, seed):
    x = Rng.of(seed, count).normal(size, 3)
    x = Batch.of_points(x)
    return x.replace(pos=centre(x.pos, x.mask))


def test_drawn_pairs_follow_the_entropic_plan():
    """Costs 0 and 1, reg = 1 of the mean 1/2: odds of exp(2) to 1, a share of 0.8808 on the diagonal."""
    cost = np.array([[0.0, 1.0], [1.0, 0.0]])
    draws = np.stack([sinkhorn(cost, u, 1.0)[0] for u in np.random.default_rng(0).random((20_000, 2))])
    share = (draws == [0, 1]).mean()
    assert abs(share - 0.8808) < 5 * (0.8808 * 0.1192 / 40_000) ** 0.5


def test_each_noise_is_drawn_once_in_expectation():
    x0, x1 = clouds(3, 8, 0), clouds(3, 8, 1)
    cost = distances(x0.pos, x1.pos, [torch.arange(8)])[0].numpy()
    n = 4000
    draws = np.stack([sinkhorn(cost, u, 0.5)[0] for u in np.random.default_rng(0).random((n, 8))])
    uses = np.bincount(draws.ravel(), minlength=8) / n
    assert np.abs(uses - 1).max() < 5 * (1 / n) ** 0.5 + 1e-3


def test_sinkhorn_comes_near_the_best_pairing_and_stays_below_the_mean():
    x0, x1 = clouds(3, 60, 0), clouds(3, 60, 1)
    best, drawn = (transport_cost(*MinibatchOT(method=m)(x0, x1, Rng.of(0, 60))).sum() for m in ("exact", "sinkhorn"))
    assert best < drawn < 1.25 * best < transport_cost(x0, x1).sum()


def test_an_outlier_keeps_its_own_noise_and_the_rest_is_paired_as_if_it_were_not_there():
    x0 = torch.tensor([3.0, 1.0, 2.0, 0.0])[:, None, None]
    x1 = torch.tensor([0.1, 1.1, 50.0, 3.1])[:, None, None]
    y0, _ = MinibatchOT(method="unbalanced")(Batch.of_points(x0), Batch.of_points(x1), Rng.of(0, 4))
    assert y0.pos.flatten().tolist() == [0.0, 1.0, 2.0, 3.0]
    x1[2] = -50.0  # the exact plan would give it the leftmost
    y0, _ = MinibatchOT(method="unbalanced")(Batch.of_points(x0), Batch.of_points(x1), Rng.of(0, 4))
    assert y0.pos.flatten().tolist() == [0.0, 1.0, 2.0, 3.0]
    y0, _ = MinibatchOT()(Batch.of_points(x0), Batch.of_points(x1), Rng.of(0, 4))
    assert y0.pos.flatten().tolist() == [1.0, 2.0, 0.0, 3.0]


def test_a_lone_pair_keeps_the_share_of_its_mass_that_the_equation_says():
    """exp(-c / (2 penalty)) in units of the median cost: a quarter is left at c = 2.77 of them."""
    for far, kept in ((2.5, True), (3.1, False)):
        cost = np.full((9, 9), 200.0)
        np.fill_diagonal(cost, 0.0)
        cost[4, 4] = far * 200.0
        cost[4, np.arange(9) != 4] = cost[np.arange(9) != 4, 4] = 1e5
        assert unbalanced(cost, 1.0)[1][4] == kept


def test_only_molecules_with_noise_of_their_size_had_a_partner():
    x = Batch.of_sizes([4, 4, 5, 4, 7]).replace(pos=Rng.of(0, 5).normal(7, 3))
    assert MinibatchOT().report(x, x, Rng.of(0, 5))["share with a partner"] == pytest.approx(3 / 5)
    assert MinibatchOT(group=2).report(x, x, Rng.of(0, 5))["share with a partner"] == pytest.approx(2 / 5)


def test_costs_taken_after_alignment_shorten_the_way_that_is_left():
    x0, x1 = clouds(6, 24, 0), clouds(6, 24, 1)
    rng = Rng.of(0, 24)
    left = {
        a: transport_cost(*Chain([MinibatchOT(aligned=a, group=24), Align()])(x0, x1, rng)).mean()
        for a in (False, True)
    }
    alone = transport_cost(*Align()(x0, x1, rng)).mean()
    assert left[True] < 0.75 * alone < left[False] < 1.1 * alone


def test_an_aligned_cost_is_that_of_the_aligned_pair():
    x0, x1 = clouds(6, 3, 0), clouds(6, 3, 1)
    (cost,) = aligned_distances(x0.pos, x1.pos, [torch.arange(3)])
    for i in range(3):
        for j in range(3):
            pair = Align()(x0[i], x1[j], Rng.of(0, 1))
            assert float(cost[i, j]) == pytest.approx(float(transport_cost(*pair)), rel=1e-5)


def two_classes(condition, weight=1.0, count=4000):
    """The mean noise of each class of points, at x = -3 and x = 3 in the plane, in standard errors from the prior's."""
    side = (torch.arange(count) % 2).float()
    random = Rng.of(0, count)
    props = {"side": side}
    x0 = Batch.of_points(random.normal(1, 2)).replace(props=props)
    middle = torch.stack([6 * side - 3, torch.zeros(count)], 1)[:, None]
    x1 = Batch.of_points(middle + 0.1 * random.normal(1, 2)).replace(props=props)
    y0, y1 = MinibatchOT(condition=condition, weight=weight, group=100)(x0, x1, random)
    left, right = (y0.pos[y1.props["side"] == s, 0, 0] for s in (0, 1))
    return [float(part.mean() * len(part) ** 0.5 / part.std()) for part in (left, right)], transport_cost(y0, y1).mean()


def test_a_plan_that_ignores_the_condition_biases_the_noise_and_one_that_knows_it_does_not():
    """Without: half normals of means -0.8 and 0.8, 60 standard errors away. With: the prior's own, as sampled from."""
    (left, right), shortest = two_classes(None)
    assert left < -30
    assert right > 30
    (left, right), longer = two_classes("side", weight=1e4)
    assert abs(left) < 4
    assert abs(right) < 4
    assert longer > shortest
    (between, _), _ = two_classes("side", weight=3.0)
    assert -60 < between < -4, "a weight in between trades one for the other"


def test_a_condition_that_is_not_known_is_refused():
    x = clouds(3, 2, 0)
    for props in ({}, {"gap": torch.tensor([1.0, float("nan")])}):
        with pytest.raises(UserError, match="not every molecule has a value of 'gap'"):
            MinibatchOT(condition="gap")(x.replace(props=props), x.replace(props=props), Rng.of(0, 2))
