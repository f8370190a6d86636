import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"


@pytest.fixture(scope="session")
def small_sdf(tmp_path_factory):
    """Eight molecules with coordinates."""
    mols = [embedded(smiles) for smiles in ("CO", "CCO", "CC=O", "C1CC1", "CCN", "CC#N", "CCC", "OCCO")]
    return _written(tmp_path_factory.mktemp("view") / "small.sdf", mols)


@pytest.fixture(scope="session")
def hostile_sdf(tmp_path_factory):
    """Molecules whose names, property names, property values and atom labels are markup."""
    mols = [embedded(smiles) for smiles in ("CO", "CCO", "CC=O")]
    for mol in mols:
        mol.SetProp("_Name", HOSTILE)
        mol.SetDoubleProp(f"energy{HOSTILE}", 1.5)
        mol.SetProp(HOSTILE, "2.5")
        mol.SetProp("comment", HOSTILE)
        mol.GetAtomWithIdx(0).SetProp("molFileAlias", HOSTILE)
    mols[2].GetAtomWithIdx(0).SetFormalCharge(3)  # a failure, which is drawn
    folder = tmp_path_factory.mktemp("hostile")
    return _written(folder / "<b onclick='f()'>.sdf", mols)


def embedded(smiles: str):
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    return mol


def _written(path, mols):
    from rdkit import Chem

    with Chem.SDWriter(str(path)) as writer:
        for mol in mols:
            writer.write(mol)
    return path
