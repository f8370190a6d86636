"""A model is two files, whole or absent; what is wrong with them is told."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from molflow.atomic import write_atomically
from molflow.build import UserError
from molflow.checkpoint import (
    half_precision,
    keep_sampling,
    load,
    pretrained,
    read_card,
    save,
)
from molflow.chem.vocabulary import Vocabulary
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.lineage import begin_from
from molflow.sampling import Sampling

CONFIG = parse_config(
    {"network": {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}}
)
FACTS = Facts(Vocabulary(("H", "C", "N+"), (), (0, 1, 2)), Sizes({3: 1, 5: 3}), 1.5, 3, "sha256:abc")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return make_model(CONFIG, FACTS)


@pytest.fixture
def folder(model, tmp_path):
    save(tmp_path / "model", model.network.state_dict(), CONFIG, FACTS, {"steps": 7})
    return tmp_path / "model"


def same(a, b):
    return torch.equal(a.pos, b.pos) and torch.equal(a.atom, b.atom) and torch.equal(a.bond, b.bond)


def test_a_loaded_model_samples_what_the_saved_one_does(model, folder):
    expected = model.sample(5, steps=3, seed=1)
    assert same(load(folder, "cpu").sample(5, steps=3, seed=1), expected)
    assert same(load(folder / "model.safetensors", "cpu").sample(5, steps=3, seed=1), expected)
    card = read_card(folder)
    assert card.config.to_dict() == CONFIG.to_dict()
    assert (card.facts, card.provenance) == (FACTS, {"steps": 7})


def test_half_precision_halves_the_file_and_comes_close(model, folder, tmp_path):
    save(tmp_path / "half", half_precision(model.network.state_dict()), CONFIG, FACTS, {})
    sizes = [(path / "model.safetensors").stat().st_size for path in (tmp_path / "half", folder)]
    assert sizes[0] < 0.6 * sizes[1]
    small, whole = load(tmp_path / "half", "cpu").network, load(folder, "cpu").network
    for a, b in zip(small.parameters(), whole.parameters()):
        assert a.dtype == torch.float32
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def test_loading_needs_neither_lightning_nor_pickle(folder):
    check = (
        "import sys, pickle\n"
        "def refuse(*a, **k): raise AssertionError('unpickled')\n"
        "import torch, molflow\n"
        "pickle.load = pickle.loads = torch.load = refuse\n"
        f"molflow.load({str(folder)!r}, 'cpu').sample(2, steps=1)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'lightning', 'torch_geometric', 'e3nn', 'ot'}))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_shipped_models_are_found_by_name():
    with pytest.raises(UserError, match="unknown model 'smal'.* or give a run folder"):
        load("smal")
    for name, path in pretrained().items():
        assert read_card(name).config == read_card(path).config


def test_a_way_of_sampling_and_learned_grids_are_kept_beside_the_weights(folder):
    how = Sampling(steps=7, solver={"name": "churn", "amount": 0.1}, haste=3.0)
    assert keep_sampling(folder, Sampling(), {3: [0, 0.5, 0.8, 1]}) == folder / "config.json"
    keep_sampling(folder, how, {2: (0, 0.6, 1), 3: [0, 0.4, 0.7, 1]})
    model = load(folder, "cpu")
    assert model.defaults == how
    assert model.grids == read_card(folder).grids == {2: [0, 0.6, 1], 3: [0, 0.4, 0.7, 1]}
    seen = []
    model.sample_ids(np.arange(1), 0, Sampling(steps=2, grid="learned"), watch=lambda t, x: seen.append(t))
    assert seen == [0, 0.6, 1]
    with pytest.raises(UserError, match="no learned grid of 5 steps, it has those of 2, 3; .* `molflow tune MODEL"):
        model.sample(1, steps=5, grid="learned")


def test_the_weights_of_a_network_without_spans_begin_one_with_them(model, folder):
    spec = {**CONFIG.network, "span": True}
    leaper = make_model(parse_config({"network": spec}), FACTS)
    begin_from(folder, leaper.network, FACTS, CONFIG)
    assert same(leaper.sample(4, steps=3, seed=1), model.sample(4, steps=3, seed=1))
    assert not leaper.network.clock.span.weight.any()
    with pytest.raises(UserError, match="train.init: the weights of .* do not fit this network") as told:
        begin_from(folder, make_model(parse_config({"network": {**spec, "layers": 2}}), FACTS).network, FACTS, CONFIG)
    assert f"'network={json.dumps(CONFIG.network)}'" in str(told.value), "what to give it, and no list of weights"
    assert ".weight" not in str(told.value)
    other = replace(CONFIG, path={**CONFIG.path, "pos": {"name": "linear", "predicts": "noise"}})
    with pytest.raises(UserError, match="predicts the endpoint, and this run would read it as the noise"):
        begin_from(folder, leaper.network, FACTS, other)


def damage(path, edit):
    path.write_bytes(edit(path.read_bytes()))


def edit_card(folder, **changes):
    card = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        card.pop(key) if value is None else card.update({key: value})
    (folder / "config.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: damage(f / "model.safetensors", lambda d: d[: len(d) // 2]),
            "model.safetensors is damaged or cut short",
        ),
        (lambda f: damage(f / "model.safetensors", lambda d: b""), "model.safetensors is damaged or cut short"),
        (lambda f: (f / "model.safetensors").unlink(), "has config.json but no model.safetensors; copy both"),
        (lambda f: (f / "config.json").unlink(), "holds no config.json: it is no model folder"),
        (lambda f: damage(f / "config.json", lambda d: d[:40]), "cannot read .*config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json does not describe a molflow model"),
        (lambda f: edit_card(f, format="other"), "does not describe a molflow model"),
        (lambda f: edit_card(f, version=99, molflow="9.9"), "of model format 99, this molflow reads 1; .* molflow 9.9"),
        (lambda f: edit_card(f, vocabulary=None), "config.json is damaged .'vocabulary' is missing"),
        (lambda f: edit_card(f, sizes=3), "config.json is damaged"),
        (lambda f: edit_card(f, grids={"2": [0, 0.9]}), "damaged .the learned grid of 2 steps"),
        (lambda f: edit_card(f, grids={"2": [0, 0.9, 0.5]}), "damaged .the learned grid of 2 steps"),
        (lambda f: edit_card(f, grids={"two": [0, 0.9, 1]}), "damaged .a number of a learned grid"),
        (lambda f: edit_card(f, config={"network": "dens"}), "unknown network 'dens'"),
        (lambda f: edit_card(f, config={"sample": {"solver": "mine"}}), "config.json: unknown solver 'mine'.*package"),
        (lambda f: edit_card(f, config={"netwrok": "dense"}), "unknown key of .*config.json 'netwrok'"),
        (lambda f: edit_card(f, config={"network": {"name": "dense", "width": 24}}), "does not fit the network"),
    ],
)
def test_a_damaged_model_is_told_where_and_how(folder, spoil, message):
    spoil(folder)
    with pytest.raises(UserError, match=message):
        load(folder, "cpu")


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    import errno
    import os

    target = tmp_path / "x.json"
    write_atomically(target, "first")
    assert target.read_text() == "first"

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="x.json: the disk is full"):
            write_atomically(target, "second")
    assert target.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    with pytest.raises(UserError, match="there is no folder"):
        write_atomically(tmp_path / "no" / "x.json", b"third")
