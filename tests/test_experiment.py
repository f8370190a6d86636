"""A configuration is read, overridden, checked and written back; its parts become one model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from molflow.build import UserError
from molflow.chem.vocabulary import Vocabulary
from molflow.config import Config, dump_config, parse_config, read_config, set_key
from molflow.data.sizes import Sizes
from molflow.data.store import Store
from molflow.experiment import make_model, make_objective
from molflow.facts import Facts
from molflow.run import Run
from molflow.sampling import Sampling

FACTS = Facts(Vocabulary(("H", "C", "N+"), (), (0, 1, 2)), Sizes({3: 1, 5: 3}), 1.5, 3, "sha256:abc")
TINY = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}


def test_a_configuration_reads_back_as_it_was_written(tmp_path):
    config = parse_config(
        {"seed": 3, "network": TINY, "coupling": [{"name": "align", "rotate": False}], "path": {"pos": "linear"}}
    )
    (tmp_path / "c.yaml").write_text(dump_config(config))
    again = read_config(tmp_path / "c.yaml")
    assert again.to_dict() == config.to_dict()
    assert dump_config(again) == dump_config(config)


def test_an_empty_file_is_the_default_experiment(tmp_path):
    (tmp_path / "c.yaml").write_text("# nothing said\n")
    assert read_config(tmp_path / "c.yaml") == Config()


def test_overrides_are_typed_as_the_file_is(tmp_path):
    (tmp_path / "c.yaml").write_text("network: dense\ntrain: {lr: 1.0e-2, steps: 5}\n")
    overrides = {
        "train.lr": "1e-3",
        "train.steps": "null",
        "network.width": "64",
        "coupling": "[independent]",
        "seed": "7",
    }
    config = read_config(tmp_path / "c.yaml", overrides)
    assert config.train.lr == 1e-3
    assert config.train.steps is None
    assert config.network == {"name": "dense", "width": 64}
    assert (list(config.coupling), config.seed) == (["independent"], 7)


def test_a_key_within_a_part_that_the_file_leaves_out_changes_the_default_one(tmp_path):
    (tmp_path / "c.yaml").write_text("path: {pos: linear, atom: jump}\nloss: {weights: {atom: 0.7}}\n")
    overrides = {"network.width": "64", "prior.pos.scale": "1.2", "loss.weights.pos": "2", "path.bond.lead": "2"}
    config = read_config(tmp_path / "c.yaml", overrides)
    assert config.network == {"name": "dense", "width": 64}
    assert config.prior == {**Config().prior, "pos": {"name": "gaussian", "scale": 1.2}}
    assert config.loss.weights == {"pos": 2.0, "atom": 0.7, "charge": 0.5, "bond": 0.5}
    assert config.path["bond"] == {"name": "jump", "lead": 2}
    (tmp_path / "l.yaml").write_text("coupling: [align]\n")
    with pytest.raises(UserError, match="coupling is a list, which is given whole"):
        read_config(tmp_path / "l.yaml", {"coupling.0.rotate": "false"})


def test_a_configuration_that_cannot_be_written_takes_nothing_with_it(tmp_path):
    old = parse_config({"data": {"path": "a.safetensors"}})
    Run(tmp_path / "run").start(old, "sum")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(yaml.YAMLError):
        Run(tmp_path / "run").start(replace(old, network={"name": "dense", "width": object()}), "sum")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == b"weights"
    data = replace(old.data, path=Path("b.safetensors"))
    strange = replace(old, data=data, network={"name": "dense", "width": np.int64(8)})
    Run(tmp_path / "run").start(strange, "sum")
    assert read_config(tmp_path / "run" / "config.yaml").network == {"name": "dense", "width": 8}


def test_set_key_makes_the_mappings_on_the_way():
    values: dict = {"prior": {"pos": "gaussian"}}
    set_key(values, "prior.pos.scale", "2.5")
    set_key(values, "sample.steps", "9")
    assert values == {"prior": {"pos": {"name": "gaussian", "scale": 2.5}}, "sample": {"steps": 9}}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("trian.lr", "1", "unknown key of .* 'trian' .did you mean 'train'..; choose from coupling, data"),
        ("train.lrr", "1", "unknown key of .*train 'lrr' .did you mean 'lr'."),
        ("train.lr", "fast", "train: lr: expected float, not 'fast'"),
        ("train.lr", "-1", "train.lr must be above 0, not -1"),
        ("train.lr", "nan", "train: lr: expected float, not 'nan'"),
        ("train.lr", "[1", r"train.lr: '\[1' is no YAML value"),
        ("train.steps", "0", "train.steps must be above 0, not 0"),
        ("train.steps", "2.5", "train: steps: expected int, not 2.5"),
        ("train.ema", "1", "train.ema must be at least 0 and below 1"),
        ("train.devices", "0", "train.devices must be at least 1"),
        ("train.decay", "linaer", "'linaer' .did you mean 'linear'..; choose from cosine, linear"),
        ("data.pairs", "0", "data.pairs must be at least 1"),
        ("data.workers", "-1", "data.workers must be 0 or more"),
        ("data.fields", "[pos, colour]", "'colour'; choose from atom, bond, charge, pos"),
        ("loss.weights.pso", "1", "unknown loss of loss.weights 'pso' .did you mean 'pos'."),
        ("loss.weights.pos", "-1", "loss.weights.pos must be 0 or more"),
        ("loss.hint", "1", "loss.hint must be at least 0 and below 1: the other steps teach .* without a hint"),
        ("sample.steps", "0", "steps must be at least 1, not 0"),
        ("sample.grid", "quadratc", "unknown time grid 'quadratc' .did you mean 'quadratic'."),
        ("sample.solver", "rk5", "unknown solver 'rk5'.*choose from"),
        ("network", "dens", "unknown network 'dens' .did you mean 'dense'."),
        ("network.widht", "3", "unknown key of network 'dense' 'widht' .did you mean 'width'."),
        ("network.width", "wide", "network 'dense': width: expected int, not 'wide'"),
        ("network.heads", "3", "heads .3. must divide width .16."),
        ("network.width", "-16", "its numbers are at least 1"),
        ("network", "{name: egnn, width: -4}", "its numbers are at least 1"),
        ("network", "{name: egnn, width: 1000000000}", "network .* cannot be built"),
        ("path.pos", "slerp", "unknown path 'slerp'; choose from .*jump, linear, one_hot"),
        ("path.atom", "linear", "path.atom: 'linear' is a path of coordinates; labels take"),
        ("path.bond", "one_hot", "prior.bond: path 'one_hot' starts from .*gaussian.*, not 'uniform'"),
        ("prior.atom", "gaussian", "prior.atom: path 'jump' starts from .*uniform or mask.*, not 'gaussian'"),
        ("prior.pos", "mask", "prior.pos: 'mask' is no noise of pos, which takes ball, gaussian, harmonic, sized"),
        ("prior.colour", "mask", "unknown field of prior 'colour'; choose from atom, bond, charge, pos"),
        ("coupling", "[aling]", "unknown coupling 'aling' .did you mean 'align'."),
        ("times", "bet", "unknown times 'bet' .did you mean 'beta'."),
        ("times", "{name: beta, a: -1}", "a and b must be above 0, not -1"),
        ("times", "{name: logit_normal, sd: 0}", "sd must be above 0, not 0"),
        ("prior.pos", "{name: gaussian, scale: 0}", "scale must be above 0, not 0"),
        ("data.fields", "[pos, bond]", "bonds join atoms"),
        ("data.fields", "[atom]", "must hold pos"),
    ],
)
def test_a_mistake_is_named_with_the_choices(tmp_path, key, value, message):
    (tmp_path / "c.yaml").write_text(dump_config(parse_config({"network": TINY})))
    with pytest.raises(UserError, match=message):
        config = read_config(tmp_path / "c.yaml", {key: value})
        make_objective(config, make_model(config, FACTS))


def test_a_field_that_flows_needs_a_prior():
    config = parse_config({"data": {"fields": ["pos", "atom"]}, "prior": {"pos": "gaussian"}})
    with pytest.raises(UserError, match="prior: nothing is said of atom; give prior.atom a name"):
        make_model(config, FACTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*c.yaml: no such file"),
        (b"a: [1", "c.yaml, line 1, column 6: this is not valid YAML"),
        (b"- 1\n- 2\n", "c.yaml: expected keys and values"),
        (b"\xff\xfe\x00\x01", "c.yaml is no text file"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_config(tmp_path / "c.yaml")


def test_a_model_has_the_labels_of_its_data(few_molecules):
    """Five kinds of atoms in, five logits out; with masks, one more state in and the same out."""
    config = parse_config({"network": TINY, "prior": {"pos": "gaussian", "atom": "mask", "bond": "uniform"}})
    facts = Facts.of(Store(few_molecules), config)
    assert facts.vocabulary.atoms == ("H", "C", "N", "O", "F")
    model = make_model(config, facts)
    batch = model.sample(3, steps=2)
    assert batch.fields == ("pos", "atom", "charge", "bond")
    assert set(batch.atom[batch.mask].tolist()) <= {1, 6, 7, 8, 9}
    assert model.prior.priors[0].scale == pytest.approx(facts.scale)


def test_what_a_model_keeps_of_its_data_survives_as_json(few_molecules):
    import json

    facts = Facts.of(Store(few_molecules), Config())
    assert Facts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts


def test_fields_that_the_data_lack_are_named(tmp_path):
    from molflow.data.toys import make_toy

    store = make_toy(tmp_path / "moons.safetensors", "moons", n=20)
    with pytest.raises(UserError, match="carries pos, not atom, bond; set data.fields"):
        Facts.of(store, Config())


def test_the_same_seed_gives_the_same_weights(few_molecules):
    from molflow.training import Training

    def weights(seed):
        torch.manual_seed(99)  # the state of the world does not matter
        config = parse_config({"seed": seed, "network": TINY, "data": {"path": str(few_molecules)}})
        return torch.cat([p.flatten() for p in Training(config, Store(few_molecules)).network.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": TINY, "data": {"centred": False}}, "network dense cannot tell one from another; take pointwise"),
        ({"network": "pointwise", "data": {"centred": False}, "prior": {"pos": "harmonic"}}, "harmonic .* no place"),
        ({"data": {"fields": ["pos", "charge"]}}, "holds charge but not atom"),
    ],
    ids=str,
)
def test_what_would_learn_nothing_is_refused(changes, message):
    base = {"prior": {"pos": "gaussian", "atom": "uniform", "charge": "uniform", "bond": "uniform"}}
    with pytest.raises(UserError, match=message):
        make_model(parse_config({**changes, "prior": {**base["prior"], **changes.get("prior", {})}}), FACTS)


def test_ancestral_steps_are_refused_where_noise_was_paired():
    path = {"pos": "variance_preserving", "atom": "jump", "bond": "jump"}
    for coupling, refused in (["align"], True), (["independent"], False), (["independent", "minibatch_ot"], True):
        model = make_model(parse_config({"path": path, "coupling": coupling, "network": TINY}), FACTS)
        how = Sampling(steps=2, solver="ancestral")
        if refused:
            with pytest.raises(UserError, match="independent of the data, and this model's was paired"):
                model.check(how)
        else:
            model.check(how)


@pytest.mark.parametrize("changes", [{"network": "pointwise"}, {"network": "pointwise", "data": {"centred": False}}])
def test_noise_is_turned_only_where_its_turn_cannot_be_learned(changes):
    """Rotating the noise onto the data gives it the data's orientation, which an equivariant network cannot see."""
    config = parse_config(changes)
    with pytest.raises(UserError, match="rotate: false"):
        make_objective(config, make_model(config, FACTS))
    still = parse_config({**changes, "coupling": [{"name": "align", "rotate": False}]})
    make_objective(still, make_model(still, FACTS))
