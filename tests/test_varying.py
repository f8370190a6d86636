"""vary(): molecules like given ones."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from rdkit import Chem
from rdkit.Chem.rdDepictor import Compute2DCoords

import molflow
from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import CONFIG, pretrained
from molflow.chem.formula import formula_of
from molflow.cli import main
from molflow.data.store import Store
from molflow.varying import vary

LATE = 0.95


def smiles(batch: Batch) -> list[str | None]:
    return [mol and Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False) for mol in batch.to_rdkit()]


@pytest.fixture(scope="module")
def given(root) -> Batch:
    store = Store(root / "data" / "small.safetensors")
    known = [k for k in store.indices("val") if (store.batch([k]).atom != 9).all()]  # QM9's models know no fluorine
    return store.batch(known[:8])


@pytest.mark.parametrize("model", ["small", "qm9-relay"])
def test_late_they_come_back_and_early_they_do_not(model, given):
    late = vary(model, given, LATE, copies=2, device="cpu")
    assert late.props["parent"].tolist() == [k // 2 for k in range(16)]
    same = [a == b for a, b in zip(smiles(late), [text for text in smiles(given) for _ in range(2)])]
    assert sum(same) >= 12
    early = vary(model, given, 0.0, copies=2, device="cpu")
    assert sum(a == b for a, b in zip(smiles(early), smiles(given))) <= 4
    assert early.sizes.tolist() == late.sizes.tolist() == given.sizes.repeat_interleave(2).tolist()


@pytest.mark.parametrize(("model", "more"), [("qm9-relay", {}), ("qm9", {"steps": 10, "composition": 8})])
def test_a_model_that_is_told_and_one_that_is_pulled_keep_formulas(model, more, given):
    wanted = [formula_of(mol) for mol in Batch.to_rdkit(given) for _ in range(2)]

    def kept(**how) -> int:
        made = vary(model, given, 0.3, copies=2, device="cpu", **how)
        return sum(formula_of(mol) == formula for mol, formula in zip(made.to_rdkit(), wanted))

    assert kept(**more) >= 6
    assert not more or kept(**more) > kept(**{**more, "composition": 0})


def test_variants_of_a_models_own_samples_do_not_start_from_their_noise():
    """With the seed that both take when nothing is said."""
    parents = molflow.load("qm9-fast", device="cpu").sample(12, seed=0, steps=6)
    made = vary("qm9-fast", parents, 0.05, steps=6, device="cpu")
    assert sum(a == b for a, b in zip(smiles(made), smiles(parents))) <= 2


@pytest.mark.parametrize("coupling", [["minibatch_ot", "align"], ["reflow"]], ids=["minibatch_ot", "reflow"])
def test_a_variant_has_nothing_to_do_with_other_molecules(given, coupling, tmp_path):
    shutil.copytree(pretrained()["small"], tmp_path / "other")
    card = json.loads((tmp_path / "other" / CONFIG).read_text())
    card["config"]["coupling"] = coupling
    (tmp_path / "other" / CONFIG).write_text(json.dumps(card))
    among, alone = (vary(tmp_path / "other", batch, 0.3, steps=4, device="cpu") for batch in (given, given[:1]))
    assert torch.equal(among[0].bond, alone[0].bond)
    assert torch.allclose(among[0].pos, alone[0].pos, atol=1e-3)


def test_a_variant_depends_on_its_molecule_its_number_and_the_seed_alone(given):
    whole = vary("small", given, 0.5, copies=3, steps=6, device="cpu")
    again = vary("small", given, 0.5, copies=2, steps=6, device="cpu")
    others = vary("small", given, 0.5, copies=3, steps=6, seed=1, device="cpu")
    for k in range(len(given)):
        assert torch.equal(whole[3 * k].bond, again[2 * k].bond)
        assert torch.allclose(whole[3 * k + 1].pos, again[2 * k + 1].pos, atol=1e-3)
        assert not torch.allclose(whole[3 * k].pos, whole[3 * k + 1].pos, atol=1e-3)
        assert not torch.allclose(whole[3 * k].pos, others[3 * k].pos, atol=1e-3)


def test_where_a_molecule_lies_and_how_it_is_turned_changes_nothing_but_that(given):
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    turn = turn * torch.linalg.det(turn).sign()
    moved = given.replace(pos=(given.pos @ turn + 5).masked_fill(~given.mask.unsqueeze(-1), 0))
    there, here = (vary("small", batch, LATE, device="cpu") for batch in (moved, given))
    assert smiles(there) == smiles(here)


def test_the_command_writes_variants_with_their_parents(given, tmp_path, capsys):
    molflow.write([given.to_rdkit()[0], None, given.to_rdkit()[1]], tmp_path / "mine.sdf")
    line = ["vary", "small", str(tmp_path / "mine.sdf"), "--t", "0.6", "--copies", "2", "--steps", "5"]
    assert main([*line, "--out", str(tmp_path / "made.sdf")]) == 0
    told = capsys.readouterr()
    assert "4 molecules, 2 of each of 2" in told.out and "1 of 3 molecules" in told.err
    made = molflow.read(tmp_path / "made.sdf", sanitize=False)
    assert [mol.GetDoubleProp("parent") for mol in made] == [0, 0, 2, 2]
    assert main([*line, "--out", str(tmp_path / "made.sdf")]) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [({"t": 1.0}, "t is a time from 0"), ({"t": -0.1}, "t is a time"), ({"copies": 0}, "copies must be at least 1")],
)
def test_mistakes_are_explained(given, more, message):
    with pytest.raises(UserError, match=message):
        vary("small", given, **more)


def test_a_model_of_aromatic_bonds_is_given_such(tmp_path, capsys):
    """Its data have them, and a molecule of its own is no foreign one."""
    (tmp_path / "rings.smi").write_text("c1ccccc1\nc1ccncc1\nc1cncnc1\nc1ccoc1\n")
    data, run = str(tmp_path / "rings.safetensors"), str(tmp_path / "run")
    line = ["data", "import", str(tmp_path / "rings.smi"), "--aromatic", "--fractions", "1,0,0"]
    assert main([*line, "--out", data, "--workers", "0"]) == 0
    tiny = ["network.width=16", "network.pair_width=8", "network.layers=1", "network.heads=2", "network.vectors=2"]
    assert main(["train", "configs/small.yaml", f"data.path={data}", "train.steps=1", *tiny, "--out", run]) == 0
    molflow.write(Store(data).batch([0]), tmp_path / "ring.sdf")
    made = str(tmp_path / "made.sdf")
    assert main(["vary", run, str(tmp_path / "ring.sdf"), "--t", "0.9", "--steps", "2", "--out", made]) == 0
    assert len(molflow.read(made, sanitize=False)) == 1


def test_elements_that_the_model_does_not_know_are_named(root):
    store = Store(root / "data" / "small.safetensors")
    k = next(k for k in store.indices("train") if (store.batch([k]).atom == 9).any())
    with pytest.raises(UserError, match="F"):
        vary("qm9", store.batch([k]), device="cpu")


def test_what_cannot_be_varied_is_refused(tmp_path, capsys):
    ethanol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    Compute2DCoords(ethanol)
    molflow.write([ethanol], tmp_path / "flat.sdf")
    assert main(["vary", "small", str(tmp_path / "flat.sdf"), "--out", str(tmp_path / "out.sdf")]) == 2
    assert "drawing in two dimensions" in capsys.readouterr().err
    assert not (tmp_path / "out.sdf").exists()
    with pytest.raises(UserError, match=r"Batch\.from_rdkit"):
        vary("small", [ethanol])  # type: ignore[arg-type]
