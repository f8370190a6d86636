"""The edm protocol: the oracle of plain loops, the table's edges, and what it is known to do."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import judge
from rdkit import Chem
from shapes import drawn, embedded, moved, perturbed, relabelled

from molflow.chem.elements import SYMBOL
from molflow.metrics.edm import Edm, EdmGeom
from molflow.metrics.intake import of_mols
from molflow.metrics.shard import protocol


def verdict(mol: Chem.Mol, name: str = "edm"):
    return protocol(name).judge(of_mols([mol]))


def test_the_oracle_of_plain_loops_agrees_on_every_one_of_2000_perturbed_molecules():
    molecules = perturbed(2000)
    ours = Edm().judge(molecules)
    seen = {"stable": 0, "valid": 0, "connected": 0}
    for k in range(len(molecules)):
        atoms = slice(molecules.offsets[k], molecules.offsets[k + 1])
        symbols = [SYMBOL[z] for z in molecules.numbers[atoms].tolist()]
        stable_atoms, stable, valid, connected, smiles = judge(symbols, molecules.pos[atoms])
        assert (int(ours.stable_atoms[k]), bool(ours.stable[k]), bool(ours.valid[k]), bool(ours.connected[k])) == (
            stable_atoms, stable, valid, connected
        ), (k, symbols, ours.reasons[k])  # fmt: skip
        assert ours.smiles[k] == smiles
        seen = {name: seen[name] + flag for name, flag in zip(seen, (stable, valid, connected))}
    assert all(200 < count < 1800 for count in seen.values()), seen  # both answers occur, often


@pytest.mark.parametrize("change", [moved, relabelled])
def test_motion_and_the_order_of_atoms_change_no_verdict(change):
    molecules = perturbed(300, seed=3)
    ours, theirs = Edm().judge(molecules), Edm().judge(change(molecules))
    for name in ("stable_atoms", "stable", "valid", "connected"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert ours.identities == theirs.identities


@pytest.mark.parametrize(
    ("a", "b", "distance", "order"),
    [
        ("C", "H", 1.189, 1), ("C", "H", 1.19, 0),  # 109 + 10 pm, and strictly below it
        ("C", "C", 1.639, 1), ("C", "C", 1.64, 0), ("C", "C", 1.389, 2), ("C", "C", 1.39, 1),
        ("C", "C", 1.229, 3), ("C", "C", 1.23, 2), ("C", "S", 1.64, 2), ("S", "C", 1.64, 2), ("O", "O", 1.0, 2),
        ("Se", "H", 1.0, 0), ("H", "H", 0.83, 1), ("H", "H", 0.84, 0),
    ],
)  # fmt: skip
def test_a_bond_is_where_the_distance_is_strictly_below_the_table(a, b, distance, order):
    from molflow.metrics.edm import edm_bonds

    bonds, _ = edm_bonds(of_mols([drawn([a, b], pos=[[0, 0, 0], [distance, 0, 0]])]))
    assert (bonds[0, 2] if len(bonds) else 0) == order


def test_a_thione_does_not_depend_on_the_order_of_its_atoms():
    thione = embedded("CC(=S)C")
    back = Chem.RenumberAtoms(thione, list(range(thione.GetNumAtoms()))[::-1])
    assert verdict(thione).stable_atoms == verdict(back).stable_atoms


def test_sulphur_is_stable_with_four_alone():
    assert not verdict(embedded("CSC")).stable[0]
    assert verdict(embedded("CSC")).reasons == ["valence"]


def test_hydrogens_are_added_in_silence_and_the_molecule_called_valid():
    methyl = drawn("CHHH", pos=[[0, 0, 0], [1.09, 0, 0], [-0.5, 0.97, 0], [-0.5, -0.97, 0]])
    ours = verdict(methyl)
    assert ours.valid[0] and not ours.stable[0] and ours.reasons == ["valence"]
    assert int(ours.stable_atoms[0]) == 3


def test_the_recorded_smiles_is_the_largest_fragment_with_its_hydrogens():
    methanol, water = embedded("CO"), embedded("O")
    both = Chem.CombineMols(water, methanol)
    for k in range(3):
        p = both.GetConformer().GetAtomPosition(k)
        both.GetConformer().SetAtomPosition(k, (p.x + 20, p.y, p.z))
    ours = verdict(both)
    assert ours.smiles == ["[H]OC([H])([H])[H]"]
    assert ours.valid[0] and not ours.connected[0] and ours.stable[0]


def test_of_two_fragments_as_large_the_first_is_recorded_and_both_are_one_identity():
    apart = [[0, 0, 0], [0.9, 0, 0], [20, 0, 0], [20.9, 0, 0]]
    one, other = drawn(["F", "H", "O", "H"], pos=apart), drawn(["O", "H", "F", "H"], pos=apart)
    first, second = verdict(one), verdict(other)
    assert (first.smiles, second.smiles) == (["[H]F"], ["[H]O"])
    assert first.identities == second.identities


def test_the_geom_rule_reads_every_bond_as_single_where_it_asks_for_validity():
    crowded = drawn("CCHHHH", pos=[[0, 0, 0], [1.2, 0, 0], [0, 1, 0], [0, -1, 0], [1.2, 1, 0], [1.2, -1, 0]])
    molecules = of_mols([crowded])
    strictly, loosely = Edm().judge(molecules), EdmGeom().judge(molecules)
    assert strictly.stable_atoms.tolist() == loosely.stable_atoms.tolist()
    assert (bool(strictly.valid[0]), bool(loosely.valid[0])) == (False, True)  # carbon with 3 + 2 bonds
    assert "single" in EdmGeom.summary
