"""Pairs that a model has made: the noise that comes back is that which it started from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.vocabulary import Vocabulary
from molflow.config import parse_config
from molflow.couplings.reflow import Reflow
from molflow.data.loader import Loader
from molflow.data.sizes import Sizes
from molflow.data.store import Store, StoreWriter
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.rng import Rng

SEED = 5


@pytest.fixture(scope="module")
def model():
    facts = Facts(Vocabulary(("H", "C", "N"), (), (0, 1, 2)), Sizes({3: 1, 5: 2, 6: 1}), 1.4, 3)
    small = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}
    return make_model(parse_config({"network": small}), facts)


@pytest.fixture(scope="module")
def store(model, tmp_path_factory):
    """Twelve samples of a model, as a data file that says their numbers and their seed."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.safetensors"
    with StoreWriter(path, source="samples", meta={"seed": str(SEED)}) as out:
        for i, x in enumerate(model.sample(12, seed=SEED, steps=2)):
            a, b = x.bond[0].triu().nonzero().T
            bonds = torch.stack([a, b, x.bond[0, a, b]], 1)
            out.add(x.atom[0], x.pos[0], x.charge[0], bonds, props={"pair": i})
    return Store(path)


def started_from(model, monkeypatch, n):
    """The noise that sampling starts from, molecule by molecule."""
    seen, draw = {}, model.prior.__call__

    def noted(like, rng):
        x0 = draw(like, rng)
        for b in range(len(x0)):
            seen[int(rng.keys[b])] = x0[b]
        return x0

    monkeypatch.setattr(model, "prior", noted)
    model.sample(n, seed=SEED, steps=1)
    return [seen[int(key)] for key in Rng.of(SEED, n).keys]


def test_the_noise_is_that_which_the_sample_was_made_from(model, store, monkeypatch):
    coupling = Reflow(model.prior)
    coupling.prepare(store.prop_names, store.meta)
    loader = Loader(store, "train", pairs=80, epochs=1, fields=("pos", "atom", "charge", "bond", *coupling.props))
    start = started_from(model, monkeypatch, len(store))
    met = 0
    for _, batch in loader:
        x1 = model.vocabulary.encode(batch)
        x0, y1 = coupling(x1, x1, Rng.of(99, len(x1)))
        assert y1 is x1
        for b, pair in enumerate(x1.props["pair"].long().tolist()):
            n = int(x1.sizes[b])
            assert torch.equal(x0[b].atom, start[pair].atom)
            assert torch.equal(x0[b].bond, start[pair].bond)
            torch.testing.assert_close(x0.pos[b, :n], start[pair].pos[0], rtol=0, atol=1e-6)
            met += 1
    assert met == 12


def test_a_store_without_pairs_is_refused(model):
    with pytest.raises(UserError, match="pairs that a model has made.*molflow reflow"):
        Reflow(model.prior).prepare(["gap"], {"seed": "0"})


def test_the_seed_is_that_of_the_store(model):
    coupling = Reflow(model.prior)
    coupling.prepare(["pair"], {"seed": "3"})
    assert coupling.seed == 3
    with pytest.raises(UserError, match="drawn with seed 3, not 4"):
        Reflow(model.prior, seed=4).prepare(["pair"], {"seed": "3"})
    with pytest.raises(UserError, match="do not say the seed"):
        Reflow(model.prior).prepare(["pair"], {})


@pytest.mark.parametrize("number", [float("nan"), 0.5, -1.0, 2.0**24])
def test_what_is_no_number_of_a_sample_is_refused(model, number):
    """Beyond 2^24 float32, in which properties are read, no longer holds every whole number."""
    x1 = Batch.of_sizes([2]).replace(props={"pair": torch.tensor([number])})
    with pytest.raises(UserError, match="no sample's number"):
        Reflow(model.prior, seed=0)(x1, x1, Rng.of(0, 1))


def test_numbers_up_to_the_last_exact_one_survive_the_store(tmp_path):
    last = (1 << 24) - 1
    with StoreWriter(tmp_path / "x.safetensors", source="one") as out:
        out.add(None, np.zeros((1, 3)), props={"pair": last})
    assert int(Store(tmp_path / "x.safetensors").batch([0]).props["pair"]) == last
