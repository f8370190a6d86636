import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from molflow.chem.bonds import EDM_VALENCE, PerceptionError, edm_orders, perceive
from molflow.chem.elements import NUMBER

WATER = ([8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


def order_of(a: str, b: str, distance: float, rule="qm9") -> int:
    pos = torch.tensor([[[0.0, 0, 0], [distance, 0, 0]]], dtype=torch.float64)
    orders = edm_orders(pos, torch.tensor([[NUMBER[a], NUMBER[b]]]), torch.ones(1, 2, dtype=torch.bool), rule)
    assert orders[0, 0, 1] == orders[0, 1, 0]
    return int(orders[0, 0, 1])


@pytest.mark.parametrize(
    ("a", "b", "distance", "order"),
    [
        ("C", "C", 1.6399, 1),  # 154 + 10, strictly below
        ("C", "C", 1.6401, 0),
        ("C", "C", 1.3899, 2),  # 134 + 5
        ("C", "C", 1.3901, 1),
        ("C", "C", 1.2299, 3),  # 120 + 3
        ("C", "C", 1.2301, 2),
        ("C", "S", 1.64, 2),  # listed one way only in EDM's own table
        ("S", "C", 1.64, 2),
        ("H", "H", 0.83, 1),
        ("Hg", "C", 1.0, 0),  # a pair the table lacks
        ("C", "C", float("nan"), 0),
        ("C", "C", float("inf"), 0),
    ],
)
def test_the_table_is_read_with_its_margins(a, b, distance, order):
    assert order_of(a, b, distance) == order
    assert order_of(a, b, distance, "geom") == min(order, 1)


def test_orders_move_with_the_atoms():
    generator = torch.Generator().manual_seed(0)
    pos = torch.randn(20, 9, 3, generator=generator) * 1.5
    atom = torch.tensor([1, 6, 7, 8, 9, 16, 17])[torch.randint(7, (20, 9), generator=generator)]
    mask = torch.ones(20, 9, dtype=torch.bool)
    order = torch.stack([torch.randperm(9, generator=generator) for _ in range(20)])
    rows = torch.arange(20)[:, None]
    there = edm_orders(pos[rows, order], atom[rows, order], mask)
    here = edm_orders(pos, atom, mask)[rows[..., None], order[:, :, None], order[:, None, :]]
    assert here.any()
    assert torch.equal(there, here)


def test_padding_has_no_bonds_whatever_it_holds():
    pos = torch.zeros(3, 5, 3)
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[:, :1] = True
    assert not edm_orders(pos, torch.full((3, 5), 6), mask).any()


def test_valences_are_those_of_edm():
    assert EDM_VALENCE[NUMBER["P"]] == (3, 5)
    assert EDM_VALENCE[NUMBER["S"]] == (4,)  # so that a thioether is unstable: the protocol's own choice
    assert len(EDM_VALENCE) == 16


@given(st.permutations(range(3)), st.floats(-50, 50))
@settings(max_examples=20, deadline=None)
def test_perception_ignores_the_order_of_atoms_and_where_they_are(order, shift):
    mol = perceive([WATER[0][i] for i in order], np.array(WATER[1])[list(order)] + shift)
    assert Chem.MolToSmiles(mol) == "[H]O[H]"


def test_perception_reads_charges():
    ammonium = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * [[1.03 / 3**0.5]]
    mol = perceive([7, 1, 1, 1, 1], ammonium, charge=1)
    assert Chem.GetFormalCharge(mol) == 1
    with pytest.raises(PerceptionError) as caught:
        perceive([7, 1, 1, 1, 1], ammonium, charge=0)
    assert caught.value.reason == "no_bonds"


def test_what_cannot_be_perceived_says_why():
    def reason(*arguments, **keywords):
        with pytest.raises(PerceptionError) as caught:
            perceive(*arguments, **keywords)
        return caught.value.reason

    assert reason([], np.zeros((0, 3))) == "empty"
    assert reason([8, 1, 1], np.full((3, 3), np.nan)) == "non_finite"
    assert reason([200], [[0, 0, 0]]) == "unknown_element"


def test_an_exponential_search_is_cut_off():
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles("O=S(=O)(O)OCC(N=[N+]=[N-])COS(=O)(=O)N=[N+]=[N-]"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    numbers, pos = [a.GetAtomicNum() for a in mol.GetAtoms()], mol.GetConformer().GetPositions()
    with pytest.raises(PerceptionError) as caught:
        perceive(numbers, pos, max_steps=100)
    assert caught.value.reason == "timeout"
