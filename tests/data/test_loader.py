"""The loader: like sizes together, within bounds, in an order that a step number alone decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molflow.build import UserError
from molflow.data.loader import BatchPlan, Loader
from molflow.data.store import Store, StoreWriter

QM9_LIKE = np.random.default_rng(0).normal(18.1, 3, 50_000).round().clip(3, 29).astype(int)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """300 molecules of 1 to 14 atoms; the first coordinate of each atom is its molecule's number."""
    sizes = np.random.default_rng(0).integers(1, 15, 300)
    path = tmp_path_factory.mktemp("loader") / "some.safetensors"
    with StoreWriter(path, source="a test") as out:
        numbers = np.repeat(np.arange(300), sizes)
        positions = np.stack([numbers, numbers, numbers], 1)
        out.add_arrays(positions, sizes, numbers=np.full(len(numbers), 6), split=np.arange(300) % 10 // 8)
    return Store(path)


def members(batch) -> list[int]:
    return batch.pos[:, 0, 0].int().tolist()


def test_five_molecules_by_hand():
    # two of 3 atoms fill 18 of 50 pairs; two of 5 atoms fill 50; joining a 5 to the 3s would pad 100 pairs past 50
    plan = BatchPlan([5, 3, 5, 5, 3], pairs=50, shuffle=False)
    assert [batch.tolist() for batch in plan.epoch(0)] == [[0, 2], [1, 4], [3]]


@pytest.mark.parametrize("pairs", [1, 300, 5_000, 100_000])
def test_every_molecule_comes_once_an_epoch_within_the_bound(pairs):
    sizes = QM9_LIKE[:5_000]
    plan = BatchPlan(sizes, pairs)
    for epoch in (0, 3):
        batches = plan.epoch(epoch)
        assert len(batches) == len(plan)
        assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(5_000))
        assert all(len(b) == 1 or len(b) * sizes[b].max() ** 2 <= pairs for b in batches)
        for batch in batches:
            assert 1 - (sizes[batch] ** 2).sum() / (len(batch) * sizes[batch].max() ** 2) <= 0.1


@pytest.mark.parametrize(("few", "batches"), [(0, 3), (1000, 2), (6000, 1)])
def test_few_pairs_go_together_whatever_their_sizes(few, batches):
    """Five molecules of each size: 45, 405 and 2000 pairs apart; padded, 810 of the two smaller, 6000 of all."""
    plan = BatchPlan([3] * 5 + [9] * 5 + [20] * 5, pairs=10**6, few=few)
    assert len(plan) == batches
    assert sorted(np.concatenate(plan.epoch(0))) == list(range(15))


def test_padding_of_a_qm9_like_set_is_under_a_tenth():
    plan = BatchPlan(QM9_LIKE)
    alike = sum(len(set(QM9_LIKE[batch])) == 1 for batch in plan.epoch(0)) / len(plan)
    print(f"QM9-like sizes: {plan.padding():.2%} of pairs padded, {alike:.1%} of batches of one size")
    assert plan.padding() < 0.01 and alike > 0.97


@pytest.mark.data
def test_padding_of_qm9_is_under_a_tenth(large_data):
    with np.load(large_data / "qm9_hcno_dft.npz") as data:
        plan = BatchPlan(np.diff(data["offsets"])[data["edm_split"] == 0])
    print(f"QM9 without fluorine (H C N O): {plan.padding():.2%} of pairs padded in {len(plan):,} batches")
    assert plan.padding() < 0.1


def test_epochs_and_seeds_differ_and_repeat():
    def first(seed, epoch):
        return np.concatenate(BatchPlan(QM9_LIKE[:500], seed=seed).epoch(epoch)).tolist()

    assert first(0, 1) == first(0, 1)
    assert first(0, 0) != first(0, 1) and first(0, 0) != first(1, 0)


def test_the_order_of_batches_does_not_follow_size():
    batches = BatchPlan(QM9_LIKE).epoch(0)
    mean = np.array([QM9_LIKE[batch].mean() for batch in batches])
    assert abs(np.corrcoef(mean[:-1], mean[1:])[0, 1]) < 0.15


def test_a_run_resumes_at_any_step(store):
    whole = [(step, members(batch)) for step, batch in Loader(store, pairs=400, epochs=3)]
    assert [step for step, _ in whole] == list(range(len(whole)))
    for start in (1, len(whole) // 2, len(whole) - 1):
        assert [(k, members(b)) for k, b in Loader(store, pairs=400, epochs=3, start_step=start)] == whole[start:]
    epoch = len(whole) // 3
    for k in range(3):
        seen = [m for _, batch in whole[k * epoch : (k + 1) * epoch] for m in batch]
        assert sorted(seen) == store.indices("train").tolist()


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_an_epoch_without_overlap(store, world):
    ranks = [Loader(store, pairs=400, epochs=1, rank=rank, world=world) for rank in range(world)]
    seen = [m for loader in ranks for _, batch in loader for m in members(batch)]
    assert sorted(seen) == store.indices("train").tolist()
    steps = [loader.steps() for loader in ranks]
    assert max(steps) - min(steps) <= 1


def test_worker_processes_keep_the_order(store):
    here = list(Loader(store, pairs=400, epochs=2, start_step=3))
    there = list(Loader(store, pairs=400, epochs=2, start_step=3).workers(2))
    assert [step for step, _ in there] == [step for step, _ in here]
    assert all(torch.equal(a.pos, b.pos) and torch.equal(a.mask, b.mask) for (_, a), (_, b) in zip(here, there))


def test_an_endless_loader_goes_past_its_first_epoch(store):
    loader = Loader(store, pairs=400)
    assert loader.steps() is None
    for step, _ in loader:
        if step > 2.5 * len(loader.plan):
            break


def test_validation_comes_in_one_order_every_time(store):
    loader = Loader(store, "val", pairs=400, epochs=1, shuffle=False, fields=("pos",))
    first = [members(batch) for _, batch in loader]
    assert first == [members(batch) for _, batch in loader]
    assert sorted(m for batch in first for m in batch) == store.indices("val").tolist()
    assert next(iter(loader))[1].fields == ("pos",)


def test_nothing_to_load_is_an_error(store):
    with pytest.raises(UserError, match="no molecules in 'test'"):
        Loader(store, "test")
    with pytest.raises(UserError, match="0 pairs"):
        BatchPlan([3], pairs=0)
