"""What a Batch does for its user: scores, relaxes, and becomes what other packages read."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

import molflow
from molflow import Batch, UserError
from molflow.data.store import Store


@pytest.fixture(scope="module")
def batch(few_molecules) -> Batch:
    return Store(few_molecules).batch(range(6))


@pytest.fixture
def spoilt(batch) -> Batch:
    """The first molecule has lost its bonds' sense: a carbon with a bond to all."""
    bond = batch.bond.clone()
    bond[0] = 2 * batch.pair_mask[0].long()
    return batch.replace(bond=bond)


def test_a_mask_keeps_the_valid_ones(spoilt):
    """The way from a batch to those that RDKit can hold."""
    mols = spoilt.to_rdkit()
    kept = spoilt[[mol is not None for mol in mols]]
    assert mols[0] is None and len(kept) == 5
    assert Batch.cat([kept, kept[:2]]).sizes.tolist() == [*kept.sizes.tolist(), *kept.sizes[:2].tolist()]


def test_its_score_is_that_of_the_package(batch):
    assert batch.score(protocols="strict")["strict"].valid.count == 6
    assert batch.score()["edm"].rates == molflow.score(batch)["edm"].rates


def test_sdf_there_and_back(batch, tmp_path):
    batch.to_sdf(tmp_path / "some.sdf.gz")
    again = Batch.from_rdkit(molflow.read(tmp_path / "some.sdf.gz"))
    assert torch.equal(again.atom, batch.atom) and torch.equal(again.bond, batch.bond)
    assert (again.pos - batch.pos).abs().max() < 1e-4
    with pytest.raises(UserError, match="exists"):
        batch.to_sdf(tmp_path / "some.sdf.gz")
    with pytest.raises(UserError, match=r"some\.xyz: to_sdf writes \.sdf"):
        batch.to_sdf(tmp_path / "some.xyz")


def test_relaxing_lowers_the_energy_and_a_second_time_does_nothing(spoilt):
    before = spoilt.pos.clone()
    found = molflow.relax(spoilt)
    assert list(found.failed) == [0] and math.isnan(found.drop[0])
    assert (found.drop[1:] >= 0).all() and (found.rmsd[1:] < 1).all()
    assert torch.equal(found.molecules.pos[0], spoilt.pos[0]), "what cannot be relaxed keeps its coordinates"
    assert torch.equal(spoilt.pos, before), "nothing given is changed"
    again = molflow.relax(found.molecules)
    assert np.nanmax(again.drop) < 1e-3
    told = spoilt.relax()
    assert torch.equal(told.pos, found.molecules.pos) and np.allclose(told.props["rmsd"][1:], found.rmsd[1:])


def test_mistakes_of_relaxing(batch):
    with pytest.raises(UserError, match=r"unknown method 'MMFF' \(did you mean 'MMFF94s'\?\)"):
        batch.relax("MMFF")
    with pytest.raises(UserError, match="needs bonds"):
        molflow.relax(batch.replace(bond=None))


def test_gfn2_relaxes_where_it_is_installed(batch):
    pytest.importorskip("tblite")
    found = molflow.relax(batch[:1], "GFN2")
    assert found.failed == {} and found.drop[0] > 0


def test_ase_reads_elements_coordinates_and_charge(batch):
    pytest.importorskip("ase")
    (first, *_) = batch.replace(props={"gap": torch.arange(6.0)}).to_ase()
    assert first.get_atomic_numbers().tolist() == batch.atom[0][batch.mask[0]].tolist()
    assert np.allclose(first.get_positions(), batch.pos[0][batch.mask[0]])
    assert first.info == {"gap": 0.0, "charge": 0}


def test_a_missing_package_is_named(batch, monkeypatch):
    monkeypatch.setitem(sys.modules, "ase", None)
    with pytest.raises(UserError, match=r"to_ase needs ASE: pip install 'molflow\[ase\]'"):
        batch.to_ase()
