"""The parts that metrics stand on: rates, means, keys, internal coordinates, distances between distributions."""

from __future__ import annotations

import csv
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdMolTransforms
from shapes import SMILES, embedded, library, perturbed, relabelled

from molflow import score
from molflow.build import UserError
from molflow.metrics.conformers import cov, mat
from molflow.metrics.distributions import circular_distance
from molflow.metrics.fcd import without_hydrogens
from molflow.metrics.graph import piece_hashes
from molflow.metrics.intake import of_mols
from molflow.metrics.internal import change, internals, type_name
from molflow.metrics.keys import KeySet, keys_of
from molflow.metrics.mean import Mean
from molflow.metrics.rate import Rate
from molflow.metrics.rows import COLUMNS, Spool
from molflow.metrics.shard import protocol


def test_the_interval_is_wilsons():
    # 8 of 10: (0.8 + 0.19207 -+ 1.96 sqrt(0.016 + 0.0096037)) / 1.384146 = 0.4902, 0.9433
    assert Rate(8, 10).ci95 == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert (Rate(0, 50).ci95[0], Rate(50, 50).ci95[1]) == (0.0, 1.0)
    assert (Rate(0, 0).value, Rate(0, 0).ci95) == (0.0, (0.0, 1.0))


def test_what_was_not_measured_has_no_figure():
    assert Rate(0, 0, note="no reference was given").to_dict()["value"] is None
    empty = Mean.of_values([], 3, {"timeout": 3})
    assert (empty.mean, empty.measured, empty.of, empty.unmeasured) == (None, 0, 3, {"timeout": 3})
    assert Mean.of_values([1.0, float("nan")], 2).unmeasured == {"non_finite": 1}


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=6), st.lists(st.integers(0, 40)))
@settings(max_examples=60, deadline=None)
def test_a_set_of_keys_is_a_set(shards, training):
    ours = KeySet()
    for shard in shards:
        ours = ours | KeySet(keys_of(map(str, shard)))
    seen, known = set(itertools.chain(*shards)), set(training)
    assert len(ours) == len(seen)
    assert ours.count_missing_from(KeySet(keys_of(map(str, training)))) == len(seen - known)


def test_a_million_keys_take_16_bytes_each_and_a_second():
    rng = np.random.default_rng(0)
    ours = KeySet()
    for _ in range(100):
        ours = ours | KeySet(rng.integers(0, 2**63, (10_000, 2)).astype(np.uint64))
    assert len(ours) == 1_000_000
    assert ours.keys().nbytes == 16_000_000


def test_keys_tell_texts_apart_as_16_bytes():
    assert keys_of(["CC", "CO", "CC"]).shape == (3, 2)
    assert np.array_equal(keys_of(["CC"]), keys_of(["CO", "CC"])[1:])


@pytest.mark.parametrize("smiles", SMILES)
def test_internal_coordinates_are_those_of_rdkit(smiles):
    mol = embedded(smiles)
    conformer = mol.GetConformer()
    molecules = of_mols([mol])
    measure = {
        "bond": rdMolTransforms.GetBondLength,
        "angle": rdMolTransforms.GetAngleDeg,
        "torsion": rdMolTransforms.GetDihedralDeg,
    }
    rotatable = mol.GetSubstructMatches(Chem.MolFromSmarts("[!$(*#*)&!D1]~[!$(*#*)&!D1]"))
    for kind, found in internals(molecules.numbers, molecules.bonds).items():
        theirs = [measure[kind](conformer, *atoms) for atoms in found.atoms.tolist()]
        assert np.abs(change(kind, found.values(molecules.pos), np.array(theirs))).max(initial=0) < 1e-6
    assert len(found.atoms) <= sum(
        (mol.GetAtomWithIdx(i).GetDegree() - 1) * (mol.GetAtomWithIdx(j).GetDegree() - 1) for i, j in rotatable
    )


def test_types_read_the_same_from_both_ends():
    found = internals(*_numbers_and_bonds("CC=O"))
    names = {type_name(key) for key in found["angle"].types.tolist()}
    assert names == {"H-C-H", "H-C-C", "H-C=O", "C-C=O"}
    assert {type_name(key) for key in found["torsion"].types.tolist()} == {"H-C-C-H", "H-C-C=O"}


def _numbers_and_bonds(smiles):
    molecules = of_mols([embedded(smiles)])
    return molecules.numbers, molecules.bonds


def test_a_torsion_turns_the_shorter_way():
    assert change("torsion", np.array([179.0, -10.0]), np.array([-179.0, 20.0])).tolist() == [2.0, 30.0]
    assert change("angle", np.array([100.0]), np.array([90.0])).tolist() == [10.0]


@given(st.lists(st.floats(-180, 180), min_size=1, max_size=7), st.lists(st.floats(-180, 180), min_size=1, max_size=7))
@settings(max_examples=60, deadline=None)
def test_the_circular_distance_is_the_smallest_over_all_cuts(a, b):
    from scipy.stats import wasserstein_distance

    a, b = np.array(a), np.array(b)
    cuts = np.unique(np.concatenate([a, b]) % 360)
    cuts = np.concatenate([cuts, cuts + 1e-7])
    on_lines = [wasserstein_distance((a - cut) % 360, (b - cut) % 360) for cut in cuts]
    assert circular_distance(a, b) <= min(on_lines) + 1e-5
    shifted = circular_distance(a + 77, b + 77)
    assert (
        shifted == pytest.approx(circular_distance(a, b), abs=1e-6) == pytest.approx(circular_distance(b, a), abs=1e-6)
    )


def test_the_circular_distance_by_hand():
    assert circular_distance(np.array([170.0, 10.0]), np.array([-170.0, 10.0])) == pytest.approx(10.0)
    assert circular_distance(np.array([0.0]), np.array([180.0])) == pytest.approx(180.0)


def test_coverage_by_hand():
    rmsd = np.array([[0.2, 0.6, np.inf], [0.7, 0.9, np.inf]])  # two of the reference, three of ours, one of them failed
    assert (cov(rmsd, 0.5), cov(rmsd.T, 0.5)) == (0.5, 1 / 3)
    assert (mat(rmsd), mat(rmsd.T)) == (pytest.approx(0.45), pytest.approx(0.4))  # the failed one has no distance
    assert (cov(np.zeros((2, 0)), 0.5), mat(np.zeros((2, 0)))) == (0.0, None)


def test_fcd_sees_no_hydrogens():
    for mol in library():
        bare, full = Chem.MolToSmiles(Chem.RemoveHs(mol)), Chem.MolToSmiles(mol)
        assert "[H]" in full or mol.GetNumHeavyAtoms() == mol.GetNumAtoms()
        assert without_hydrogens(full) == without_hydrogens(bare) == bare


def test_rows_come_back_in_their_order_however_many_are_read_at_once(monkeypatch):
    monkeypatch.setattr("molflow.metrics.rows._AT_ONCE", 100)
    spool, keys = Spool(), [f"{k:032x}" for k in range(40)]
    spool.add("".join(f'{k},a.sdf,{k},strict,5,5,True,True,True,,"C",{key}\n' for k, key in enumerate(keys)))
    assert [row["index"] for row in spool.rows({"strict": "no reference"})] == list(range(40))


def test_rows_are_spooled_and_written_for_the_protocols_asked(tmp_path):
    spool = Spool()
    key = "0" * 32
    spool.add(
        f'0,a.sdf,0,edm,5,5,True,True,True,,"C,C",{key}\n0,a.sdf,0,strict,5,4,False,False,True,radical,,{key}\n'
        f'1,a.sdf,1,edm,5,5,True,True,True,,"C,C",{key}\n'
    )
    spool.write(tmp_path / "rows.csv", {"strict": "no reference"})
    (row,) = csv.DictReader((tmp_path / "rows.csv").open())
    assert list(row) == list(COLUMNS) and (row["protocol"], row["reason"]) == ("strict", "radical")
    with pytest.raises(UserError, match="exists"):
        spool.write(tmp_path / "rows.csv", {"edm": ""})
    spool.write(tmp_path / "rows.csv", {"edm": KeySet(np.zeros((1, 2), np.uint64))}, overwrite=True)
    first, second = csv.DictReader((tmp_path / "rows.csv").open())
    assert (first["smiles"], first["unique"], first["novel"]) == ("C,C", "True", "False")
    assert (second["unique"], second["novel"]) == ("False", "False")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_molecules_of_one_smiles_have_a_piece_in_common():
    molecules = perturbed(400, seed=11)
    for name in ("edm", "legacy"):
        judge = protocol(name)
        verdicts = judge.judge(molecules)
        hashes, whose = piece_hashes(molecules, *judge.bonds(molecules))
        others, theirs = piece_hashes(relabelled(molecules), *judge.bonds(relabelled(molecules)))
        by_smiles: dict[str, set[int]] = {}
        for k in np.flatnonzero(verdicts.valid).tolist():
            own = set(hashes[whose == k].tolist())
            assert own == set(others[theirs == k].tolist())
            assert by_smiles.setdefault(verdicts.identities[k], own) & own, verdicts.identities[k]
        assert len(by_smiles) > 30


def test_molecules_that_differ_have_other_hashes():
    molecules = of_mols(library())
    hashes, _ = piece_hashes(molecules, molecules.bonds, molecules.bond_owner)
    assert len(set(hashes.tolist())) == len(molecules)


def test_conformers_without_hydrogens_are_no_reference():
    mols = [embedded("CCO"), embedded("CC=O")]
    figures = score(mols, conformers=[Chem.RemoveHs(mol) for mol in mols]).to_dict()["conformers"]
    assert "no explicit hydrogens" in figures["not_measured"]
