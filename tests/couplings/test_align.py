from __future__ import annotations

from itertools import permutations

import pytest
import torch

from molflow.batch import Batch
from molflow.couplings.align import Align, best_order
from molflow.couplings.coupling import transport_cost
from molflow.geometry import centre, random_rotation
from molflow.rng import Rng


def cloud(*points):
    return Batch.of_points(torch.tensor([points]))


def aligned(align, x0, x1):
    return align(x0, x1, Rng.of(0, len(x1)))


def test_two_points_that_stand_crosswise_change_places():
    x0, x1 = cloud((-1.0, 0.0), (1.0, 0.0)), cloud((2.0, 0.0), (-2.0, 0.0))
    assert transport_cost(x0, x1).item() == 18
    y0, _ = aligned(Align(rotate=False), x0, x1)
    assert y0.pos.tolist() == [[[1.0, 0.0], [-1.0, 0.0]]]
    assert transport_cost(y0, x1).item() == 2


def test_a_quarter_turn_is_turned_back():
    x0, x1 = cloud((1.0, 0.0), (-1.0, 0.0)), cloud((0.0, 3.0), (0.0, -3.0))
    y0, _ = aligned(Align(permute=False), x0, x1)
    torch.testing.assert_close(y0.pos, torch.tensor([[[0.0, 1.0], [0.0, -1.0]]]))


def test_a_mirror_image_is_not_turned_into_its_original():
    """Chirality is kept: no rotation makes a left hand a right one."""
    x1 = cloud((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 3.0))
    x1 = x1.replace(pos=centre(x1.pos, x1.mask))
    x0 = x1.replace(pos=x1.pos * torch.tensor([-1.0, 1.0, 1.0]))
    y0, _ = aligned(Align(permute=False), x0, x1)
    volume = torch.linalg.det(y0.pos[0, 1:] - y0.pos[0, :1])
    torch.testing.assert_close(volume, torch.tensor(-6.0))


def test_a_turned_molecule_is_turned_back_onto_itself():
    x1 = Batch.of_sizes([7, 12]).replace(pos=Rng.of(0, 2).normal(12, 3))
    x1 = x1.replace(pos=centre(x1.pos, x1.mask))
    turn = random_rotation(Rng.of(1, 2).normal(3, 3))
    y0, _ = aligned(Align(permute=False), x1.replace(pos=x1.pos @ turn), x1)
    torch.testing.assert_close(y0.pos, x1.pos, atol=1e-5, rtol=0)


def test_the_permutation_is_the_best_of_all():
    x = Rng.of(0, 8).normal(2, 6, 3)
    x0, x1, mask = x[:, 0], x[:, 1], torch.arange(6) < torch.tensor([[6], [5], [4], [3], [2], [1], [6], [5]])
    order = best_order(x0, x1, mask)
    for b, n in enumerate(mask.sum(1).tolist()):
        costs = {p: float((x0[b, list(p)] - x1[b, :n]).square().sum()) for p in permutations(range(n))}
        assert tuple(order[b, :n].tolist()) == min(costs, key=costs.__getitem__)
        assert order[b, n:].tolist() == list(range(n, 6))


def test_more_rounds_never_cost_more():
    x = Rng.of(0, 20).normal(2, 9, 3)
    x0, x1 = (Batch.of_points(y - y.mean(1, keepdim=True)) for y in (x[:, 0], x[:, 1]))
    costs = [transport_cost(*aligned(Align(rounds=n), x0, x1)).sum() for n in (1, 2, 4)]
    assert costs[0] > costs[1] >= costs[2]


def test_rounds_end_where_the_cost_stops_falling():
    """Stopped molecule by molecule, it is where forty rounds by hand arrive, and another round changes nothing."""
    x = Rng.of(0, 20).normal(2, 9, 3)
    x0, x1 = (Batch.of_points(y - y.mean(1, keepdim=True)) for y in (x[:, 0], x[:, 1]))
    rest, _ = aligned(Align(rounds=40), x0, x1)
    by_hand = x0
    for _ in range(40):
        by_hand, _ = aligned(Align(), by_hand, x1)
    torch.testing.assert_close(rest.pos, by_hand.pos, atol=1e-4, rtol=0)
    again, _ = aligned(Align(), rest, x1)
    torch.testing.assert_close(again.pos, rest.pos, atol=1e-5, rtol=0)


def test_its_report_says_what_further_rounds_bring():
    x = Rng.of(0, 20).normal(2, 9, 3)
    x0, x1 = (Batch.of_points(y - y.mean(1, keepdim=True)) for y in (x[:, 0], x[:, 1]))
    once, often = (Align(rounds=n).report(x0, x1, Rng.of(0, 20)) for n in (1, 40))
    assert once["cost before"] > once["cost after"] > once["cost at rest"]
    assert once["cost at rest"] == pytest.approx(often["cost after"])


def test_labels_of_the_noise_move_with_their_atoms():
    x0 = cloud((-1.0, 0.0), (1.0, 0.0)).replace(atom=torch.tensor([[5, 6]]))
    y0, _ = aligned(Align(rotate=False), x0, cloud((2.0, 0.0), (-2.0, 0.0)))
    assert y0.atom.tolist() == [[6, 5]]


def test_points_on_a_line_and_a_single_atom_are_no_trouble():
    for points in ([(0.0, 0.0, 0.0)], [(-1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)], [(0.0, 0.0, 0.0)] * 3):
        y0, _ = aligned(Align(), cloud(*points), cloud(*points))
        torch.testing.assert_close(y0.pos, cloud(*points).pos)


def test_a_cloud_whose_first_permutation_changes_nothing_still_comes_to_rest():
    """It has been turned since, and another permutation may suit it better now."""
    x = Rng.of(0, 500).normal(2, 3, 3)
    x0, x1 = (Batch.of_points(y - y.mean(1, keepdim=True)) for y in (x[:, 0], x[:, 1]))
    rest, _ = aligned(Align(rounds=40), x0, x1)
    again, _ = aligned(Align(), rest, x1)
    torch.testing.assert_close(again.pos, rest.pos, atol=1e-4, rtol=0)
