"""Protocols on explicit bonds: molecules that the tables were corrected for, and those that used to slip through."""

from __future__ import annotations

import pytest
from rdkit import Chem
from shapes import drawn, embedded, kekule

from molflow.metrics.intake import of_mols
from molflow.metrics.shard import protocol

TETRAHEDRON = [[0, 0, 0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.63]]
METHANE = [(0, k, 1) for k in range(1, 5)]


def verdict(name: str, mol: Chem.Mol):
    return protocol(name).judge(of_mols([mol]))


CORRECTED = {
    "benzene": "c1ccccc1",
    "pyrrole": "c1cc[nH]c1",
    "thiophene": "c1ccsc1",
    "furan": "c1ccoc1",
    "caffeine": "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "pyrene": "c1cc2ccc3cccc4ccc(c1)c2c34",
    "nitromethane": "C[N+](=O)[O-]",
    "pyridine N-oxide": "c1cc[n+]([O-])cc1",
    "dimethyl sulfone": "CS(=O)(=O)C",
}


@pytest.mark.parametrize("name", ["revisited", "strict", "jodo"])
@pytest.mark.parametrize("smiles", CORRECTED.values(), ids=CORRECTED)
def test_aromatic_and_kekule_forms_are_both_stable_and_valid(smiles, name):
    mol = embedded(smiles)
    for form in (mol, kekule(mol)):
        ours = verdict(name, form)
        assert (bool(ours.stable[0]), bool(ours.valid[0]), ours.reasons) == (True, True, [""])


H_O_H = drawn("OHH", [(0, 1, 4), (0, 2, 4)])
METHYL = drawn("CHHH", [(0, 1, 1), (0, 2, 1), (0, 3, 1)], pos=TETRAHEDRON[:4])
METHANE_9 = drawn("CHHHH", METHANE, charges=[9, 0, 0, 0, 0], pos=TETRAHEDRON)


@pytest.mark.parametrize("mol", [H_O_H, METHYL, METHANE_9], ids=["H:O:H", "CH3", "CH4 with charge +9"])
def test_what_the_old_table_lets_pass_fails_in_the_new_one(mol):
    assert verdict("legacy", mol).stable[0]
    assert not verdict("revisited", mol).stable[0]
    assert not verdict("strict", mol).valid[0]


@pytest.mark.parametrize("smiles", ["CS(C)=O", "c1cc[se]c1"], ids=["DMSO", "selenophene"])
def test_the_known_limits_of_revisited_stay(smiles):
    ours = verdict("revisited", embedded(smiles))
    assert not ours.stable[0] and ours.valid[0]
    assert ours.reasons[0] in ("valence", "unknown_element")


@pytest.mark.parametrize(
    ("mol", "reason"),
    [
        (METHYL, "radical"),
        (drawn("HHOHH", [(0, 2, 1), (1, 2, 1), (3, 4, 1)]), "not_connected"),
        (drawn("C"), "lone_atom"),
        (drawn(["Na"], charges=[1]), "lone_atom"),
        (drawn("CHHHHH", [*METHANE, (0, 5, 1)]), "sanitisation:valence"),
        (H_O_H, "sanitisation:kekulisation"),
        (METHANE_9, "radical"),
        (drawn("CHHHH", pos=TETRAHEDRON), "no_bonds"),
        (Chem.AddHs(Chem.MolFromSmiles("CC"), onlyOnAtoms=[0]), "implicit_hydrogen"),
    ],
    ids=["radical", "two in one", "lone atom", "lone ion", "five bonds", "H:O:H", "charge +9", "no bond", "implied"],
)
def test_strict_says_why(mol, reason):
    ours = verdict("strict", mol)
    assert not ours.valid[0]
    assert ours.reasons == [reason]


def test_strict_refuses_what_sanitising_has_to_mend():
    nitro = drawn(
        "CNOOHHH",
        [(0, 1, 1), (1, 2, 2), (1, 3, 2), (0, 4, 1), (0, 5, 1), (0, 6, 1)],
        pos=[[0, 0, 0], [1.5, 0, 0], [2.1, 1, 0], [2.1, -1, 0], [-0.4, 1, 0], [-0.4, -0.5, 0.9], [-0.4, -0.5, -0.9]],
    )
    ours = verdict("strict", nitro)
    assert (bool(ours.valid[0]), ours.reasons, int(ours.stable_atoms[0])) == (False, ["bond_orders_changed"], 5)
    assert verdict("legacy", nitro).valid[0]  # where RDKit rewrites it to charges, and nobody asks


def test_strict_counts_the_atoms_that_are_sound():
    assert verdict("strict", METHYL).stable_atoms.tolist() == [3]
    five = drawn("CHHHHH", [*METHANE, (0, 5, 1)])
    assert verdict("strict", five).stable_atoms.tolist() == [5]  # all but the carbon
    assert verdict("strict", H_O_H).stable_atoms.tolist() == [0]
    stray = drawn("CHHHHHH", [*METHANE, (5, 6, 4)], pos=[*TETRAHEDRON, [3, 0, 0], [3.7, 0, 0]])
    assert verdict("strict", stray).stable_atoms.tolist() == [5]  # sanitising refuses it and names no atom


def test_recorded_smiles_have_no_hydrogens_and_no_stereo():
    assert verdict("strict", embedded("C[C@H](N)C(=O)O")).smiles == ["CC(N)C(=O)O"]


def test_an_unlisted_charge_is_neutral_in_the_old_table_and_unstable_in_the_new():
    oxide = drawn("OHH", [(0, 1, 1), (0, 2, 1)], charges=[2, 0, 0])
    assert verdict("legacy", oxide).stable_atoms.tolist() == [3]
    assert verdict("revisited", oxide).stable_atoms.tolist() == [2]


def test_every_entry_of_the_revisited_table_is_there():
    from molflow.metrics.revisited import _table

    assert int(_table().sum()) == 58  # entries of the published table
    assert _table()[7, 4 + 1, 2, 2] and not _table()[7, 4, 2, 2]


def test_jodo_divides_by_all_molecules():
    judge = protocol("jodo")
    waters = drawn("OHHOHH", [(0, 1, 1), (0, 2, 1), (3, 4, 1), (3, 5, 1)])
    molecules = of_mols([embedded("O"), embedded("O"), waters, None])
    rates = judge.rates(judge.measure(molecules))
    assert (rates["valid"].count, rates["complete"].count, rates["complete"].of) == (3, 2, 4)
    assert (rates["unique"].count, rates["unique"].of) == (1, 4)


def test_jodo_counts_a_kekule_structure():
    charged = drawn("CHHH", [(0, 1, 4), (0, 2, 1), (0, 3, 1)])  # an aromatic bond that no Kekule structure has
    assert not verdict("jodo", charged).stable[0]
    assert verdict("legacy", charged).stable[0]  # counted as single: the carbon has three
