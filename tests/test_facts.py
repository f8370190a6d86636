"""What priors and couplings are told of the data: widths by size, the commonness of classes, the model behind pairs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import yaml

from molflow.build import UserError
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import Config, parse_config
from molflow.data.sizes import Sizes
from molflow.data.store import Store, StoreWriter
from molflow.data.toys import make_toy
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.rng import Rng
from molflow.training import Training, dry_run

NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}
FACTS = Facts(Vocabulary(("H", "C", "N+"), (), (0, 1, 2)), Sizes({3: 1, 5: 3}), 1.5, 3, "sha256:abc")


def write(path, molecules, **meta):
    with StoreWriter(path, source="a test", meta=meta) as out:
        for numbers, charges, bonds, props in molecules:
            positions = np.stack([np.arange(len(numbers)) * 1.0] * 3, 1)
            out.add(numbers, positions, charges, bonds, props=props)
    return Store(path)


WATER = ([8, 1, 1], [0, 0, 0], [[0, 1, 1], [0, 2, 1]], {})
CYANIDE = ([6, 7], [-1, 0], [[0, 1, 3]], {})


def test_classes_are_as_common_as_counted_by_hand(tmp_path):
    """Of five atoms two are H; of 3 + 1 pairs one has no bond, two a single and one a triple one."""
    store = write(tmp_path / "two.safetensors", [WATER, CYANIDE])
    facts = Facts.of(store, parse_config({"data": {"fields": ["pos", "atom", "bond"]}}))
    assert facts.vocabulary.atoms == ("H", "N", "O", "C-")
    assert facts.shares["atom"] == [0.4, 0.2, 0.2, 0.2]
    assert facts.shares["bond"] == [0.25, 0.5, 0.25]
    apart = Facts.of(store, parse_config({"data": {"fields": ["pos", "atom", "charge"]}}))
    assert apart.vocabulary.charges == (-1, 0)
    assert apart.shares == {"atom": [0.4, 0.2, 0.2, 0.2], "charge": [0.2, 0.8]}


def test_the_law_of_widths_is_that_of_the_clouds(tmp_path):
    """Clouds of n points of spread n^0.7 / 2, ten of each size."""
    random = np.random.default_rng(0)
    with StoreWriter(tmp_path / "c.safetensors", source="clouds") as out:
        for n in (4, 8, 16, 32, 64):
            for _ in range(10):
                x = random.normal(size=(n, 3))
                x -= x.mean(0)
                out.add(None, x / x.std() * n**0.7 / 2)
    assert Store(tmp_path / "c.safetensors").scale_law() == pytest.approx((0.5, 0.7), rel=1e-5)


def test_of_one_size_alone_the_law_is_its_width(tmp_path):
    store = write(tmp_path / "one.safetensors", [WATER, WATER])
    assert store.scale_law() == (store.scale(), 0.0)


def test_priors_are_told_what_they_ask_for_and_the_user_has_the_last_word(few_molecules):
    facts = Facts.of(Store(few_molecules), Config())
    for name, key, value in (
        ("gaussian", "scale", facts.scale),
        ("ball", "scale", facts.scale),
        ("sized", "law", facts.law),
    ):
        for spec, expected in ((name, value), ({"name": name, key: (2.0, 0.1) if key == "law" else 2.0}, None)):
            config = parse_config({"network": NETWORK, "prior": {"pos": spec, "atom": "marginal", "bond": "mask"}})
            atoms = make_model(config, facts).prior.priors
            assert getattr(atoms[0], key) == (expected or spec[key])
            assert atoms[1].shares == pytest.approx(facts.shares["atom"])


def test_models_of_before_know_no_shares_and_load(few_molecules):
    facts = Facts.of(Store(few_molecules), Config())
    card = json.loads(json.dumps(facts.to_dict()))
    assert Facts.from_dict(card) == facts
    del card["shares"], card["law"]
    old = Facts.from_dict(card)
    assert (old.shares, old.law, old.scale) == ({}, None, facts.scale)
    with pytest.raises(UserError, match="prior marginal of atom: the shares of the classes are not known"):
        make_model(parse_config({"prior": {"pos": "gaussian", "atom": "marginal", "bond": "mask"}}), old)


@pytest.mark.parametrize(
    "prior, path, message",
    [
        (
            {"pos": {"name": "harmonic", "graph": "bonds"}},
            {},
            "reads bond, and when a model samples there is none yet.*graph: chain",
        ),
        ({"atom": "harmonic"}, {"atom": "one_hot"}, "prior.atom: 'harmonic' is no noise of atom, which takes gaussian"),
        ({"pos": "marginal"}, {}, "prior.pos: 'marginal' is no noise of pos, which takes ball, "),
        ({"pos": {"name": "sized", "law": [0, 1]}}, {}, "law is .a, b. with a above 0"),
        ({"pos": {"name": "ball", "scale": -1}}, {}, "scale must be above 0"),
    ],
)
def test_noise_that_does_not_fit_is_refused(prior, path, message):
    usual = {"pos": "gaussian", "atom": "uniform", "bond": "uniform"}
    config = parse_config(
        {"network": NETWORK, "prior": usual | prior, "path": {"pos": "linear", "atom": "jump", "bond": "jump"} | path}
    )
    with pytest.raises(UserError, match=message):
        make_model(config, FACTS)


@pytest.mark.parametrize("name", ["harmonic", "ball", "sized"])
def test_a_model_starts_from_it_and_samples(name):
    config = parse_config({"network": NETWORK, "prior": {"pos": name, "atom": "uniform", "bond": "uniform"}})
    assert make_model(config, FACTS).sample(4, steps=2).pos.isfinite().all()


def test_pairs_are_read_with_the_facts_of_the_model_that_made_them(tmp_path):
    """Their own would give other noise: another scale, and other classes where a kind was never made."""
    made = [(numbers, charges, bonds, {"pair": i}) for i, (numbers, charges, bonds, _) in enumerate([WATER, WATER])]
    facts = Facts(Vocabulary(("H", "C", "O"), (), (0, 1, 2)), Sizes({3: 1}), 1.5, 3, "sha256:abc")
    store = write(tmp_path / "pairs.safetensors", made, seed="3", facts=json.dumps(facts.to_dict()))
    config = parse_config(
        {
            "data": {"path": str(store.path), "pairs": 100},
            "network": NETWORK,
            "coupling": ["reflow"],
            "train": {"steps": 1},
        }
    )
    training = Training(config, store)
    assert training.facts.vocabulary == facts.vocabulary
    assert training.facts.scale == 1.5
    assert training.facts.checksum == store.checksum
    x1 = training.model.vocabulary.encode(training.loader().at(0))
    x0, _ = training.objective.pair(x1, Rng.of(0, len(x1)))
    asked = Rng(3, x1.props["pair"].long())
    assert torch.equal(x0.atom, training.model.prior(x1, asked).atom)


def test_reflow_on_ordinary_molecules_is_refused(few_molecules):
    config = parse_config({"data": {"path": str(few_molecules)}, "network": NETWORK, "coupling": ["reflow"]})
    with pytest.raises(UserError, match="no property 'pair'.*molflow reflow"):
        Training(config, Store(few_molecules))


def test_couplings_are_given_the_properties_that_they_read(tmp_path):
    made = [(*WATER[:3], {"gap": 1.5}), (*WATER[:3], {"gap": 2.5})]
    store = write(tmp_path / "gap.safetensors", made)
    values = {"data": {"path": str(store.path)}, "network": NETWORK, "train": {"steps": 1}}
    config = parse_config(
        {**values, "coupling": [{"name": "minibatch_ot", "condition": "gap", "weight": 1e3}, "align"]}
    )
    training = Training(config, store)
    x1 = training.loader().at(0)
    assert sorted(x1.props["gap"].tolist()) == [1.5, 2.5]
    x0, _ = training.objective.pair(training.model.vocabulary.encode(x1), Rng.of(0, 2))
    assert torch.equal(x0.props["gap"], x1.props["gap"]), "so large a weight leaves noise with its own condition"
    with pytest.raises(UserError, match="reads the property 'gpa', and the data have gap"):
        Training(parse_config({**values, "coupling": [{"name": "minibatch_ot", "condition": "gpa"}]}), store)


def test_times_that_learn_go_on_where_they_were(few_molecules, tmp_path, monkeypatch):
    """A run that is stopped after four steps and resumed ends with the weights of one that was not."""
    values = {
        "data": {"path": str(few_molecules), "pairs": 4000},
        "network": NETWORK,
        "times": "importance",
        "train": {"steps": 8, "validate": 2, "samples": 0, "lr": 2e-3},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    assert main(["train", str(path), "--out", str(tmp_path / "whole")]) == 0
    original = Training.training_step

    class Stopped(Exception):
        pass

    def training_step(self, batch, index):
        original(self, batch, index)
        if self.steps_done == 6:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Training, "training_step", training_step)
        with pytest.raises(Stopped):
            main(["train", str(path), "--out", str(tmp_path / "run")])
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert saved["steps"] == 4
    assert saved["times"]["counts"].sum() > 0
    assert main(["train", str(path), "--out", str(tmp_path / "run"), "--resume"]) == 0
    ours, whole = (torch.load(tmp_path / run / "last.ckpt", weights_only=True) for run in ("run", "whole"))
    for part in ("network", "times"):
        for name, value in whole[part].items():
            assert torch.equal(ours[part][name], value), name


def test_a_rehearsal_tells_what_the_couplings_do(few_molecules):
    config = parse_config(
        {
            "data": {"path": str(few_molecules), "pairs": 4000},
            "network": NETWORK,
            "coupling": ["minibatch_ot", "align"],
            "train": {"steps": 2},
        }
    )
    told = dry_run(config)["coupling"]
    assert told.startswith("1 MinibatchOT: cost before ")
    assert "1 MinibatchOT: share with a partner " in told
    assert "2 Align: cost at rest " in told


def test_shares_are_those_of_the_training_set(tmp_path):
    with StoreWriter(tmp_path / "split.safetensors", source="a test") as out:
        for numbers, order, split in (([6, 6], 2, 0), ([6, 6], 1, 0), ([8, 8], 1, 1), ([8, 8], 1, 2)):
            out.add(numbers, np.eye(2, 3), [0, 0], [[0, 1, order]], split=split)
    facts = Facts.of(Store(tmp_path / "split.safetensors"), Config())
    assert facts.vocabulary.atoms == ("C", "O")
    assert facts.shares["atom"] == [1, 0] and facts.shares["bond"] == [0, 0.5, 0.5]


def test_molecules_without_a_bond_want_no_bonds(tmp_path):
    store = write(tmp_path / "argon.safetensors", [([18, 18], [0, 0], np.zeros((0, 3), int), {})] * 3)
    with pytest.raises(UserError, match=r"data\.fields=\[pos,atom\]"):
        Facts.of(store, Config())
    assert not Facts.of(store, parse_config({"data": {"fields": ["pos", "atom"]}})).vocabulary.bonds


def test_a_property_that_some_lack_is_told_before_the_first_step(tmp_path):
    with StoreWriter(tmp_path / "some.safetensors", source="a test") as out:
        for k in range(4):
            numbers, charges, bonds, _ = WATER
            out.add(numbers, np.eye(3), charges, bonds, props={"mu": 1.0} if k < 2 else {}, split=k // 2)
    coupling = [{"name": "minibatch_ot", "condition": "mu"}]
    config = parse_config({"data": {"path": str(tmp_path / "some.safetensors")}, "coupling": coupling})
    with pytest.raises(UserError, match="2 molecules of split val have no 'mu'"):
        Training(config, Store(config.data.path))


def test_lone_points_have_a_place(tmp_path):
    store = make_toy(tmp_path / "moons.safetensors", "moons", n=200)
    alone = {"data": {"fields": ["pos"], "centred": True}}
    with pytest.raises(UserError, match="lone points"):
        Facts.of(store, parse_config(alone))
    assert Facts.of(store, parse_config({"data": {**alone["data"], "centred": False}})).dim == 2
