import numpy as np
import pytest
from rdkit import Chem

from molflow.build import UserError
from molflow.chem.embed import embed, embed_all, embed_mol
from molflow.workers import Failure


def positions(embedded):
    return [conformer.GetPositions() for conformer in embedded.mol.GetConformers()]


def test_ethane_by_hand():
    """MMFF94s has r0(C-C) = 1.508 and lengthens it a little in ethane."""
    (pos,) = positions(embed("CC"))
    assert len(pos) == 8
    assert np.linalg.norm(pos[0] - pos[1]) == pytest.approx(1.51, abs=0.02)


def test_the_same_seed_is_the_same_geometry():
    one, again, other = (positions(embed("CC(O)CN", conformers=3, seed=seed)) for seed in (5, 5, 6))
    assert len(one) == 3
    assert np.array_equal(one, again)
    assert not np.allclose(one, other)


def test_stereo_is_as_written():
    for smiles in ("C[C@H](N)C=O", "C[C@@H](N)C=O", "F/C=C/F", "F/C=C\\F"):
        mol = Chem.RemoveHs(embed(smiles).mol)
        Chem.AssignStereochemistryFrom3D(mol)
        assert Chem.MolToSmiles(mol) == Chem.CanonSmiles(smiles)


def test_relaxing_leaves_the_argument_aromatic_and_empty():
    benzene = Chem.AddHs(Chem.MolFromSmiles("c1ccccc1"))
    embedded = embed_mol(benzene)
    assert benzene.GetNumConformers() == 0
    assert sum(bond.GetIsAromatic() for bond in embedded.mol.GetBonds()) == 6
    assert embedded.force_field == "MMFF94s"


def test_elements_beyond_mmff_take_uff_or_stay():
    assert embed("C[Se]C").force_field == "UFF"
    assert embed("[He]").mol.GetNumConformers() == 1


@pytest.mark.parametrize("smiles", ["C.C", "CC(=O)[O-].[Na+]", "c1ccccc1.O", "C[Se]C.C"])
def test_pieces_lie_beside_one_another(smiles):
    for pos in positions(embed(smiles, conformers=3)):
        apart = np.linalg.norm(pos[:, None] - pos, axis=-1) + 9 * np.eye(len(pos))
        assert apart.min() > 0.9  # O-H is the shortest bond


def test_mistakes():
    with pytest.raises(UserError, match="no SMILES"):
        embed("C(")
    with pytest.raises(UserError, match="at least 1"):
        embed("C", conformers=0)


def test_many_at_once_keep_their_order_and_their_failures():
    results = dict(embed_all(["CO", "xx", "C" * 400, "N"], workers=2, timeout=3))
    assert [results[k].mol.GetNumAtoms() for k in (0, 3)] == [6, 4]
    assert isinstance(results[1], Failure)
    assert results[1].kind == "error"
    assert results[2].kind == "timeout"


def test_impossible_molecules_are_told():
    with pytest.raises(UserError, match="no coordinates"):
        embed("C12C3C4C1C5C2C3C45" + "." + "C1#CC1")  # an alkyne in a ring of three
