"""The set that comes with the package: what it promises, and that its script makes it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from rdkit import Chem

from molflow.chem.molecule import canonical_smiles
from molflow.chem.rdkit import to_rdkit
from molflow.data.store import Store


@pytest.fixture(scope="module")
def small(root) -> Store:
    return Store(root / "data" / "small.safetensors")


@pytest.fixture(scope="module")
def mols(small) -> list[Chem.Mol]:
    return to_rdkit(small.batch(np.arange(len(small))))


def test_it_is_small_and_whole(small):
    small.verify()
    assert 3000 < len(small) < 4500
    assert small.path.stat().st_size < 2_000_000
    assert small.elements == [1, 6, 7, 8, 9]
    assert small.bond_orders == [1, 2, 3]
    batch = small.batch(np.arange(len(small)))
    assert int((batch.atom > 1).sum(1).max()) == 7


def test_every_molecule_is_a_sound_one(small, mols):
    assert all(mol is not None for mol in mols)
    assert [canonical_smiles(mol) for mol in mols] == small.all_smiles()
    for mol in mols:
        assert len(Chem.GetMolFrags(mol)) == 1
        assert not any(atom.GetNumRadicalElectrons() or atom.GetFormalCharge() for atom in mol.GetAtoms())


def test_its_chemistry_is_varied(mols):
    def share(test) -> float:
        return sum(map(test, mols)) / len(mols)

    assert share(lambda mol: mol.GetRingInfo().NumRings() > 0) > 0.3
    assert share(lambda mol: any(atom.GetIsAromatic() for atom in mol.GetAtoms())) > 0.05
    assert share(lambda mol: any(atom.GetAtomicNum() == 9 for atom in mol.GetAtoms())) > 0.1
    assert share(lambda mol: any(bond.GetBondTypeAsDouble() == 3 for bond in mol.GetBonds())) > 0.1


def test_splits_share_no_molecule(small):
    smiles = small.all_smiles()
    assert len(set(smiles)) == len(smiles)
    shares = np.bincount(small.split) / len(small)
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_its_script_makes_it(small, root, tmp_path):
    """The molecules of up to three heavy atoms again: 38, each with the geometry that ships."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    script = [sys.executable, root / "data" / "make_small.py", "--heavy", "3", "--out", tmp_path / "three.safetensors"]
    subprocess.run(script, check=True, env=environment, stdout=subprocess.DEVNULL)
    again = Store(tmp_path / "three.safetensors")
    place = {text: k for k, text in enumerate(small.all_smiles())}
    assert len(again) > 35
    for k, text in enumerate(again.all_smiles()):
        mine, shipped = again.batch([k]), small.batch([place[text]])
        assert mine.atom.tolist() == shipped.atom.tolist()
        assert (mine.pos - shipped.pos).norm(dim=-1).max() < 1e-2  # another RDKit may relax a little further
