import math

import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.rdkit import canonical_smiles, from_rdkit, to_rdkit

SMILES = [
    "C",
    "C[C@H](N)C(=O)O",
    "C[C@@H](N)C(=O)O",
    "F/C=C/F",
    "F/C=C\\F",
    "c1ccc2[nH]ccc2c1",
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "[NH3+][C@@H](C)C(=O)[O-]",
    "C[N+](=O)[O-]",
    "C#N",
    "OS(=O)(=O)c1ccsc1",
    "CBr.Cl",
]


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    return mol


def methane(**changes) -> Batch:
    """Methane, its hydrogens at 1.09 angstrom."""
    corners = torch.tensor([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * (1.09 / math.sqrt(3))
    bond = torch.zeros(1, 5, 5, dtype=torch.long)
    bond[0, 0, 1:] = bond[0, 1:, 0] = 1
    fields = {"atom": torch.tensor([[6, 1, 1, 1, 1]]), "charge": torch.zeros(1, 5, dtype=torch.long), "bond": bond}
    return Batch(corners[None], torch.ones(1, 5, dtype=torch.bool), **{**fields, **changes})


@pytest.mark.parametrize("aromatic", [False, True])
def test_molecules_come_back_with_their_smiles_and_stereo(aromatic):
    mols = [embedded(smiles) for smiles in SMILES]
    batch = from_rdkit(mols, aromatic)
    back = to_rdkit(batch)
    for mol, again in zip(mols, back):
        assert Chem.MolToSmiles(Chem.RemoveHs(again)) == Chem.MolToSmiles(Chem.RemoveHs(mol))
    again = from_rdkit(back, aromatic)
    for name in ("mask", "atom", "charge", "pos"):
        assert torch.equal(getattr(again, name), getattr(batch, name)), name


def test_orders_are_kekule_unless_asked():
    benzene = [embedded("c1ccccc1")]
    assert from_rdkit(benzene).bond.unique(return_counts=True)[1].tolist() == [12 * 12 - 24, 18, 6]
    assert from_rdkit(benzene, aromatic=True).bond.eq(4).sum() == 12
    assert benzene[0].GetBondWithIdx(0).GetIsAromatic()  # the argument is left as it was


def test_methane_by_hand():
    (mol,) = to_rdkit(methane(props={"energy": torch.tensor([-40.5])}))
    assert Chem.MolToSmiles(mol) == "[H]C([H])([H])[H]"
    assert mol.GetConformer().GetPositions()[1] == pytest.approx([0.6293] * 3, abs=1e-4)
    assert mol.GetDoubleProp("energy") == pytest.approx(-40.5)
    assert mol.GetAtomWithIdx(0).GetNoImplicit()


def test_nothing_is_mended():
    batch = methane()
    radical = batch.replace(mask=torch.tensor([[True] * 4 + [False]]))
    (mol,) = to_rdkit(radical)
    assert mol.GetNumAtoms() == 4
    assert mol.GetAtomWithIdx(0).GetNumRadicalElectrons() == 1
    assert mol.GetAtomWithIdx(0).GetTotalNumHs() == 0  # none is implied
    crowded = batch.replace(bond=batch.bond * 2)
    assert to_rdkit(crowded) == [None]
    (raw,) = to_rdkit(crowded, sanitize=False)
    assert [int(b.GetBondTypeAsDouble()) for b in raw.GetBonds()] == [2, 2, 2, 2]


def test_a_neutral_nitro_group_is_not_rewritten():
    pos = torch.tensor([[[0.0, 0, 0], [1.2, 0, 0], [-0.6, 1, 0], [-0.6, -1, 0]]])
    bond = torch.zeros(1, 4, 4, dtype=torch.long)
    bond[0, 0, 1] = bond[0, 0, 2] = 2
    bond[0, 0, 3] = 1
    batch = Batch(pos, torch.ones(1, 4, dtype=torch.bool), atom=torch.tensor([[7, 8, 8, 9]]), bond=bond)
    assert to_rdkit(batch) == [None]


def test_one_bad_molecule_leaves_the_others_alone():
    good = methane()
    bad = good.replace(bond=good.bond * 3, pos=good.pos * float("nan"))
    alien = good.replace(atom=good.atom + 200)
    quintuple = good.replace(bond=good.bond * 5)
    mols = to_rdkit(Batch.cat([good, bad, alien, quintuple, good]))
    assert [mol is None for mol in mols] == [False, True, True, True, False]
    raw = to_rdkit(Batch.cat([good, bad, alien, quintuple, good]), sanitize=False)
    assert [mol is None for mol in raw] == [False, False, True, True, False]


def test_padding_may_lie_anywhere_and_hold_anything():
    batch = Batch.cat([methane(), from_rdkit([embedded("CCO")])])
    garbage = batch.replace(
        atom=batch.atom.masked_fill(~batch.mask, 77),
        bond=batch.bond.masked_fill(~batch.pair_mask, 3),
        pos=batch.pos.masked_fill(~batch.mask[..., None], float("nan")),
    )
    order = torch.stack([torch.randperm(9, generator=torch.Generator().manual_seed(k)) for k in range(2)])
    for mol, smiles in zip(to_rdkit(garbage.permute(order)), ("C", "CCO")):
        assert canonical_smiles(mol) == smiles


def test_bonds_are_perceived_where_there_are_none():
    mols = [embedded(s) for s in ("CCO", "c1ccccc1C#N", "[NH4+]")]
    batch = from_rdkit(mols).replace(bond=None)
    assert [canonical_smiles(m) for m in to_rdkit(batch)] == ["CCO", "N#Cc1ccccc1", "[NH4+]"]
    assert to_rdkit(batch.replace(pos=batch.pos * float("nan"))) == [None] * 3


def test_molecules_without_atoms_pass_through():
    empty = from_rdkit([Chem.Mol(), embedded("C")])
    assert [mol.GetNumAtoms() for mol in to_rdkit(empty)] == [0, 5]
    assert len(from_rdkit([])) == 0


def test_mistakes_say_what_to_do():
    with pytest.raises(UserError, match="no elements"):
        to_rdkit(Batch.of_points(torch.zeros(1, 3, 3)))
    with pytest.raises(UserError, match=r"Vocabulary\.decode"):
        to_rdkit(methane(atom=torch.zeros(1, 5, 4)))
    with pytest.raises(UserError, match="molecule 1 has no coordinates"):
        from_rdkit([embedded("C"), Chem.MolFromSmiles("C")])
    with pytest.raises(UserError, match="molecule 0 has hydrogens that are not atoms"):
        from_rdkit([Chem.RemoveHs(embedded("C"))])
    with pytest.raises(UserError, match="molecule 0 is None"):
        from_rdkit([None])


def test_smiles_are_canonical_without_stereo():
    assert canonical_smiles(embedded("N=C/C=C/C")) == "CC=CC=N"
    assert canonical_smiles(embedded("[H][H]")) == "[H][H]"
