"""What a model keeps of its training molecules' censuses."""

from __future__ import annotations

import numpy as np
import pytest

from molflow.chem.census import width
from molflow.chem.vocabulary import Vocabulary
from molflow.data.censuses import Censuses
from molflow.data.store import Store, StoreWriter

TABLE = Censuses({"2 1 2": 30, "1 2 2": 10, "1 4 4": 5}, atoms=2)


def test_they_are_those_of_the_training_molecules(tmp_path):
    """Water twice and cyanide once; the validation molecule is not counted."""
    water = ([8, 1, 1], [0, 0, 0], [[0, 1, 1], [0, 2, 1]])
    cyanide = ([6, 7], [-1, 0], [[0, 1, 3]])
    with StoreWriter(tmp_path / "d.safetensors", source="a test") as out:
        for (numbers, charges, bonds), split in [(water, 0), (cyanide, 0), (water, 0), (cyanide, 1)]:
            out.add(numbers, np.eye(3)[: len(numbers)], charges, bonds, split=split)
    store = Store(tmp_path / "d.safetensors")
    vocabulary = Vocabulary.of(store.kinds(), store.bond_orders)
    assert vocabulary.atoms == ("H", "N", "O", "C-") and vocabulary.bonds == (0, 1, 3)
    table = Censuses.of_store(store, vocabulary)
    labels = {" ".join(text.split()[:6]): weight for text, weight in table.weights.items()}
    assert labels == {"2 0 1 0 2 0": 2, "0 1 0 1 0 1": 1}
    assert {len(text.split()) for text in table.weights} == {width(vocabulary.classes)}
    assert table.atoms == 4


def test_each_has_as_many_atoms_as_its_molecule_and_is_as_common_as_in_the_data():
    n = 4000
    rows = TABLE.at(3, np.arange(n), np.full(n, 3))
    assert (rows[:, :2].sum(1) == 3).all()
    share = (rows[:, 0] == 2).mean()
    assert abs(share - 0.75) < 4 * (0.75 * 0.25 / n) ** 0.5


def test_a_size_that_the_data_lack_is_told_nothing():
    assert TABLE.at(0, [0, 1], [7, 5]).tolist() == [[-1, -1, -1], [1, 4, 4]]


def test_a_molecules_census_depends_on_its_number_alone():
    sizes = np.array([3, 5, 3, 3, 3, 5])
    whole = TABLE.at(1, np.arange(6), sizes)
    for k in range(6):
        assert TABLE.at(1, [k], sizes[k : k + 1]).tolist() == [whole[k].tolist()]
    other = TABLE.at(2, np.arange(600), np.full(600, 3))
    assert (other != TABLE.at(1, np.arange(600), np.full(600, 3))).any()


def spread_out(seed=0, kinds=60):
    """A table of molecules of five to seven atoms of two kinds, and of so many things of a third and a fourth sort."""
    rng = np.random.default_rng(seed)
    sizes, carbons = rng.integers(5, 8, kinds), rng.integers(0, 4, kinds)
    rows = np.stack([sizes - carbons, carbons, rng.poisson(1.5, kinds) + carbons // 2, rng.poisson(0.5, kinds)], 1)
    return Censuses({" ".join(map(str, row)): float(rng.integers(1, 30)) for row in rows.tolist()}, atoms=2)


SIZES = {5: 1.0, 6: 2.0, 7: 1.0}


def drawn(table, n=40_000, seed=0):
    sizes = np.random.default_rng(seed).choice(list(SIZES), n, p=np.array(list(SIZES.values())) / 4)
    return table.at(seed, np.arange(n), sizes)


def test_a_lean_tells_more_of_one_thing_and_leaves_the_sizes():
    table = spread_out()
    plain, more = drawn(table), drawn(table.leaning([0, 0, 0.3, 0]))
    assert more[:, 2].mean() > plain[:, 2].mean() + 0.1
    assert np.array_equal(more[:, :2].sum(1), plain[:, :2].sum(1))
    assert np.array_equal(drawn(table.leaning([0, 0, 0, 0])), plain) and np.array_equal(drawn(table.leaning([])), plain)
    assert table.leaning([0, 0, 0.3, 0]).leaning([]) == table
    for leaning in (table, table.leaning([0.2, 0, 0.3, 0])):
        assert np.allclose(leaning.mean(SIZES), drawn(leaning).mean(0), atol=0.05)


@pytest.mark.parametrize("steep", [600.0, -900.0, 5000.0])
def test_the_steepest_lean_is_a_law_too(steep):
    leaning = TABLE.leaning([steep, 0, 0])
    rows = leaning.at(0, np.arange(50), np.full(50, 3))
    assert (rows[:, 0] == (2 if steep > 0 else 1)).all()
    assert np.isfinite(leaning.mean(SIZES)).all()


def test_a_formulas_censuses_lean_as_all_do():
    table = spread_out().leaning([0, 0, 0.3, 0])
    assert table.having({1: 4, 6: 2}, [1, 6]).lean == table.lean


@pytest.mark.parametrize("lean", [[0.1], [0.1] * 5, [0.1, 0.2, float("nan"), 0.0]], ids=str)
def test_a_lean_has_a_number_for_each_of_a_census(lean):
    with pytest.raises(TypeError, match="lean"):
        spread_out().leaning(lean)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_lost_on_the_way_is_told_more_often(seed):
    """However well a model listens: a tenth of one thing it does not make, and of another it makes some unasked."""
    table = spread_out(seed)

    def heard(told, seed):
        rng = np.random.default_rng(seed)
        found = told.copy()
        found[:, 2] = rng.binomial(told[:, 2], 0.9)
        found[:, 3] += rng.random(len(told)) < 0.1
        return found

    told = drawn(table, seed=seed)
    better = table.corrected(SIZES, told, heard(told, seed))
    goal = table.mean(SIZES)
    before = heard(drawn(table, seed=9), 8).mean(0) - goal
    after = heard(drawn(better, seed=9), 8).mean(0) - goal
    assert (abs(before[2:]) > 0.08).all()
    assert (abs(after[2:]) < 0.4 * abs(before[2:])).all()
    again = better.corrected(SIZES, drawn(better, seed=seed), heard(drawn(better, seed=seed), seed))
    assert np.allclose(again.lean, better.lean, atol=0.05), "it is not piled on what is leaning"
