"""Relaxation, RMSD, descriptors and conformers, against RDKit used by hand."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import QED, AllChem, Crippen, rdMolAlign
from shapes import drawn, embedded

from molflow import relax, score
from molflow.metrics.conformers import Conformers
from molflow.metrics.descriptors import Descriptors
from molflow.metrics.distributions import Distributions
from molflow.metrics.forcefield import ForceField
from molflow.metrics.intake import of_mols
from molflow.metrics.measurement import How, Reference
from molflow.metrics.relaxation import topology_changed
from molflow.metrics.rmsd import symmetric_rmsd


def stretched(smiles: str, by: float) -> Chem.Mol:
    mol = embedded(smiles)
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() * by)
    return mol


def test_ethane_with_two_hydrogens_of_a_methyl_exchanged_has_rmsd_0():
    ethane = embedded("CC")
    pos = ethane.GetConformer().GetPositions()
    order = [0, 1, 3, 2, 4, 5, 6, 7]
    assert symmetric_rmsd(ethane, pos, pos[order]) == pytest.approx(0, abs=1e-6)
    labelled = rdMolAlign.AlignMol(_at(ethane, pos), _at(ethane, pos[order]), atomMap=[(k, k) for k in range(8)])
    assert labelled == pytest.approx(0.889, abs=0.02)  # what an evaluator says that takes the labels for granted


def _at(mol: Chem.Mol, pos: np.ndarray) -> Chem.Mol:
    mol = Chem.Mol(mol)
    mol.GetConformer().SetPositions(pos)
    return mol


def test_the_energy_drop_is_that_of_mmff94s():
    mol = stretched("CCO", 1.05)
    ours = ForceField().figures(of_mols([mol]), None, How())
    copy = Chem.Mol(mol)
    field = AllChem.MMFFGetMoleculeForceField(copy, AllChem.MMFFGetMoleculeProperties(copy, "MMFF94s"))
    before = field.CalcEnergy()
    field.Minimize(maxIts=5000)
    assert ours["energy_drop"].mean == pytest.approx(before - field.CalcEnergy(), rel=1e-3)
    assert ours["bond_change"]["count"] == 8 and ours["bond_change"]["mean"] == pytest.approx(0.05 * 1.18, rel=0.1)


def test_a_molecule_without_parameters_is_not_measured_and_never_perfect():
    mols = [embedded("CO"), drawn(["Fe", "H", "H"], [(0, 1, 1), (0, 2, 1)])]
    found = ForceField().figures(of_mols(mols), None, How())
    assert (found["rmsd"].measured, found["rmsd"].of, found["rmsd"].unmeasured) == (1, 2, {"no_parameters": 1})
    assert (found["converged"].count, found["converged"].of) == (1, 2)


def methanes(apart: float) -> Chem.Mol:
    other = embedded("C")
    other.GetConformer().SetPositions(other.GetConformer().GetPositions() + np.array([apart, 0, 0]))
    return Chem.CombineMols(embedded("C"), other)


def test_pieces_feel_one_another():
    near, far = (ForceField().figures(of_mols([methanes(x)]), None, How())["energy_drop"].mean for x in (2.0, 30.0))
    assert near > 10 and far == pytest.approx(0, abs=0.5)  # kcal/mol


def test_one_that_implies_hydrogens_is_not_measured():
    bare = Chem.RemoveHs(embedded("CCO"))
    found = ForceField().figures(of_mols([bare, embedded("CO")]), None, How())
    assert (found["energy_drop"].measured, found["energy_drop"].unmeasured) == (1, {"implicit_hydrogen": 1})
    minima = relax([bare])
    assert (minima.molecules, minima.failed) == ([None], {0: "implicit_hydrogen"})


def test_one_that_takes_too_long_is_not_measured():
    found = ForceField().figures(of_mols([embedded("CO")]), None, How(timeout=1e-6))
    assert found["energy_drop"].unmeasured == {"timeout": 1}


def test_the_callers_molecules_stay_as_they_are():
    mol = embedded("c1ccccc1O")
    before = mol.ToBinary(int(Chem.PropertyPickleOptions.AllProps)), mol.GetConformer().GetPositions().copy()
    score([mol], tier="forcefield", subset=1)
    assert mol.ToBinary(int(Chem.PropertyPickleOptions.AllProps)) == before[0]
    assert np.array_equal(mol.GetConformer().GetPositions(), before[1])
    assert all(bond.GetIsAromatic() for bond in mol.GetBonds() if bond.IsInRing())


def test_topology_changes_where_bonds_break_or_form():
    molecules = of_mols([embedded("CO"), embedded("C12CC1C2"), stretched("CO", 1.4)])
    assert topology_changed(molecules, molecules.pos).tolist() == [False, False, True]
    near = of_mols(
        [drawn("HHHH", [(0, 1, 1), (2, 3, 1)], pos=[[0, 0, 0], [0.74, 0, 0], [0, 0.65, 0], [0.74, 0.65, 0]])]
    )
    assert topology_changed(near, near.pos).tolist() == [True]


def test_descriptors_are_those_of_rdkit():
    smiles = ["CCO", "c1ccccc1", "CC(=O)N"]
    found = Descriptors().figures(of_mols([embedded(text) for text in smiles]), None, How())
    mols = [Chem.MolFromSmiles(text) for text in smiles]
    assert found["qed"].mean == pytest.approx(np.mean([QED.qed(mol) for mol in mols]), abs=1e-6)
    assert found["logp"].mean == pytest.approx(np.mean([Crippen.MolLogP(mol) for mol in mols]), abs=1e-6)
    assert found["ring_sizes"]["6"].value == 1.0 and (found["bonds"]["aromatic"].count, found["rings"].mean) == (
        6,
        1 / 3,
    )


def test_types_that_never_occur_are_listed():
    train, ours = of_mols([embedded("CC=O"), embedded("C")]), of_mols([embedded("CO"), embedded("C")])
    found = Distributions().figures(ours, Reference(train, train), How())
    assert set(found["bond"]["missing"]) == {"C=O", "C-C"} and set(found["bond"]["unseen_in_training"]) == {
        "C-O",
        "H-O",
    }
    assert found["bond"]["coverage"] == pytest.approx(8 / 10)  # 8 of the 10 training bonds are C-H


def test_conformers_of_several_molecules_in_any_order_of_atoms():
    rng = np.random.default_rng(0)

    def shuffled(smiles: str, seed: int) -> Chem.Mol:
        mol = embedded(smiles, seed)
        return Chem.RenumberAtoms(mol, rng.permutation(mol.GetNumAtoms()).tolist())

    theirs = of_mols([embedded("CCCO", 1), embedded("CCCO", 2), embedded("CC=O", 1)])
    ours = of_mols([shuffled("CCCO", 1), shuffled("CCCO", 2), embedded("CN"), None])
    found = Conformers((0.1,)).figures(ours, Reference(theirs), How())
    assert (found["molecules"], found["without_conformers"], found["unmatched"]) == (2, 1, 2)
    assert found["cov@0.1"]["cov_r"].mean == 0.5  # all of propanol's, none of acetaldehyde's
    assert (found["mat_r"].measured, found["mat_r"].of) == (1, 2)
    assert found["mat_r"].mean == pytest.approx(0, abs=1e-4)
    assert (found["cov@0.1"]["precise"].count, found["cov@0.1"]["precise"].of) == (2, 4)


def test_a_broken_geometry_of_the_right_molecule_covers_nothing():
    broken = embedded("CCO")
    pos = broken.GetConformer().GetPositions()
    pos[3] = np.nan
    broken.GetConformer().SetPositions(pos)
    found = Conformers().figures(of_mols([broken, embedded("CCO")]), Reference(of_mols([embedded("CCO")])), How())
    assert (found["unmatched"], found["cov@0.5"]["cov_p"].mean, found["cov@0.5"]["cov_r"].mean) == (0, 0.5, 1.0)


def test_a_molecule_without_coordinates_is_no_conformer_and_covers_nothing():
    flat, whole = Chem.AddHs(Chem.MolFromSmiles("CCO")), embedded("CCO")
    found = Conformers().figures(of_mols([flat, whole]), Reference(of_mols([whole, flat])), How())
    assert (found["reference_conformers"], found["unmatched"]) == (1, 0)
    assert (found["cov@0.5"]["cov_r"].mean, found["cov@0.5"]["cov_p"].mean) == (1.0, 0.5)
    assert Conformers().figures(of_mols([flat]), Reference(of_mols([whole])), How())["cov@0.5"]["cov_r"].mean == 0.0
    missing = Conformers().figures(of_mols([whole]), Reference(of_mols([flat])), How())
    assert missing == {"not_measured": "no reference conformer has coordinates"}


def test_every_conformer_of_a_molecule_counts():
    mol = Chem.AddHs(Chem.MolFromSmiles("CCCO"))
    AllChem.EmbedMultipleConfs(mol, 3, randomSeed=1)
    report = score([mol], conformers=[mol], tier="protocols")
    assert report.n == 3 and report.sections["conformers"]["reference_conformers"] == 3
    assert report.sections["conformers"]["cov@0.5"]["cov_r"].mean == 1.0
