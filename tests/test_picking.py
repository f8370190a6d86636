"""pick(): the molecules that meet conditions, as score counts them, and nothing of them changed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem

import molflow
from molflow.build import UserError
from molflow.chem.formula import formula_of, parse
from molflow.chem.rdkit import from_rdkit
from molflow.cli import main
from molflow.picking import KEEP

SMILES = ["CO", "CCO", "CC=O", "COC", "CCO", "[CH3]", "C.C", "CN", "CO", "c1ccccc1"]
KNOWN = ["CC=O", "CN", "CCCC"]


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    return mol


@pytest.fixture(scope="module")
def mols():
    made = [embedded(smiles) for smiles in SMILES]
    made[1].SetProp("_Name", "ethanol")
    made[1].SetProp("origin", "still")
    return [*made[:3], None, *made[3:]]


@pytest.fixture(scope="module")
def known():
    return [embedded(smiles) for smiles in KNOWN]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 10), min_size=1, max_size=20), st.sampled_from(["strict", "edm"]))
def test_what_each_condition_leaves_is_what_score_counts(mols, known, places, protocol):
    chosen = [mols[k] for k in places]
    found = molflow.pick(chosen, ["valid", "unique", "novel"], known, protocol=protocol)
    rates = molflow.score(chosen, known, protocol, "protocols")[protocol]
    assert found.left == {
        "read": rates.valid.of,
        "valid": rates.valid.count,
        "unique": rates.unique.count,
        "novel": rates.novel.count,
    }
    assert len(found) == rates.novel.count


def test_by_hand(mols, known):
    def kept(*conditions, **more):
        return molflow.pick(mols, conditions, **more).indices

    assert kept("valid") == [0, 1, 2, 4, 5, 8, 9, 10]  # a radical and two pieces are none by the protocol strict
    assert kept("valid", "unique") == [0, 1, 2, 4, 8, 10]
    assert kept("valid", "unique", "novel", reference=known) == [0, 1, 4, 10]
    assert kept("valid", "unique", atoms="C2H6O") == [1, 4]
    assert kept("unique", atoms="12,7") == [2, 8, 10]
    assert kept("unique", n=2) == [0, 1]
    assert kept("unique", atoms="1-7") == [0, 2, 8] and kept("unique", atoms="12-12") == [10]
    assert kept() == list(range(len(mols)))


def test_those_that_were_picked_are_picked_again_whatever_the_order_of_conditions(mols):
    first = molflow.pick(mols, KEEP[:-1])
    again = molflow.pick(first.molecules, KEEP[-2::-1])
    assert [Chem.MolToSmiles(mol) for mol in again.molecules] == [Chem.MolToSmiles(mol) for mol in first.molecules]


def test_a_molecule_in_pieces_hides_no_later_one_that_is_whole(mols):
    ethanol = mols[1]
    beside = Chem.CombineMols(ethanol, mols[0])
    water_far = Chem.Mol(beside)
    pos = water_far.GetConformer().GetPositions()
    pos[ethanol.GetNumAtoms() :] += 20
    water_far.GetConformer().SetPositions(pos)
    found = molflow.pick([water_far, ethanol], protocol="edm")  # whose identity is that of the largest piece
    assert found.indices == [1] and found.left == {"read": 2, "valid": 2, "connected": 1, "unique": 1}
    assert molflow.pick([water_far, ethanol], ["valid", "unique"], protocol="edm", atoms="C2H6O").indices == [1]


def test_smiles_go_to_smiles_alone(tmp_path, capsys):
    (tmp_path / "a.smi").write_text("CCO\nC(\nCC\n")
    line = ["pick", str(tmp_path / "a.smi"), "--out"]
    assert main([*line, str(tmp_path / "b.sdf")]) == 2
    assert "SMILES, which have no coordinates" in capsys.readouterr().err
    assert main([*line, str(tmp_path / "b.smi")]) == 0
    assert (tmp_path / "b.smi").read_text() == "CCO\nCC\n"


def test_a_batch_gives_a_batch_and_files_those_of_their_molecules(mols, tmp_path):
    whole = [mol for mol in mols if mol is not None]
    batch = from_rdkit(whole)
    found = molflow.pick(batch, atoms="C2H6O")
    assert found.indices == [1, 3] and isinstance(found.molecules, molflow.Batch)
    assert (found.molecules.pos == batch[[1, 3]].pos).all()
    molflow.write(whole[:4], tmp_path / "a.sdf")
    molflow.write(whole[4:], tmp_path / "b.sdf")
    split = molflow.pick([tmp_path / "a.sdf", tmp_path / "b.sdf"])
    assert split.indices == molflow.pick(whole).indices
    assert split.left == molflow.pick(str(tmp_path / "?.sdf"), workers=2).left


def test_the_command_writes_records_as_they_are_and_a_note_that_score_heeds(mols, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    molflow.write(mols, "all.sdf")
    assert main(["pick", "all.sdf", "--out", "good.sdf"]) == 0
    assert "6 molecules of 11, by protocol strict" in capsys.readouterr().out
    records = (tmp_path / "all.sdf").read_text().split("$$$$\n")
    assert (tmp_path / "good.sdf").read_text().split("$$$$\n") == [records[k] for k in (0, 1, 2, 4, 8, 10)] + [""]
    note = json.loads((tmp_path / "good.sdf.json").read_text())
    assert note["left"] == {"read": 11, "valid": 8, "connected": 8, "unique": 6}
    assert main(["score", "good.sdf"]) == 0
    assert "picked of 11 molecules" in capsys.readouterr().out
    molflow.write(mols, "good.sdf", overwrite=True)  # the note means other bytes now
    assert main(["score", "good.sdf"]) == 0
    assert "picked" not in capsys.readouterr().out


def test_molecules_without_bonds_are_judged_by_coordinates_and_written_with_bonds(mols, tmp_path):
    molflow.write([mols[1], mols[1], mols[2]], tmp_path / "a.xyz")
    assert main(["pick", str(tmp_path / "a.xyz"), "--out", str(tmp_path / "b.sdf"), "--n", "5"]) == 0
    made = molflow.read(tmp_path / "b.sdf")
    assert [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in made] == ["CCO", "CC=O"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--keep", "vald"], "did you mean 'valid'"),
        (["--keep", "novel"], "novel wants a reference"),
        (["--reference", "all.sdf"], "wants novel among what is kept"),
        (["--atoms", "C9X"], "no formula"),
        (["--atoms", "C90H2"], "no molecule is left by protocol strict"),
        (["--protocol", "edn"], "did you mean 'edm'"),
        (["--n", "0"], "at least 1"),
        (["--out", "all.sdf", "--overwrite"], "would replace what is read"),
        (["--out", "x.pdb"], "unknown suffix"),
    ],
)
def test_mistakes_are_explained_and_nothing_is_written(mols, tmp_path, capsys, monkeypatch, more, message):
    monkeypatch.chdir(tmp_path)
    molflow.write(mols, "all.sdf")
    assert main(["pick", "all.sdf", "--out", "x.sdf", *more]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["all.sdf"]


def test_a_protocol_that_does_not_apply_says_why(tmp_path, mols):
    molflow.write([mols[0]], tmp_path / "a.xyz")
    with pytest.raises(UserError, match="strict cannot tell: no bonds"):
        molflow.pick(tmp_path / "a.xyz", protocol="strict")


def test_batches_and_data_files_are_told_how(mols, few_molecules):
    batch = from_rdkit([mol for mol in mols if mol is not None])
    for several in ([batch, batch], molflow.Store(few_molecules)):
        with pytest.raises(UserError, match="pick takes one batch"):
            molflow.pick(several)


def test_a_formula_counts_hydrogens_that_a_smiles_implies():
    assert formula_of(Chem.MolFromSmiles("CCO")) == parse("C2H6O") == formula_of(embedded("CCO"))


def test_molecules_that_fail_for_want_of_bonds_are_told(mols, tmp_path, capsys):
    molflow.write(mols[:2], tmp_path / "a.sdf")
    molflow.write(mols[:2], tmp_path / "a.xyz")
    files = [str(tmp_path / "a.sdf"), str(tmp_path / "a.xyz")]
    line = ["pick", *files, "--keep", "valid", "--out", str(tmp_path / "b.sdf"), "--overwrite"]
    assert main(line) == 0
    assert "2 of 4 have no bonds, which protocol strict asks for" in capsys.readouterr().err
    assert main([*line, "--perceive"]) == 0
    assert "no bonds" not in capsys.readouterr().err
    assert len(molflow.read(tmp_path / "b.sdf")) == 4


def test_what_has_no_bonds_is_no_smiles(tmp_path, capsys):
    methyl = Chem.AddHs(Chem.MolFromSmiles("[CH3]"))
    assert AllChem.EmbedMolecule(methyl, randomSeed=1) == 0
    molflow.write([methyl, embedded("CO")], tmp_path / "a.xyz")
    line = ["pick", str(tmp_path / "a.xyz"), "--keep", "connected", "--out", str(tmp_path / "a.smi")]
    assert main(line) == 0
    assert (tmp_path / "a.smi").read_text().split() == ["?", "CO"]
    assert "of 1 RDKit finds no bonds" in capsys.readouterr().err
