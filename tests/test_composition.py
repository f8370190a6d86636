"""Laws of atoms turned towards a formula, and the formulas that a model keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import molflow
from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.formula import parse, spell
from molflow.chem.vocabulary import Vocabulary
from molflow.composition import UNTIL, Composition, grouped
from molflow.data.formulas import MOST, UNKNOWN, Formulas
from molflow.data.store import Store, StoreWriter

VOCABULARY = Vocabulary(("H", "C", "N", "N+"), (), (0, 1))
ELEMENTS, GROUPS = grouped(VOCABULARY)


def laws(atoms=(6, 4), seed=0):
    """Random laws of the kinds, and the mask."""
    mask = Batch.of_sizes(list(atoms)).mask
    p = torch.rand(*mask.shape, 4, generator=torch.Generator().manual_seed(seed)) ** 2 + 1e-3
    return p / p.sum(-1, keepdim=True), mask


def expected(p, mask):
    return ((p @ GROUPS) * mask.unsqueeze(-1)).sum(1)


def test_the_expected_numbers_become_those_of_the_formula():
    p, mask = laws()
    wanted = torch.tensor([[3.0, 2.0, 1.0], [2.0, 1.0, 1.0]])
    turned = Composition(wanted, GROUPS, strength=20.0).turned(p, mask)
    torch.testing.assert_close(expected(turned, mask), wanted, atol=0.05, rtol=0)
    torch.testing.assert_close(turned.sum(-1), torch.ones_like(turned[..., 0]))


def test_what_adds_up_already_is_left_alone():
    p, mask = laws()
    turned = Composition(expected(p, mask), GROUPS, strength=4.0).turned(p, mask)
    torch.testing.assert_close(turned, p, atol=2e-3, rtol=0)


def test_kinds_of_one_element_keep_their_ratio_and_atoms_their_order():
    """One factor an element: N to N+ stays as it was, and the atom that was likelier a carbon still is."""
    p, mask = laws()
    turned = Composition(torch.tensor([[5.0, 1.0, 0.0], [1.0, 3.0, 0.0]]), GROUPS, strength=3.0).turned(p, mask)
    torch.testing.assert_close(turned[..., 2] / turned[..., 3], p[..., 2] / p[..., 3], rtol=1e-3, atol=0)
    for b in range(2):
        odds, before = (law[b, mask[b], 1] / law[b, mask[b], 0] for law in (turned, p))
        assert torch.equal(odds.argsort(), before.argsort())


def test_no_factor_is_beyond_the_strength():
    p, mask = laws()
    turned = Composition(torch.tensor([[6.0, 0.0, 0.0], [4.0, 0.0, 0.0]]), GROUPS, strength=1.0).turned(p, mask)
    factor = turned / p
    spread = (factor.amax(-1) / factor.amin(-1)).log()
    assert 1.0 < float(spread.max()) <= 2.0 + 1e-3


def test_neither_padding_nor_neighbours_count():
    p, mask = laws()
    wanted = torch.tensor([[3.0, 2.0, 1.0], [2.0, 1.0, 1.0]])
    together = Composition(wanted, GROUPS, 4.0).turned(p, mask)
    alone = Composition(wanted[1:], GROUPS, 4.0).turned(p[1:, :4], mask[1:, :4])
    torch.testing.assert_close(alone, together[1:, :4])


def test_without_a_formula_and_after_its_time_nothing_is_turned():
    p, _ = laws()
    x = Batch.of_sizes([6, 4])
    wanted = torch.tensor([[-1.0, -1.0, -1.0], [2.0, 1.0, 1.0]])
    steer = Composition(wanted, GROUPS, 4.0)
    now, later = steer({"atom": p}, x, 0.5)["atom"], steer({"atom": p}, x, UNTIL + 0.01)["atom"]
    torch.testing.assert_close(now[0], p[0])
    assert (now[1] - p[1]).abs().max() > 0.01
    assert torch.equal(later, p)


def test_formulas_of_molecules_are_counted():
    x1 = Batch.of_sizes([3, 2]).replace(atom=torch.tensor([[0, 0, 3], [1, 2, 0]])).tidy()
    assert Composition.of(x1, GROUPS, 4.0).counts.tolist() == [[2, 0, 1], [0, 1, 1]]  # H H N+, and C N


def store(path, molecules):
    with StoreWriter(path, source="a test") as out:
        for numbers in molecules:
            out.add(numbers, np.arange(len(numbers) * 3.0).reshape(-1, 3), [0] * len(numbers), [])
    return Store(path)


def test_a_store_counts_its_formulas(tmp_path):
    kept = Formulas.of_store(store(tmp_path / "a.safetensors", [[8, 1, 1], [1, 8, 1], [6, 1, 1, 1, 1]]), "train")
    assert sum(kept.weights.values()) == len(Store(tmp_path / "a.safetensors").indices("train"))
    assert set(kept.weights) <= {"H2O", "CH4"}


def test_too_many_formulas_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr("molflow.data.formulas.MOST", 1)
    assert MOST > 1000
    assert not Formulas.of_store(store(tmp_path / "a.safetensors", [[8, 1, 1], [6, 1, 1, 1, 1]] * 20)).weights


def test_formulas_are_drawn_by_size_as_often_as_they_occur_whatever_the_shard():
    learnt, ids = Formulas({"H2O": 3, "CHN": 1, "CH4": 5}), np.arange(4000)
    found = learnt.at(7, ids, np.full(4000, 3), [1, 6, 7, 8])
    assert abs((found[:, 3] == 1).mean() - 0.75) < 0.03
    assert set(map(tuple, found.tolist())) == {(2, 0, 0, 1), (1, 1, 1, 0)}
    assert (learnt.at(7, ids[90:95], np.full(5, 3), [1, 6, 7, 8]) == found[90:95]).all()
    assert (learnt.at(7, [0], np.array([9]), [1, 6, 7, 8]) == UNKNOWN).all()


@pytest.mark.parametrize("text", ["", "C2h6", "2C", "C-1", "Xx3", "CH4 "])
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(UserError, match="is no formula"):
        parse(text)


def test_formulas_read_back():
    for text in ("CH4", "C7H10N2O", "H2O", "CClF3", "H3N"):
        assert spell(parse(text)) == text


def test_samples_come_nearer_to_the_formulas_that_were_drawn_for_them():
    model, ids = molflow.load("qm9", "cpu"), np.arange(40)
    wanted = model.formulas.at(3, ids, model.sizes.at(3, ids), [1, 6, 7, 8])

    def astray(composition):
        atoms = model.sample(40, steps=6, seed=3, composition=composition).atom.numpy()
        counts = np.stack([(atoms == number).sum(1) for number in (1, 6, 7, 8)], 1)
        return np.abs(counts - wanted).sum() / 2 / 40  # atoms of a molecule that would have to be others

    assert astray(4.0) < 0.85 * astray(0.0)


def test_a_model_without_formulas_says_so():
    model = molflow.load("small", "cpu")
    model.formulas = Formulas()
    assert len(model.sample(2, steps=2, composition=0)) == 2
    with pytest.raises(UserError, match="this model keeps none"):
        model.sample(2, steps=2, composition=4)


def test_a_formula_that_is_asked_for_needs_no_others():
    model = molflow.load("small", "cpu")
    model.formulas = Formulas()
    made = model.sample(2, steps=2, composition=4, atoms="C2H6O")
    assert made.sizes.tolist() == [9, 9]


@pytest.mark.parametrize("strength", [50.0, 1000.0])
def test_laws_stay_laws_however_hard_they_are_turned(strength):
    """Every atom is sure to be of one element, and the formula has another."""
    p, mask = laws()
    sure = torch.tensor([110.0, 0.0, 0.0, 0.0]).softmax(-1).expand_as(p)
    turned = Composition(torch.tensor([[0.0, 6.0, 0.0], [0.0, 4.0, 0.0]]), GROUPS, strength).turned(sure, mask)
    torch.testing.assert_close(turned.sum(-1)[mask], torch.ones(10))
