"""Every mistake a person can make is answered in words that name what, where and what to do; and nothing is lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import shutil

import pytest
import torch
import yaml

from molflow.checkpoint import save
from molflow.chem.io import open_writer
from molflow.cli import main
from molflow.config import parse_config
from molflow.data.store import Store
from molflow.experiment import Facts, make_model

TINY = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def made(few_molecules, tmp_path_factory):
    """A configuration, a store, a model and a file of molecules: all in order."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(few_molecules, folder / "few.safetensors")
    values = {"data": {"path": "few.safetensors", "pairs": 2000}, "network": TINY}
    values["train"] = {"steps": 2, "samples": 0, "validate": 1, "lr": 1e-3}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values))
    config = parse_config(values)
    facts = Facts.of(Store(few_molecules), config)
    torch.manual_seed(0)
    save(folder / "model", make_model(config, facts).network.state_dict(), config, facts, {})
    with open_writer(folder / "some.sdf") as out:
        out.write(Store(few_molecules).batch(range(5)))
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of it all, and the working folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(capsys, place, *arguments: str) -> str:
    """What the command says when it refuses: on stderr, exit code 2, no traceback, every file as it was."""
    before = contents(place)
    capsys.readouterr()
    assert main(list(arguments)) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert contents(place) == before
    return err


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


# -- mistakes of the one who types


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train nothing.yaml", "cannot read nothing.yaml: No such file"),
        ("train tiny.yaml data.path=nothing.safetensors", "nothing.safetensors: no such file. Make one with"),
        ("train tiny.yaml data.path=tiny.yaml", "tiny.yaml is not a molflow data file"),
        ("train tiny.yaml data.path=model/model.safetensors", "not one of molecules (model weights, perhaps)"),
        ("train some.sdf", "some.sdf"),
        ("train tiny.yaml trian.lr=1", "unknown key of tiny.yaml 'trian' (did you mean 'train'?)"),
        ("train tiny.yaml train.lr=fast", "tiny.yaml: train: lr: expected float, not 'fast'"),
        ("train tiny.yaml path.pos=slerp", "unknown path 'slerp'; choose from jump, linear, one_hot"),
        ("train tiny.yaml network.heads=5", "heads (5) divide width (16)"),
        ("train tiny.yaml train.device=cuda", "no cuda device here"),
        ("train tiny.yaml train.device=tpu", "unknown device 'tpu'"),
        ("train tiny.yaml --resume --out runs/none", "runs/none is no run folder to resume"),
        ("train tiny.yaml --out model", "model exists; give --resume to continue it, --overwrite"),
        ("train tiny.yaml --out model --overwrite", "model is no run folder"),
        ("train tiny.yaml --out few.safetensors --overwrite", "few.safetensors is a file"),
        ("train tiny.yaml --outt x", "--out"),
        ("sample nothing", "unknown model 'nothing'"),
        ("sample few.safetensors", "holds no config.json"),
        ("sample model --n 0", "must be at least 1, not 0"),
        ("sample model --n -5", "must be at least 1, not -5"),
        ("sample model --n many", "--n: expected int, not 'many'"),
        ("sample model --steps 0", "steps must be at least 1, not 0"),
        ("sample model --grid cubic", "unknown time grid 'cubic'"),
        ("sample model --solver rk5", "unknown solver 'rk5'"),
        ("sample model --atoms 0", "'0' holds no possible size"),
        ("sample model --atoms few", "'few' is no size; write 12, 9-29"),
        ("sample model --device cuda", "no cuda device here; use --device cpu"),
        ("sample model --device gpu", "unknown device 'gpu'"),
        ("sample model --workers -1", "workers"),
        ("sample model --out some.sdf", "some.sdf exists; choose another name, or say --overwrite"),
        ("sample model --out some.pdb", "unknown suffix '.pdb'; choose from .sdf"),
        ("sample model --out no/such/m.sdf", "there is no folder"),
        ("score nothing.sdf", "nothing.sdf: no such file"),
        ("score some.sdf --protocol edn", "unknown protocol 'edn' (did you mean 'edm'?)"),
        ("score some.sdf --json few.safetensors", "few.safetensors exists"),
        ("score some.sdf --reference nothing.safetensors", "nothing.safetensors"),
        ("info nothing", "unknown model 'nothing'"),
        ("data info nothing.safetensors", "nothing.safetensors: no such file"),
        ("data import nothing.sdf --out x.safetensors", "nothing.sdf: no such file"),
        ("data import some.sdf --out few.safetensors", "few.safetensors exists"),
        ("data toy circles --out x.safetensors", "unknown toy 'circles'; choose from"),
        ("smaple model", "unknown verb 'smaple' (did you mean 'sample'?)"),
    ],
)
def test_a_mistake_is_answered_in_words(capsys, place, line, words):
    assert words in refused(capsys, place, *line.split())


# -- damaged files


def test_a_store_cut_in_half_or_of_another_version(capsys, place):
    store = place / "few.safetensors"
    whole = store.read_bytes()
    cut(store)
    for line in ("train tiny.yaml", "data info few.safetensors"):
        assert "few.safetensors is cut short" in refused(capsys, place, *line.split())
    store.write_bytes(whole.replace(b'"version":"1"', b'"version":"9"'))
    for line in ("train tiny.yaml", "data info few.safetensors"):
        assert "data format version 9; this molflow reads version 1" in refused(capsys, place, *line.split())


def test_a_model_cut_in_half_or_of_another_version(capsys, place):
    cut(place / "model" / "model.safetensors")
    assert "model.safetensors is damaged or cut short" in refused(capsys, place, "sample", "model")
    cut(place / "model" / "config.json")
    for verb in ("sample", "info"):
        assert "config.json" in refused(capsys, place, verb, "model")
    (place / "model" / "config.json").write_text(json.dumps({"format": "molflow-model", "version": 2}))
    assert "of model format 2, this molflow reads 1" in refused(capsys, place, "sample", "model")


def test_a_truncated_sdf_is_told_by_file_and_record(capsys, place):
    text = (place / "some.sdf").read_text()
    (place / "cut.sdf").write_text(text[: text.rindex("M  END") - 20])
    err = refused(capsys, place, "data", "import", "cut.sdf", "--out", "x.safetensors", "--strict")
    assert "cut.sdf, record 4" in err
    assert "cut short" in err
    assert main(["score", "cut.sdf", "--protocol", "strict", "--json", "report.json"]) == 0
    assert json.loads((place / "report.json").read_text())["protocols"]["strict"]["valid"]["of"] == 5


# -- full disks


@contextlib.contextmanager
def room_for(size: int):
    """Files may grow to ``size`` bytes and no further: the system's own limit, told as EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "line",
    [
        "sample model --n 20 --steps 1 --workers 1 --overwrite --out some.sdf",
        "sample model --n 20 --steps 1 --workers 1 --out new.npz",
        "sample model --n 20 --steps 1 --workers 1 --out new.smi.gz",
        "data import some.sdf --out new.safetensors",
        "data toy moons --n 1000 --out few.safetensors --overwrite",
        "score some.sdf --json new.json",
    ],
)
def test_a_full_disk_loses_nothing(capsys, place, line):
    """The message says so; no part of a file is left, and what was to be replaced is still there."""
    before = contents(place)
    with room_for(200):
        assert main(line.split()) == 2
    err = capsys.readouterr().err
    assert "disk is full" in err
    assert "Traceback" not in err
    after = {name: digest for name, digest in contents(place).items() if ".parts/" not in name}
    assert after == before


def test_a_run_on_a_full_disk_keeps_its_checkpoint_and_goes_on(capsys, place):
    assert main(["train", "tiny.yaml", "--out", "run"]) == 0
    kept = {name: digest for name, digest in contents(place).items() if not name.endswith("metrics.csv")}
    longer = ["train", "tiny.yaml", "--out", "run", "--resume", "train.steps=4"]
    with room_for(5000):
        assert main(longer) == 2
    err = capsys.readouterr().err
    assert "run/model.safetensors: the disk is full" in err or "run/last.ckpt: the disk is full" in err
    after = contents(place)
    changed = {name for name in kept if after[name] != kept[name]}
    assert {name.rsplit("/", 1)[1] for name in changed} <= {"config.yaml"}  # which tells the longer run
    assert main(longer) == 0
    assert torch.load(place / "run" / "last.ckpt", weights_only=True)["steps"] == 4


def test_a_folder_that_may_not_be_written_is_named(capsys, place, monkeypatch):
    """As for anyone but root; so the system's answer is put on."""
    import os

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", denied)
    assert main(["sample", "model", "--n", "3", "--steps", "1", "--workers", "1", "--out", "new.sdf"]) == 2
    err = capsys.readouterr().err
    assert "Permission denied" in err
    assert "job.json" in err or "new.sdf" in err
    assert not (place / "new.sdf").exists()


def test_debug_shows_where_a_mistake_was_found(place):
    from molflow.build import UserError

    with pytest.raises(UserError, match="no such file"):
        main(["--debug", "train", "tiny.yaml", "data.path=nothing.safetensors"])
