"""The step of training: its schedule, its average, its precision, and what it does with a batch that is no number."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from molflow.build import UserError
from molflow.checkpoint import load, read_card, read_weights
from molflow.cli import main
from molflow.config import TrainConfig, parse_config
from molflow.data.store import Store, StoreWriter
from molflow.facts import Facts
from molflow.objectives.objective import Objective
from molflow.rng import Rng
from molflow.run import made_with
from molflow.training import Training, dry_run, fit, rehearsal
from molflow.training.judge import sample_scores, validation_losses
from molflow.training.length import Length, learning_rate

NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 2}


@pytest.fixture
def config(few_molecules):
    def make(network=NETWORK, data=(), **train):
        given = {"steps": 6, "validate": 2, "samples": 0, "lr": 2e-3, **train}
        paths = {"path": str(few_molecules), "pairs": 4000, **dict(data)}
        return parse_config({"data": paths, "network": network, "train": given})

    return make


@pytest.fixture
def training(config):
    def make(**keywords):
        made = config(**keywords)
        return Training(made, Store(made.data.path))

    return make


def batch_of(training, step=0):
    batch = training.loader().at(step)
    return batch, Rng(step, torch.arange(len(batch)))


def stirred(network):
    """Weights as if trained: none of them zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return network


def weights_of(network):
    return torch.cat([weight.detach().flatten().clone() for weight in network.parameters()])


# -- schedule and average


@pytest.mark.parametrize(
    ("decay", "step", "share"),
    [
        ("linear", 0, 0.1),
        ("linear", 9, 1.0),
        ("linear", 10, 1.0),
        ("linear", 55, 0.5),
        ("linear", 99, 1 / 90),
        ("cosine", 10, 1.0),
        ("cosine", 40, 0.75),  # a third of the way: (1 + cos 60 degrees) / 2
        ("cosine", 55, 0.5),
    ],
)
def test_the_learning_rate_warms_up_and_decays(decay, step, share):
    train = TrainConfig(lr=0.2, warmup=0.1, decay=decay)
    length = Length(100)
    each = length.share(step + 1) - length.share(step)
    assert learning_rate(length.share(step), each, train) == pytest.approx(0.2 * share)


def test_the_average_has_a_short_memory_at_first(training):
    """After step 0 it keeps a tenth of what it was, whatever train.ema says; after many steps, train.ema."""
    module = training(ema=0.9)
    start = weights_of(module.average)
    with torch.no_grad():
        for weight in module.network.parameters():
            weight += 1
    module.update_average(0)
    assert torch.allclose(weights_of(module.average), start + 0.9, atol=1e-6)
    module.update_average(10_000)
    assert torch.allclose(weights_of(module.average), start + 0.91, atol=1e-6)


def test_the_average_keeps_what_a_network_counts_and_predicts_as_it_will(training):
    made = training()
    made.network.register_buffer("seen", torch.zeros(()))
    made.average.register_buffer("seen", torch.zeros(()))
    made.network.seen += 3
    made.update_average(0)
    assert made.average.seen == 3
    made.train()
    validation_losses(made)
    assert not made.average.training and made.network.training


def test_steps_follow_from_epochs(training):
    module = training(steps=None, epochs=2.5)
    assert module.total_steps() == round(2.5 * module.batches)
    assert module.total_steps(world=2) == round(1.25 * module.batches)
    assert training(steps=7).total_steps() == 7


# -- batches that are no numbers


@pytest.fixture
def spoilt(monkeypatch):
    """Steps whose loss is NaN."""
    steps, calls = set(), []
    honest = Objective.total

    def total(self, losses):
        if torch.is_grad_enabled() and all(loss.ndim == 0 for loss in losses.values()):  # what a step descends
            calls.append(None)
            if len(calls) in steps:
                return honest(self, losses) * float("nan")
        return honest(self, losses)

    monkeypatch.setattr(Objective, "total", total)
    return steps


def test_a_batch_without_a_finite_loss_is_skipped_and_reported(config, spoilt, monkeypatch, tmp_path, capsys):
    spoilt |= {2, 5}
    seen = []
    step = Training.training_step

    def training_step(self, batch, index):
        step(self, batch, index)
        moments = [entry["exp_avg"].sum().item() for entry in self.optimizers().optimizer.state.values()]
        seen.append((weights_of(self.network), weights_of(self.average), moments))

    monkeypatch.setattr(Training, "training_step", training_step)
    fit(config(), tmp_path / "run", progress=False)
    for skipped in (2, 5):
        (before, average, moments), (after, average_after, moments_after) = seen[skipped - 2 : skipped]
        assert torch.equal(before, after)
        assert torch.equal(average, average_after)
        assert moments == moments_after
    assert not torch.equal(seen[2][0], seen[1][0])
    assert all(weights.isfinite().all() for weights, *_ in seen)
    text = capsys.readouterr().out
    assert "step 2: the loss or its gradient is not finite" in text
    assert "step 5: the loss or its gradient is not finite" in text
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["skipped"] == 2


def test_three_such_batches_in_a_row_stop_with_the_last_good_checkpoint(config, spoilt, tmp_path):
    spoilt |= {4, 5, 6}
    with pytest.raises(UserError, match="three batches in a row .* the last at step 6; what was saved before is kept"):
        fit(config(steps=9, validate=3), tmp_path / "run", progress=False)
    kept = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert kept["steps"] == 3
    assert all(value.isfinite().all() for value in kept["network"].values())


# -- bf16


def test_bf16_trains_and_comes_close_to_fp32(config, tmp_path):
    losses = {}
    for precision in ("fp32", "bf16"):
        run = fit(config(steps=2, precision=precision), tmp_path / precision, progress=False)
        losses[precision] = [float(row["loss"]) for row in run.read_metrics() if row["loss"]]
        kept = torch.load(run.checkpoint, weights_only=True)["network"].values()
        assert all(weight.isfinite().all() and weight.dtype == torch.float32 for weight in kept)
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=5e-3)
    assert losses["bf16"] != losses["fp32"]


def test_under_bf16_coordinates_stay_fp32_and_turn_with_the_molecule(training):
    module = training(precision="bf16", network={**NETWORK, "width": 64, "heads": 4, "layers": 4})
    network = stirred(module.network)
    batch, rng = batch_of(module)
    x = module.model.prior(module.model.vocabulary.encode(batch), rng)
    t = torch.full((len(x),), 0.5)
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    turned = x.replace(pos=x.pos @ turn.T)
    with torch.no_grad():
        exact = network(x, t)["pos"]
        with torch.autocast("cpu", torch.bfloat16):
            rough, rough_turned = network(x, t)["pos"], network(turned, t)["pos"]
    travel = (exact - x.pos).square().mean().sqrt()
    assert rough.dtype == torch.float32
    assert travel > 0.02
    assert (rough - exact).square().mean().sqrt() < 0.05 * travel
    assert (rough @ turn.T - rough_turned).square().mean().sqrt() < 0.02 * travel


def test_bf16_weights_that_a_hint_was_computed_with_still_learn(training):
    """The hint's pass runs without gradients; weights it has cast must not serve the pass that learns."""
    gradients = {}
    for precision in ("fp32", "bf16"):
        module = training(precision=precision)
        module.objective.hint = 1.0
        stirred(module.network)
        batch, rng = batch_of(module)
        module.objective.total(module.losses(module.network, batch, rng)).backward()
        gradients[precision] = torch.cat([weight.grad.flatten() for weight in module.network.parameters()])
    assert torch.cosine_similarity(gradients["fp32"], gradients["bf16"], dim=0) > 0.99


# -- judging


def test_validation_is_one_yardstick_for_all_runs(config):
    """The same weights have the same loss, whatever the seed of the run and the size of its batches."""
    found = []
    for seed, pairs in ((0, 4000), (1, 4000), (0, 1000)):
        made = dataclasses.replace(config(data={"pairs": pairs}), seed=seed)
        module = Training(made, Store(made.data.path))
        numbers = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in module.average.parameters():
                weight.copy_(0.1 * torch.randn(weight.shape, generator=numbers))
        found.append(validation_losses(module))
        assert module.objective.hint == made.loss.hint
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-5)


def test_validation_uses_the_average_and_the_same_noise_each_time(training):
    module = training()
    first = validation_losses(module)
    assert list(first) == ["val_loss", "val_loss_pos", "val_loss_atom", "val_loss_bond"]
    weighted = sum(module.objective.weights[name] * first[f"val_loss_{name}"] for name in ("pos", "atom", "bond"))
    assert first["val_loss"] == pytest.approx(weighted, rel=1e-5)
    stirred(module.network)
    assert validation_losses(module) == first
    stirred(module.average)
    assert validation_losses(module) != first


def test_samples_are_scored_with_the_average(training, monkeypatch):
    from molflow.generate import Model

    module, drew = training(samples=4), []
    sample = Model.sample

    def drawn(self, *args, **keywords):
        drew.append(self.network)
        return sample(self, *args, **keywords)

    monkeypatch.setattr(Model, "sample", drawn)
    scores = sample_scores(module)
    assert drew == [module.average]
    assert set(scores) == {"edm_molecule_stable", "strict_valid"}
    assert all(0 <= value <= 100 for value in scores.values())
    assert module.model.network is module.network


def test_samples_that_a_protocol_cannot_judge_leave_its_column_empty(training, monkeypatch):
    """Atoms without bonds are none of strict's."""
    from molflow.batch import Batch
    from molflow.generate import Model

    water = Batch.of_sizes([3]).replace(atom=torch.tensor([[8, 1, 1]]), charge=torch.zeros(1, 3).long())
    monkeypatch.setattr(Model, "sample", lambda *args, **keywords: water)
    assert set(sample_scores(training(samples=1))) == {"edm_molecule_stable"}


def test_the_best_model_is_the_one_with_the_lowest_validation_loss(config, tmp_path, monkeypatch):
    from molflow.training import journal

    losses = iter([{"val_loss": 3.0}, {"val_loss": 1.0}, {"val_loss": 2.0}])
    monkeypatch.setattr(journal, "validation_losses", lambda module: next(losses))
    run = fit(config(validate=3), tmp_path / "run", progress=False)
    card = json.loads((run.folder / "config.json").read_text())
    assert card["provenance"]["steps"] == 4
    assert torch.load(run.checkpoint, weights_only=True)["best"] == 1.0
    assert [row["val_loss"] for row in run.read_metrics() if row["val_loss"]] == ["3.0", "1.0", "2.0"]


def test_a_run_whose_loss_was_never_a_number_says_that_it_has_no_model(config, tmp_path, monkeypatch):
    from molflow.training import journal

    monkeypatch.setattr(journal, "validation_losses", lambda module: {"val_loss": float("nan")})
    with pytest.raises(UserError, match=r"has no model: its validation loss was no number.*train\.lr"):
        fit(config(), tmp_path / "run", progress=False)


@pytest.fixture
def alcohols(few_molecules, tmp_path):
    """Of the few molecules those that are of H, C, O without charge and without triple bonds."""
    store = Store(few_molecules)
    with StoreWriter(tmp_path / "alcohols.safetensors", source="a part of the few") as out:
        for i in range(len(store)):
            mol = store.batch([i])
            plain = not mol.charge.any() and mol.bond.max() <= 2 and set(mol.atom.unique().tolist()) <= {1, 6, 8}
            if plain:
                a, b = mol.bond[0].triu().nonzero().T.tolist()
                bonds = [[x, y, int(mol.bond[0, x, y])] for x, y in zip(a, b)]
                out.add(mol.atom[0], mol.pos[0], mol.charge[0], bonds, split=i % 2, smiles=store.smiles(i))
    return tmp_path / "alcohols.safetensors"


def test_a_run_on_fewer_kinds_begins_with_the_labels_of_its_model(config, begun, alcohols, few_molecules, tmp_path):
    """As where a model of QM9 goes on with molecules of one's own; the other way there are labels without weights."""
    known, own = read_card(begun).facts.vocabulary, Facts.of(Store(alcohols), config()).vocabulary
    assert own.beyond(known) == [] and known.beyond(own)
    given = config(init=begun, steps=2)
    on = dataclasses.replace(given, data=dataclasses.replace(given.data, path=str(alcohols)))
    run = fit(on, tmp_path / "run", progress=False)
    assert read_card(run.folder).facts.vocabulary == known
    assert len(load(run.folder, "cpu").sample(3, steps=2)) == 3
    fewer = fit(dataclasses.replace(on, train=config(steps=2).train), tmp_path / "fewer", progress=False)
    assert read_card(fewer.folder).facts.vocabulary == own
    more = fit(config(init=str(fewer.folder), steps=2), tmp_path / "more", progress=False)
    grown = read_card(more.folder).facts.vocabulary
    assert grown.atoms[: len(own.atoms)] == own.atoms and not known.beyond(grown)
    assert len(load(more.folder, "cpu").sample(3, steps=2)) == 3
    with pytest.raises(UserError, match=r"knows no .*, which the data hold, and network 'egnn' is another; leave out"):
        fit(config(init=str(fewer.folder), network="egnn"), tmp_path / "other", progress=False)


def test_a_run_goes_on_when_the_model_that_it_began_with_is_gone(config, begun, alcohols, tmp_path):
    init = tmp_path / "init"
    shutil.copytree(begun, init)
    given = config(init=str(init), steps=2)
    on = dataclasses.replace(given, data=dataclasses.replace(given.data, path=str(alcohols)))
    run = fit(on, tmp_path / "run", progress=False)
    shutil.rmtree(init)
    longer = dataclasses.replace(on, train=config(init=str(init), steps=4).train)
    assert fit(longer, run.folder, resume=True, progress=False).read_metrics()[-1]["step"] == "4"


def test_a_model_with_another_prior_says_so(config, begun, tmp_path):
    changed = dataclasses.replace(config(init=str(begun)), prior={**config().prior, "atom": "mask"})
    with pytest.raises(UserError, match="give the run that model's: 'prior=") as said:
        fit(changed, tmp_path / "run", progress=False)
    assert "network=" not in str(said.value)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_cpu_has_no_number(config, device, tmp_path):
    fit(config(device=device, steps=1), tmp_path / "run", progress=False)


def test_without_git_a_run_is_of_no_revision(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "revision" not in made_with()


# -- the rehearsal


def test_a_dry_run_tells_what_a_run_would_take_and_writes_nothing(config, tmp_path, monkeypatch, capsys):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config(steps=600).to_dict()))
    monkeypatch.setattr(rehearsal, "_seconds", lambda *_: 0.25)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "c.yaml", "--dry-run", "--out", "run"]) == 0
    told = dict(line.strip().split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert told["expected time"] == "2.5 minutes at 250 ms a step, besides validation"
    assert told["molecules"] == "48 to train on, 6 to validate"
    assert told["atom kinds"] == "H C N O F"
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


def test_a_dry_run_times_whole_steps_on_cheap_and_dear_batches(config):
    """Its time a step is near what steps then take."""
    import re
    import time

    made = config(network={**NETWORK, "width": 64, "layers": 4})
    each = float(re.search(r"(\d+) ms a step", dry_run(made)["expected time"])[1])
    module = Training(made, Store(made.data.path))
    optimizer, seconds = module.configure_optimizers(), []
    for step in range(12):
        batch, rng = batch_of(module, step)
        started = time.perf_counter()
        module.descend(optimizer, batch, rng)
        seconds.append(time.perf_counter() - started)
    assert 1 / 4 < each / (1e3 * sum(seconds) / len(seconds)) < 4  # the machine may be busy


# -- parts that learn


@pytest.fixture
def begun(config, tmp_path):
    """A model to begin with."""
    fit(config(), tmp_path / "begun")
    return str(tmp_path / "begun")


def test_parts_that_are_not_named_stay_as_they_began(config, begun, tmp_path):
    named = ["told", "layers.1"]
    fit(config({**NETWORK, "census": True}, init=begun, only=named, optimizer="muon"), tmp_path / "run")
    before, after = (read_weights(Path(folder)) for folder in (begun, tmp_path / "run"))
    learnt = {name for name in after if name not in before or not torch.equal(after[name], before[name])}
    assert {name.rpartition(".")[0].split(".")[0] for name in learnt} == {"told", "layers"}
    assert all(name.startswith(("told.", "layers.1.")) for name in learnt)


def test_only_parts_of_a_network_that_began_somewhere_can_learn(config, training):
    with pytest.raises(UserError, match=r"train.only=\[told\] leaves the other parts as they begin.*train.init"):
        config(only=["told"])
    with pytest.raises(UserError, match="unknown part of the network in train.only 'layer'.*did you mean 'layers'"):
        training(init="small", only=["layer"])
