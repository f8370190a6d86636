"""Every mistake a person can make is answered in words that name what, where and what to do; and nothing is lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import shlex
import shutil

import numpy as np
import pytest
import torch
import yaml

from molflow.checkpoint import save
from molflow.chem.io import open_writer
from molflow.cli import main
from molflow.config import parse_config
from molflow.data.store import Store
from molflow.experiment import make_model
from molflow.facts import Facts

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
    np.save(folder / "some.npy", np.zeros((11, 2)))
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
        ("train nothing.yaml", "cannot read nothing.yaml: no such file"),
        ("train tiny.yaml data.path=nothing.safetensors", "nothing.safetensors: no such file. Make one with"),
        ("train tiny.yaml data.path=tiny.yaml", "tiny.yaml is not a molflow data file"),
        ("train tiny.yaml data.path=model/model.safetensors", "not one of molecules (model weights, perhaps)"),
        ("train some.sdf", "some.sdf"),
        ("train tiny.yaml trian.lr=1", "unknown key of tiny.yaml 'trian' (did you mean 'train'?)"),
        ("train tiny.yaml train.lr=fast", "tiny.yaml: train: lr: expected float, not 'fast'"),
        (
            "train tiny.yaml path.pos=slerp",
            "unknown path 'slerp'; choose from custom, interpolant, jump, linear, one_hot",
        ),
        ("train tiny.yaml network.heads=5", "heads (5) must divide width (16)"),
        ("train tiny.yaml train.device=cuda", "no cuda device here"),
        ("train tiny.yaml train.device=tpu", "unknown device 'tpu'"),
        ("train tiny.yaml prior.pos.scale=.nan", "expected float"),
        ("train tiny.yaml train.steps=5 train.epochs=3", "a run has one length"),
        ("train tiny.yaml train.compile=graphs train.device=cpu", "graphs is for a CUDA device, and this is cpu"),
        ("train tiny.yaml train.compile=graphs train.devices=2", "graphs is for one device, and train.devices=2"),
        ("train tiny.yaml --resume --out runs/none", "runs/none is no run folder to resume"),
        ("train tiny.yaml --out model", "model exists; give --resume to continue it, --overwrite"),
        ("train tiny.yaml --out model --overwrite", "model is no run folder"),
        ("train tiny.yaml --out few.safetensors --overwrite", "few.safetensors is a file"),
        ("train tiny.yaml --outt x", "--out"),
        ("sample nothing", "unknown model 'nothing'"),
        ("sample few.safetensors", "few.safetensors is no model: that is a folder with model.safetensors and"),
        ("sample model --n 0", "must be from 1 to 1,000,000,000, not 0"),
        ("sample model --n -5", "must be from 1 to 1,000,000,000, not -5"),
        ("sample model --n many", "--n: expected int, not 'many'"),
        ("sample model --steps 0", "steps must be at least 1, not 0"),
        ("sample model --steps 1000000001", "steps must be at most 1,000,000, not 1,000,000,001"),
        ("sample model --steps 1000000000 --workers -1", "--workers must be 0 (this process alone) or more, not -1"),
        ("info missing.safetensors", "missing.safetensors: no such file"),
        ("score some.sdf --reference=", "--reference: an empty text says nothing"),
        ("score some.sdf --json= --protocol edm", "--json: an empty text says nothing"),
        ("sample model --grid cubic", "unknown time grid 'cubic'"),
        ("sample model --solver rk5", "unknown solver 'rk5'"),
        ("sample model --atoms 0", "'0' holds no possible size"),
        ("sample model --atoms few", "'few' is no size; write 12, 9-29"),
        ("sample model --device cuda", "no cuda device here; take cpu"),
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
        ("train tinyy.yaml", "tinyy.yaml: no such file (did you mean 'tiny.yaml'?)"),
        ("train model", "cannot read model: Is a directory"),
        ("train tiny.yaml data.path=model", "model is a folder; a data file is one file"),
        ("train tiny.yaml train.lr", "does not know what to do with 'train.lr': to set a key, say train.lr=VALUE"),
        ("train tiny.yaml train.lr.x=3", "tiny.yaml: train: lr: expected float, not {'x': 3}"),
        ("train tiny.yaml train.lr=-1", "train.lr must be above 0, not -1"),
        ("train", "`molflow train` needs CONFIG (see `molflow train --help`)"),
        ("sample model more", "`molflow sample` does not know what to do with 'more'"),
        ("sample model --overwrite=maybe", "--overwrite takes no value: say --overwrite or --no-overwrite"),
        ("sample model --n", "--n needs a value"),
        ("sample model --step 4", "unknown option of `molflow sample` '--step' (did you mean '--steps'?)"),
        ("sample model --out model", "model is a folder: name a file in it"),
        ("sample model --out molecules", "molecules: it has no suffix; choose from .sdf"),
        ("sample model --out x.xyz --trajectory x.xyz", "--out and --trajectory are both x.xyz"),
        ("sample some.sdf", "some.sdf is no model: that is a folder with"),
        ("sample model --temperature -1", "temperature must be above 0, not -1"),
        ("sample model --steps 5 --evaluations 10", "--steps and --evaluations both say how long; give one"),
        ("sample model --evaluations 10 --solver dopri5", "solver dopri5 takes as many evaluations as its tolerance"),
        ("sample model --evaluations 1 --solver heun", "a step of heun takes 2 evaluations, and 1 were given"),
        ("sample model -n 0", "must be from 1 to 1,000,000,000, not 0"),
        ("score", "name a file of molecules, or ask for --list"),
        ("score sme.sdf", "sme.sdf: no such file (did you mean 'some.sdf'?)"),
        ("score model", "model is a folder: name a file in it; choose from .sdf"),
        ("score empty.sdf", "no molecules in empty.sdf: empty"),
        ("score noise.npz", "noise.npz: not a whole npz file of plain arrays"),
        ("score some.sdf --reference noise.sdf", "noise.sdf: none of its 1 molecules can be read"),
        ("score some.sdf --subset -5", "subset must be at least 1, not -5"),
        ("score some.sdf --threshold a", "--threshold[0]: expected float, not 'a'"),
        ("score '*.sdff'", "no file has such a name"),
        ("data import empty.sdf --out x.safetensors", "there are no records in the files: they are empty"),
        ("data import some.sdf --out model", "model is a folder: name a file in it"),
        ("data ifno x", "unknown verb of `molflow data` 'ifno' (did you mean 'info'?)"),
        ("data toy moons --points x --out x.safetensors", "points: 'x' is no size"),
        ("data toy noise.npz --out x.safetensors", "noise.npz is not an array as numpy.save or numpy.savez writes it"),
        ("data info model", "model is a folder; a data file is one file"),
        ("data import some.sdf --out x.safetensors --timeout 0", "--timeout must be above 0 and finite, not 0"),
        ("data import some.sdf --out x.safetensors --timeout inf", "--timeout must be above 0 and finite, not inf"),
        ("data import some.sdf --out x.safetensors --workers -2", "--workers must be 0 (this process alone) or more"),
        ("data qm9 --from . --out x.safetensors --workers -1", "--workers must be 0 (this process alone) or more"),
        ("data import some.sdf --out x.safetensors --seed 99999999999999999999", "--seed must fit into 64 bits"),
        ("data import some.sdf --out mine.sdf", "mine.sdf: this writes a data file; name it .safetensors"),
        ("data qm9 --from . --out qm9.sdf", "qm9.sdf: this writes a data file; name it .safetensors"),
        ("data toy moons --out moons", "moons: this writes a data file; name it .safetensors"),
        ("reflow model --out pairs.npz", "pairs.npz: this writes a data file; name it .safetensors"),
        ("view some.sdf --out page.sdf", "page.sdf: this writes a page; name it .html"),
        ("data toy some.npy --out x.safetensors --n 5", "--n is of a shape; the clouds of a file are all taken"),
        ("data toy some.npy --out x.safetensors --points 3", "11 points make 3 clouds of 3 and leave 2 over"),
        ("data toy some.npy --out x.safetensors --points 0", "points: 11 points make no cloud of 0"),
        ("view some.sdf --samples 7", "--samples is of a run's page; some.sdf is no run folder"),
        ("view model --reference some.sdf --max 5", "its page takes --seed and --samples, not --reference, --max"),
        ("view model --no-strain", "its page takes --seed and --samples, not --strain"),
        ("view model --samples -7", "samples must be 0 or more, not -7"),
        ("likelihood model few.safetensors --exact --probes 7", "--exact needs no --probes"),
        ("score some.sdf --threshold 0.5", "--threshold is of --conformers"),
        ("score some.sdf --timeout inf", "timeout must be finite, not inf"),
        ("sample model --paths 5", "--paths is of --trajectory"),
        ("info some.sdf", "some.sdf is not a molflow data file. If it holds molecules"),
        ("view nothing.sdf", "nothing.sdf: no such file"),
        ("view empty.sdf", "empty.sdf: no molecules in it"),
        ("view some.sdf --out few.safetensors", "few.safetensors exists"),
        ("view some.sdf --max -3", "must be at least 1, not -3"),
        ("tune nothing", "unknown model 'nothing'"),
        ("tune model --steps a", "--steps[0]: expected int, not 'a'"),
        ("tell nothing", "unknown model 'nothing'"),
        ("tell model", "model model is told nothing: its network has no census"),
        ("sample tiny.yaml", "tiny.yaml is no model: that is a folder with"),
        (
            "data import some.sdf --out new.safetensors --fractions nan,nan,nan",
            "--fractions[0]: expected float, not 'nan'",
        ),
        ("train tiny.yaml seed=2020-13-45", "seed: '2020-13-45' is no YAML value"),
        ("tell qm9-relay --steps 0 --out x", "steps must be at least 1, not 0"),
        ("tell qm9-relay --n 0 --out x", "the number of molecules must be from 1 to 1,000,000,000, not 0"),
        ("straightness nothing", "unknown model 'nothing'"),
        ("likelihood model nothing.safetensors", "nothing.safetensors: no such file"),
        ("likelihood model few.safetensors --n 0", "--n must be at least 1, not 0"),
        ("reflow nothing --out x.safetensors", "unknown model 'nothing'"),
        ("reflow model --pairs -3 --out x.safetensors", "-3"),
        ("completion tcsh", "unknown value for SHELL 'tcsh'"),
        ("--hlep", "unknown option of `molflow` '--hlep' (did you mean '--help'?)"),
        ("help smaple", "unknown verb 'smaple' (did you mean 'sample'?)"),
        ("smaple model", "unknown verb 'smaple' (did you mean 'sample'?)"),
    ],
)
def test_a_mistake_is_answered_in_words(capsys, place, line, words):
    (place / "empty.sdf").touch()
    for name in ("noise.npz", "noise.sdf"):
        (place / name).write_bytes(b"\x80\x04" + bytes(range(7, 200)))
    err = refused(capsys, place, *shlex.split(line))
    assert words in err
    assert "pickle" not in err, "numpy's advice to load it all the same is not ours"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sample model --out x.xyz --trajectory model/../x.xyz", "--out and --trajectory are both model/../x.xyz"),
        ("sample model --out x.xyz --trajectory link/x.xyz", "--out and --trajectory are both link/x.xyz"),
        ("score some.sdf --json x.csv --per-molecule x.csv", "--json and --per-molecule are both x.csv"),
        ("score some.sdf --json some.sdf --overwrite", "--json some.sdf would replace what is read"),
        ("score '*.sdf' --json link/some.sdf --overwrite", "--json link/some.sdf would replace what is read"),
        ("score some.sdf --reference few.safetensors --json few.safetensors --overwrite", "would replace what is read"),
        ("score some.sdf --conformers some.npy --per-molecule some.npy --overwrite", "would replace what is read"),
        ("view some.sdf --out some.sdf --overwrite", "--out some.sdf would replace what is read"),
        ("view some.sdf --reference few.safetensors --out few.safetensors --overwrite", "would replace what is read"),
        ("data import some.sdf --out some.sdf --overwrite", "--out some.sdf would replace what is read"),
        ("data toy some.npy --out some.npy --overwrite", "--out some.npy would replace what is read"),
        ("data qm9 --from some.sdf --out some.sdf --overwrite", "--out some.sdf would replace what is read"),
        ("likelihood model few.safetensors --json few.safetensors --overwrite", "would replace what is read"),
        ("likelihood model few.safetensors --json model/config.json --overwrite", "would replace what is read"),
        ("straightness model --data few.safetensors --json few.safetensors --overwrite", "would replace what is read"),
        ("reflow model --out model/model.safetensors --overwrite", "would replace what is read"),
    ],
)
def test_what_is_written_is_neither_read_nor_written_twice(capsys, place, line, words):
    """By whatever name, and before any work."""
    (place / "link").symlink_to(place)
    assert words in refused(capsys, place, *shlex.split(line))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data:\n  path: x\n train: [1\n", "mine.yaml, line 3, column 2: this is not valid YAML (expected <block end>"),
        ("data:\n\tpath: x\n", "mine.yaml, line 2, column 1: this is not valid YAML (found character '\\t'"),
        ("seed: 0\n\nseed: 1\n", "mine.yaml, line 3: seed was given in line 1 already"),
        ("seed: 0\ntrian: {lr: 1}\n", "mine.yaml, line 2: unknown key 'trian' (did you mean 'train'?)"),
        ("train:\n  lr: 1\n  warmpu: 0\n", "mine.yaml, line 3: unknown key of train 'warmpu' (did you mean 'warmup'?)"),
        ("train:\n  lr: fast\n", "mine.yaml, line 2: train: lr: expected float, not 'fast'"),
        ("train:\n  steps: 1\n  lr: -1\n", "mine.yaml, line 3: train.lr must be above 0"),
        ("data:\n  fields: [pos,\n    atmo]\n", "mine.yaml, line 3: unknown value for data: fields[1] 'atmo'"),
        ("{}", "no data file was named"),
        ("seed: 2020-13-45\n", "mine.yaml is not valid YAML: month must be in 1..12"),
        ("seed: &a [*a]\n", "mine.yaml is not valid YAML"),
        ("- a\n", "mine.yaml: expected keys and values, such as `seed: 0`"),
        ("", "no data file was named: give data.path"),
        (
            "DATA\npath:\n  pos:\n    name: linear\n    capp: 3\n",
            "mine.yaml, line 5: unknown key of path 'linear' 'capp'",
        ),
        ("DATA\nnetwork: dens\n", "mine.yaml, line 2: unknown network 'dens' (did you mean 'dense'?)"),
        ("DATA\ncoupling:\n- align\n- aling\n", "mine.yaml, line 4: unknown coupling 'aling'"),
        ("DATA\nprior:\n  {pos: gaussian, atom: unifrom, bond: mask}\n", "mine.yaml, line 3: unknown prior 'unifrom'"),
        ("DATA\ntimes: bta\n", "mine.yaml, line 2: unknown times 'bta' (did you mean 'beta'?)"),
    ],
)
def test_a_mistake_in_a_configuration_is_told_by_its_line(capsys, place, text, words):
    (place / "mine.yaml").write_text(text.replace("DATA", "data: {path: few.safetensors}"))
    assert words in refused(capsys, place, "train", "mine.yaml", "--dry-run")


def test_a_mistake_given_beside_the_file_is_not_told_by_a_line_of_it(capsys, place):
    err = refused(capsys, place, "train", "tiny.yaml", "network.width=-4", "--dry-run")
    assert "line" not in err and "network 'dense'" in err


def test_what_may_not_be_read_is_named_with_what_may_be_done(capsys, monkeypatch):
    """As for anyone but root; so the system's answer is put on."""

    def denied(_):
        raise PermissionError(13, "Permission denied", "runs/theirs")

    monkeypatch.setattr("molflow.cli._run", denied)
    assert main(["info", "runs/theirs"]) == 2
    assert "error: runs/theirs: Permission denied: you may not" in capsys.readouterr().err


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


def test_arrays_that_cannot_be_read_are_told(capsys, place):
    whole = {"offsets": np.array([0, 1]), "numbers": np.array([6]), "positions": np.zeros((1, 3))}
    np.savez_compressed(place / "damaged.npz", **{**whole, "positions": np.zeros((1, 3)) + np.pi})
    data = bytearray((place / "damaged.npz").read_bytes())
    at = data.index(b"positions.npy") + 30
    data[at : at + 60] = bytes(60)
    (place / "damaged.npz").write_bytes(data)
    assert "not a whole npz file" in refused(capsys, place, "data", "import", "damaged.npz", "--out", "new.safetensors")
    for split in (300, -1, np.nan):
        np.savez(place / "split.npz", **whole, split=np.array([split]))
        err = refused(capsys, place, "data", "import", "split.npz", "--out", "new.safetensors")
        assert "split has entries that are no number of a part" in err


def test_a_model_cut_in_half_or_of_another_version(capsys, place):
    cut(place / "model" / "model.safetensors")
    for verb in ("sample", "info"):
        assert "model.safetensors is damaged or cut short" in refused(capsys, place, verb, "model")
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
    with pytest.raises(UserError, match="no such file"):
        main(["train", "tiny.yaml", "data.path=nothing.safetensors", "--debug"])


def test_elements_that_cannot_be_turned_to_formulas_are_told_before_the_run(capsys, place, monkeypatch):
    """A training set of too many formulas keeps none."""
    monkeypatch.setattr("molflow.data.formulas.MOST", 1)
    err = refused(capsys, place, "train", "tiny.yaml", "sample.composition=4", "--out", "run")
    assert "composition 4 turns atoms towards formulas" in err and "give it 0" in err
    assert not (place / "run").exists()
