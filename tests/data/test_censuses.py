"""What a model keeps of its training molecules' censuses."""

from __future__ import annotations

import numpy as np

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
