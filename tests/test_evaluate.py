"""score(): from molecules of any kind to a report, whatever the order, the shards and the workers."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from molflow import score
from molflow.build import UserError
from molflow.chem.io import open_writer
from molflow.chem.rdkit import from_rdkit
from molflow.cli import main
from molflow.data.store import StoreWriter
from molflow.metrics.intake import of_mols
from molflow.metrics.rate import Rate

SMILES = ["CO", "CCO", "CC=O", "c1ccccc1", "CC#N", "O=C=O", "C[NH3+]", "CC(=O)[O-]", "CN", "CCO"]


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    AllChem.MMFFOptimizeMolecule(mol)
    return mol


def kekule(mol: Chem.Mol) -> Chem.Mol:
    mol = Chem.Mol(mol)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


@pytest.fixture(scope="module")
def mols() -> list[Chem.Mol]:
    return [embedded(smiles) for smiles in SMILES]


@pytest.fixture(scope="module")
def sdf(mols, tmp_path_factory):
    path = tmp_path_factory.mktemp("score") / "molecules.sdf"
    with open_writer(path) as out:
        out.write(mols)
    return path


def test_every_rate_has_its_count_and_its_denominator(mols):
    report = score([*mols, None])
    strict = report["strict"]
    assert report.n == 11
    assert (strict.valid.count, strict.valid.of) == (10, 11)
    assert (strict.unique.count, strict.unique.of) == (9, 10)
    assert (strict.valid_unique.count, strict.valid_unique.of) == (9, 11)
    assert strict.failures == {"failed": 1}
    assert strict.valid.value == pytest.approx(10 / 11)
    assert strict.valid.ci95 == pytest.approx((0.6226, 0.9838), abs=1e-4)  # Wilson's formula, by hand


def test_a_batch_a_list_and_a_file_are_scored_alike(mols, sdf):
    ours, batch, file = score(mols), score(from_rdkit(mols)), score(sdf)
    for name in ("edm", "strict"):
        assert ours[name].rates == batch[name].rates == file[name].rates


def test_shards_add_up_to_the_whole(mols):
    whole = score(mols)
    parts = score(mols[:3]) + score(mols[3:9]) + score(mols[9:])
    assert parts.to_dict()["protocols"] == whole.to_dict()["protocols"]
    assert parts.to_dict()["failures"] == whole.to_dict()["failures"]


def test_workers_change_nothing(mols, monkeypatch):
    monkeypatch.setattr("molflow.metrics.source.BLOCK", 3)
    assert score(mols, workers=2).to_dict() == score(mols).to_dict()


def test_novelty_is_against_the_training_molecules_alone(mols, tmp_path):
    with StoreWriter(tmp_path / "train.safetensors", source="test") as out:
        for k, mol in enumerate(mols):
            molecules = of_mols([kekule(mol)])
            out.add(molecules.numbers, molecules.pos, molecules.charges, molecules.bonds, split=0 if k < 4 else 2)
    report = score(mols, reference=tmp_path / "train.safetensors")
    novel = report["strict"].novel
    assert (novel.count, novel.of) == (
        5,
        9,
    )  # CCO is seen twice, and trained on; 4 of 9 distinct are in the training set
    assert score(mols)["strict"].novel.note


def test_a_measurement_says_how_many_molecules_had_nothing_to_measure(mols):
    """Of 10 molecules and 2 failed ones, 10 can be described; the other two are named, never dropped."""
    report = score([*mols, None, None])
    assert report.sections["descriptors"]["subset"] == {"molecules": 10, "of": 10, "failed": 2, "seed": 0}
    assert "descriptors, of 10 of 10 molecules; 2 more failed before" in report.table()


def test_distributions_stand_beside_their_floor(mols, tmp_path):
    with_held_out, without = tmp_path / "both.safetensors", tmp_path / "train.safetensors"
    for path, held_out in ((with_held_out, 5), (without, len(mols))):
        with StoreWriter(path, source="test") as out:
            for k, mol in enumerate(mols):
                molecules = of_mols([kekule(mol)])
                out.add(
                    molecules.numbers, molecules.pos, molecules.charges, molecules.bonds, split=0 if k < held_out else 1
                )
    for path in (with_held_out, without):
        found = score(mols[:5], reference=path).sections["distributions"]
        assert found["molecules"] == 5 and found["bond"]["floor"] > 0
        assert found["bond"]["unit"] == "angstrom"
        assert score(mols[:5], reference=[path]).sections["distributions"] == found, "named alone or in a list"
        for parts in ((mols[:2], mols[2:5]), ([], mols[:5]), (mols[:5], [])):
            first, second = (score(part, reference=path) for part in parts)
            assert (first + second).sections["distributions"] == found
    assert "not_applicable" in score(mols).sections["distributions"]


@pytest.mark.parametrize("other", [{"subset": 3}, {"tier": "fast"}])
def test_reports_that_measured_something_else_do_not_add_up(mols, other):
    one = score(mols[:4], tier="forcefield", subset=2)
    with pytest.raises(ValueError, match="tier, subset"):
        one + score(mols[4:8], **{"tier": "forcefield", "subset": 2, **other})


def test_reports_on_different_references_do_not_add_up(mols):
    ours, others = score(mols[:3], reference=mols[3:9]), score(mols[:3], reference=mols[4:9])
    with pytest.raises(ValueError, match="the same"):
        ours + others


def test_why_distributions_were_not_measured_is_told(mols):
    found = score(mols[:3], reference=mols[3:4]).sections["distributions"]
    assert "takes two molecules" in found["not_measured"]
    assert "no molecules" in score([], reference=mols).sections["distributions"]["not_measured"]


def test_a_file_without_a_split_is_all_training(mols, sdf):
    report = score(mols[:5], reference=sdf)
    assert report["strict"].novel.count == 0
    assert report.sections["distributions"]["bond"]["floor"] > 0  # of one half of the file against the other


def test_novelty_is_the_same_from_shards_and_workers(mols, sdf, monkeypatch):
    monkeypatch.setattr("molflow.metrics.source.BLOCK", 4)
    ours = [*mols[:3], *(embedded(smiles) for smiles in ("CCCC", "CCN", "c1ccncc1", "CC#N", "OCC"))]
    whole = score(ours, reference=sdf)
    assert (whole["strict"].novel.count, whole["strict"].novel.of) == (3, 7)
    for other in (
        score(ours, reference=sdf, workers=2),
        score(ours[:4], reference=sdf) + score(ours[4:], reference=sdf),
    ):
        assert {name: found.rates for name, found in other.protocols.items()} == {
            name: found.rates for name, found in whole.protocols.items()
        }


def test_batches_may_come_one_after_another(mols):
    batches = (from_rdkit(mols[low : low + 4]) for low in range(0, len(mols), 4))
    assert score(batches, tier="protocols")["strict"].rates == score(mols, tier="protocols")["strict"].rates


def test_rows_tell_what_the_rates_count(mols):
    report = score([*mols, mols[0], mols[3], None], reference=mols[:3], tier="protocols")
    rows = list(report.rows())
    assert len(list(zip(report.rows(), report.rows()))) == len(rows)  # two readers do not disturb one another
    for name in report:
        mine, rates = [row for row in rows if row["protocol"] == name], report[name].rates
        assert len(mine) == report.n
        for flag in ("valid", "unique"):
            assert sum(row[flag] for row in mine) == rates[flag].count, (name, flag)
        assert sum(bool(row["unique"] and row["novel"]) for row in mine) == rates["novel"].count, name
        alike = {row["identity"] for row in mine if row["valid"]}
        assert len(alike) == rates["unique"].count


def test_the_command_writes_table_json_and_rows(sdf, tmp_path, capsys):
    out, rows = tmp_path / "report.json", tmp_path / "rows.csv"
    command = ["score", str(sdf), "--protocol", "edm,strict", "--json", str(out), "--per-molecule", str(rows)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "10 molecules" in shown and max(map(len, shown.splitlines())) <= 80
    report = json.loads(out.read_text())
    assert report["n"] == 10 and report["seed"] == 0
    assert report["protocols"]["strict"]["valid"] == {
        "count": 10,
        "of": 10,
        "value": 1.0,
        "ci95": [pytest.approx(0.7225, abs=1e-4), 1.0],
    }
    assert report["input"][0]["checksum"].startswith("sha256:") and report["versions"]["rdkit"]
    table = list(csv.DictReader(rows.open()))
    assert len(table) == 20
    assert table[1] | {"file": ""} == {
        "index": "0",
        "file": "",
        "record": "0",
        "protocol": "strict",
        "atoms": "6",
        "stable_atoms": "6",
        "stable": "True",
        "valid": "True",
        "connected": "True",
        "unique": "True",
        "novel": "",
        "reason": "",
        "smiles": "CO",
        "identity": table[1]["identity"],
    }
    assert main(command) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.sdf"], "no such file"),
        (["absent*.sdf"], "no file has such a name"),
        (["{sdf}", "--protocol", "edn"], "did you mean 'edm'"),
        (["{sdf}", "--workers", "-1"], "workers must be at least 0"),
        (["{sdf}", "--json", "absent/report.json"], "there is no folder"),
        (["{sdf}", "--per-molecule", "rows.txt"], "written as .csv or .parquet"),
        (["{sdf}", "--reference", "absent.safetensors"], "no such file"),
    ],
)
def test_mistakes_are_explained(sdf, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["score", *(argument.format(sdf=sdf) for argument in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_protocol_lists_the_choices(mols):
    with pytest.raises(UserError, match="choose from edm, edm_geom"):
        score(mols, protocols=["validity"])


def test_nothing_of_nothing_is_finite():
    report = score([])
    assert report.n == 0
    assert report["edm"].valid == Rate(0, 0)
    json.dumps(report.to_dict(), allow_nan=False)


def test_nothing_can_be_compared_with_a_reference(sdf):
    report = score([], reference=sdf)
    assert (report["strict"].novel.count, report["strict"].novel.of) == (0, 0)


def test_data_files_are_named_by_pattern(few_molecules, tmp_path):
    from shutil import copy

    for name in ("a", "b"):
        copy(few_molecules, tmp_path / f"{name}.safetensors")
    report = score(str(tmp_path / "*.safetensors"), protocols=["strict"], tier="protocols")
    assert report.n == 120
    assert [entry["file"][-13:] for entry in report.inputs] == ["a.safetensors", "b.safetensors"]
    with pytest.raises(UserError, match="no file has such a name"):
        score(str(tmp_path / "c*.safetensors"))


def test_the_time_for_a_molecule_is_also_that_of_its_bonds(sdf, tmp_path, monkeypatch):
    from molflow.metrics import source

    given = []
    monkeypatch.setattr(source, "with_bonds", lambda molecules, charges, *how: given.append(how) or molecules)
    score(sdf, protocols=["strict"], tier="protocols", perceive=True, timeout=7)
    assert given == [(0, 7)]


def test_reports_add_up_in_either_order(mols):
    bare = [Chem.RemoveHs(mol) for mol in mols[:2]]
    one, other = score(mols, reference=mols), score(bare, reference=mols)
    assert (one + other).to_dict()["protocols"] == (other + one).to_dict()["protocols"]


def test_the_reference_is_named_with_its_checksum(mols, sdf):
    (named,) = score(mols, reference=sdf).to_dict()["reference"]
    assert named["file"] == str(sdf) and named["checksum"].startswith("sha256:")
    assert "reference" not in score(mols).to_dict()


def test_a_large_molecule_does_not_make_a_block_of_all(tmp_path):
    from molflow.metrics.source import BLOCK, PAIRS, _spans

    sizes = np.array([20] * 3000 + [900] + [20] * 500)
    spans = list(_spans(sizes))
    assert [low for low, _ in spans] == [0, *(high for _, high in spans[:-1])] and spans[-1][1] == len(sizes)
    assert all(high - low <= BLOCK and (high - low) * sizes[low:high].max() ** 2 <= PAIRS for low, high in spans)
    assert list(_spans(np.array([9000]))) == [(0, 1)]
