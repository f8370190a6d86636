"""The container: indexing, joining, padding, permuting, and the way to other packages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molflow.batch import NODE_FIELDS, PAIR_FIELDS, Batch, mirror

sizes_lists = st.lists(st.integers(0, 6), min_size=1, max_size=5)


def molecules(sizes, dim=3, seed=0) -> Batch:
    """Random labels with all fields, one property, and symmetric bonds."""
    random = torch.Generator().manual_seed(seed)
    empty = Batch.of_sizes(list(sizes), dim)
    B, N = empty.mask.shape
    return empty.replace(
        pos=torch.randn(B, N, dim, generator=random),
        atom=torch.randint(1, 10, (B, N), generator=random),
        charge=torch.randint(-1, 2, (B, N), generator=random),
        bond=torch.randint(0, 5, (B, N, N), generator=random),
        props={"energy": torch.arange(B) * 1.5},
    ).tidy()


def assert_same(a: Batch, b: Batch) -> None:
    assert a.fields == b.fields
    for name in ("mask", *a.fields):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert a.props.keys() == b.props.keys()
    for name in a.props:
        assert torch.equal(a.props[name], b.props[name])


@given(sizes_lists, st.data())
@settings(max_examples=40, deadline=None)
def test_indexing_then_joining_gives_the_batch_back(sizes, data):
    batch = molecules(sizes)
    cut = data.draw(st.integers(0, len(sizes)))
    assert_same(Batch.cat([batch[:cut], batch[cut:]]), batch)
    assert_same(Batch.cat(list(batch)), batch)
    order = data.draw(st.permutations(range(len(sizes))))
    back = np.argsort(order)
    assert_same(batch[order][back.tolist()], batch)


@given(sizes_lists, st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_padding_added_is_padding_cut(sizes, more):
    batch = molecules(sizes)
    wide = batch.pad_to(batch.mask.shape[1] + more)
    assert wide.sizes.tolist() == list(sizes)
    assert_same(wide.pad_to(batch.mask.shape[1]), batch)
    assert_same(wide[:], batch)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_permuting_moves_every_field_and_can_be_undone(sizes, seed):
    batch = molecules(sizes)
    B, N = batch.mask.shape
    random = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(N, generator=random) for _ in range(B)])
    moved = batch.permute(order)
    assert_same(moved.permute(order.argsort(1)), batch)
    for b in range(B):
        for i in range(N):
            assert moved.atom[b, i] == batch.atom[b, order[b, i]]
            for j in range(N):
                assert moved.bond[b, i, j] == batch.bond[b, order[b, i], order[b, j]]


def test_one_molecule_may_be_asked_for_in_any_way():
    batch = molecules([3, 5, 2])
    for index in (1, -2, np.int64(1), torch.tensor(1), [1], np.array([1]), torch.tensor([False, True, False])):
        assert_same(batch[index], batch[1:2])
    assert batch[1].mask.shape == (1, 5)
    assert batch[[0, 2]].mask.shape == (2, 3)  # cut to the largest
    assert len(batch[[]]) == 0
    assert [len(one) for one in batch] == [1, 1, 1]
    with pytest.raises(IndexError):
        batch[3]


def test_indexing_never_cuts_an_atom_that_lies_behind_padding():
    batch = molecules([1, 3])
    moved = batch.permute(torch.tensor([[2, 1, 0], [0, 1, 2]]))
    assert moved[0].sizes.tolist() == [1]
    assert moved[0].mask.tolist() == [[False, False, True]]


def test_sizes_and_masks_by_hand():
    batch = Batch.of_sizes([2, 0, 3])
    assert batch.mask.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    assert batch.sizes.tolist() == [2, 0, 3]
    assert batch.pair_mask.sum((1, 2)).tolist() == [2, 0, 6]
    assert batch.pair_mask[0].tolist() == [[False, True, False], [True, False, False], [False] * 3]
    assert repr(batch) == "Batch(3 of 0-3 points, 3D)"
    assert repr(molecules([4])) == "Batch(1 of 4 atoms, 3D, atom, charge, bond, energy)"
    assert repr(Batch.of_sizes([])) == "Batch(0 of 0 points, 3D)"


def test_tidy_by_hand():
    bond = torch.tensor([[[7, 1, 9], [2, 8, 9], [9, 9, 9]]])
    batch = Batch(torch.full((1, 3, 3), torch.nan), torch.tensor([[True, True, False]]), bond=bond)
    tidy = batch.tidy()
    assert tidy.bond.tolist() == [[[0, 1, 0], [1, 0, 0], [0, 0, 0]]]
    assert tidy.pos[0, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("channels", [(), (4,)])
def test_mirrored_pairs_are_symmetric_and_come_from_above(channels):
    value = torch.randn(2, 5, 5, *channels, generator=torch.Generator().manual_seed(0))
    inside = torch.ones(2, 5, 5, dtype=torch.bool) & ~torch.eye(5, dtype=torch.bool)
    both = mirror(value, inside)
    assert torch.equal(both, both.transpose(1, 2))
    assert torch.equal(both[:, 1, 3], value[:, 1, 3])
    assert not both.diagonal(dim1=1, dim2=2).any()


def test_distributions_over_classes_are_padded_as_labels_are():
    batch = molecules([2, 3])
    soft = batch.replace(atom=torch.rand(2, 3, 7), bond=torch.rand(2, 3, 3, 4)).pad_to(5)
    assert soft.atom.shape == (2, 5, 7)
    assert soft.bond.shape == (2, 5, 5, 4)
    assert not soft.bond[:, 3:].any()
    assert soft[1].bond.shape == (1, 3, 3, 4)


def test_fields_are_chosen_and_converted():
    batch = molecules([2, 3])
    assert batch.only(["atom"]).fields == ("pos", "atom")
    assert batch.only(["atom"]).props
    double = batch.to(dtype=torch.float64)
    assert (double.pos.dtype, double.props["energy"].dtype) == (torch.float64, torch.float64)
    assert (double.atom.dtype, double.mask.dtype) == (torch.int64, torch.bool)
    assert batch.device == torch.device("cpu")
    assert set(NODE_FIELDS + PAIR_FIELDS) == set(batch.fields)


def test_joining_mistakes():
    batch = molecules([2, 3])
    with pytest.raises(ValueError, match="different fields"):
        Batch.cat([batch, batch.only([])])
    with pytest.raises(ValueError, match="at least one"):
        Batch.cat([])
    with pytest.raises(ValueError, match="more than 2 atoms"):
        batch.pad_to(2)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
@settings(max_examples=10, deadline=None)
def test_torch_geometric_and_back(sizes):
    batch = molecules(sizes)
    graphs = batch.to_pyg()
    assert graphs.num_graphs == len(sizes)
    assert graphs.edge_index.shape[1] == int((batch.bond > 0).sum())
    assert_same(Batch.from_pyg(graphs, props=["energy"]), batch)


def test_a_cloud_of_points_goes_to_torch_geometric_too():
    cloud = Batch.of_points(torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0)))
    assert_same(Batch.from_pyg(cloud.to_pyg()), cloud)


def test_padding_in_front_does_not_reach_torch_geometric():
    batch = molecules([1, 3])
    graphs = batch.permute(torch.tensor([[2, 1, 0], [0, 1, 2]])).to_pyg()
    assert graphs.z.tolist() == batch.to_pyg().z.tolist()
