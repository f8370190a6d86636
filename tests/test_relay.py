"""Models joined into one: each goes its stretch of the way."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from molflow.batch import Batch
from molflow.checkpoint import CONFIG, WEIGHTS, load, read_card, save
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import parse_config
from molflow.data.formulas import Formulas
from molflow.data.sizes import Sizes
from molflow.facts import Facts
from molflow.rng import Rng
from molflow.solvers.integrate import integrate
from molflow.solvers.multistep import Multistep
from molflow.solvers.schedule import grid

FACTS = Facts(Vocabulary(("H", "C", "O"), (), (0, 1, 2)), Sizes({5: 1, 6: 1}), 1.5, 3, formulas=Formulas({"CH4": 1}))
NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}


@pytest.fixture
def make(tmp_path, stirred):
    """(name, seed, **what differs) -> the folder of a model as if trained."""

    def made(name, seed, facts=FACTS, **changes):
        values = {"data": {"fields": ["pos", "atom", "bond"]}, "network": NETWORK, **changes}
        config = parse_config({"sample": {"steps": 6, "solver": "multistep"}, **values})
        save(
            tmp_path / name,
            stirred(config, facts, seed, by=0.2).network.state_dict(),
            config,
            facts,
            {"molecules": seed},
        )
        return str(tmp_path / name)

    return made


def sampled(model, **options):
    batch = load(model, "cpu").sample(5, seed=2, **options)
    return [getattr(batch, name) for name in ("pos", "atom", "bond")]


def test_a_model_joined_with_itself_samples_what_it_samples(make, tmp_path, capsys):
    a = make("a", 1)
    assert main(["relay", a, a, a, "--at", "0.3,0.6", "--out", str(tmp_path / "b")]) == 0
    assert "molflow sample" in capsys.readouterr().out
    assert all(map(torch.equal, sampled(a), sampled(tmp_path / "b")))


def test_learned_times_go_with_the_weights_they_were_learned_for(make, tmp_path, capsys):
    tuned, whole, taken = make("a", 1), str(tmp_path / "whole"), str(tmp_path / "part")
    assert main(["tune", tuned, "--steps", "6", "--n", "4", "--grid", "learned"]) == 0
    assert main(["relay", tuned, make("b", 2), "--at", "0.5", "--out", whole]) == 0
    assert f"{whole} has quadratic ones" in capsys.readouterr().err
    assert main(["relay", whole, "--part", "0.2", "--out", taken]) == 0
    assert sampled(whole) and sampled(taken)


def test_a_leg_is_the_models_own_until_it_hands_over(make, tmp_path):
    """The state at the hand-over is the first model's, and what comes of it from there the second's."""
    a, b = make("a", 1), make("b", 2, path={"pos": {"name": "linear", "cap": 1000}, "atom": "jump", "bond": "jump"})
    assert main(["relay", a, b, "--at", "0.5", "--out", str(tmp_path / "both")]) == 0
    ways = {}
    for name in ("a", "b", "both"):
        model, rng = load(tmp_path / name, "cpu"), Rng(2, torch.arange(5))
        way = ways[name] = {}
        noise = model.prior(Batch.of_sizes([5, 6, 6, 5, 6]), rng)
        integrate(
            model.flow(), noise, grid("linear", 4), Multistep(), rng, lambda t, x, way=way: way.update({t: x.pos})
        )
    for t, same in ((0.25, True), (0.5, True), (0.75, False), (1.0, False)):
        assert torch.equal(ways["both"][t], ways["a"][t]) == same
        assert not torch.equal(ways["both"][t], ways["b"][t])


def test_the_card_tells_what_each_leg_was_trained_with(make, tmp_path, capsys):
    a, b = make("a", 1, times="uniform"), make("b", 2, train={"lr": 0.25})
    assert main(["relay", a, b, "--at", "0.5", "--out", str(tmp_path / "c")]) == 0
    first, second = read_card(tmp_path / "c").provenance["legs"]
    assert (first["model"], first["start"], first["config"]["times"], first["molecules"]) == ("a", 0, "uniform", 1)
    assert (second["model"], second["start"], second["config"]["train"]["lr"]) == ("b", 0.5, 0.25)
    capsys.readouterr()
    assert main(["info", str(tmp_path / "c")]) == 0
    told = capsys.readouterr().out
    assert "relay(runners=[2 x dense(width=16" in told and "from 0 " in told and "from 0.5" in told


@pytest.mark.parametrize(("t", "name"), [(0, "a"), (0.5, "b"), (1, "b")])
def test_a_part_is_the_model_that_was_joined(make, tmp_path, t, name):
    """Its weights, its samples and its card."""
    given = {"a": make("a", 1, times="uniform"), "b": make("b", 2)}
    both, out = str(tmp_path / "both"), tmp_path / "part"
    assert main(["relay", *given.values(), "--at", "0.5", "--out", both]) == 0
    assert main(["relay", both, "--part", str(t), "--out", str(out)]) == 0
    assert all(map(torch.equal, sampled(out), sampled(given[name])))
    ours, theirs = read_card(out), read_card(given[name])
    assert (ours.config, ours.facts, ours.provenance) == (theirs.config, theirs.facts, theirs.provenance)


def test_a_part_of_networks_trained_together_has_their_card(make, tmp_path):
    both = make("both", 1, network={"name": "relay", "runners": [NETWORK, {**NETWORK, "width": 8}], "starts": [0, 0.5]})
    assert main(["relay", both, "--part", "0.7", "--out", str(tmp_path / "late")]) == 0
    card, weights = read_card(tmp_path / "late"), load(tmp_path / "late", "cpu").network.state_dict()
    assert (card.config.network, card.provenance) == ({**NETWORK, "width": 8}, read_card(both).provenance)
    theirs = load(both, "cpu").network.state_dict()
    assert all(torch.equal(theirs[f"runners.1.{name}"], weight) for name, weight in weights.items())


def test_what_is_no_part_is_refused(make, tmp_path, capsys):
    a, both, out = make("a", 1), str(tmp_path / "both"), str(tmp_path / "c")
    assert main(["relay", a, make("b", 2), "--at", "0.5", "--out", both]) == 0
    for given, says in (
        ([a, "--part", "0.5"], "is one network"),
        ([both, "--part", "1.5"], "times go from 0"),
        ([both, a, "--part", "0.5"], "give it that one"),
        ([both, "--at", "0.5", "--part", "0.5"], "no --at"),
    ):
        assert main(["relay", *given, "--out", out]) == 2
        assert says in capsys.readouterr().err


def test_a_joined_model_trains_on(make, tmp_path, root, capsys):
    """On data of its own kind, as the first weights of a run with its network."""
    small = f"data.path={root / 'data' / 'small.safetensors'}"
    short = [str(root / "configs" / "small.yaml"), small, "train.steps=2", "train.samples=0", "data.pairs=400"]
    for name in ("a", "b"):
        assert main(["train", *short, f"network={json.dumps(NETWORK)}", "--out", str(tmp_path / name)]) == 0
    both = str(tmp_path / "both")
    assert main(["relay", str(tmp_path / "a"), str(tmp_path / "b"), "--at", "0.5", "--out", both]) == 0
    network = f"network={json.dumps(read_card(both).config.network)}"
    assert main(["train", *short, network, f"train.init={both}", "--out", str(tmp_path / "c")]) == 0
    before, after = (load(tmp_path / name, "cpu").network.state_dict() for name in ("both", "c"))
    assert before.keys() == after.keys() and not all(torch.equal(before[name], after[name]) for name in before)


def test_a_damaged_model_is_named(make, tmp_path, capsys):
    a, b = make("a", 1), make("b", 2)
    whole = (tmp_path / "b" / WEIGHTS).read_bytes()
    (tmp_path / "b" / WEIGHTS).write_bytes(whole[:-8])
    assert main(["relay", a, b, "--at", "0.5", "--out", str(tmp_path / "c")]) == 2
    told = capsys.readouterr().err
    assert str(tmp_path / "b") in told and not (tmp_path / "c").exists()


def test_the_rounding_of_another_machine_is_no_other_data(make, tmp_path):
    a = make("a", 1, facts=replace(FACTS, law=(0.7207419364218757, 0.22)))
    b = make("b", 2, facts=replace(FACTS, law=(0.7207419364218753, 0.22), scale=1.5 + 1e-15))
    assert main(["relay", a, b, "--at", "0.5", "--out", str(tmp_path / "c")]) == 0


OTHERS = {
    "data": {"facts": Facts(FACTS.vocabulary, Sizes({9: 1}), 1.5, 3)},
    "coupling": {"coupling": ["independent"]},
    "path": {"path": {"pos": "trigonometric", "atom": "jump", "bond": "jump"}},
    "prior": {"prior": {"pos": {"name": "gaussian", "scale": 9.0}, "atom": "uniform", "bond": "uniform"}},
    "hints": {"loss": {"hint": 0.0}},
}


@pytest.mark.parametrize("what", OTHERS)
def test_models_of_other_ways_are_refused(make, tmp_path, capsys, what):
    a, b = make("a", 1), make("b", 2, **OTHERS[what])
    assert main(["relay", a, b, "--at", "0.5", "--out", str(tmp_path / "c")]) == 2
    told = capsys.readouterr().err
    assert what in told and b in told and not (tmp_path / "c").exists()


@pytest.mark.parametrize("at", ["", "0", "1", "0.5,0.6", "-0.1", "nan"])
def test_wrong_times_are_told_and_nothing_is_written(make, tmp_path, capsys, at):
    a = make("a", 1)
    assert main(["relay", a, a, f"--at={at}", "--out", str(tmp_path / "c")]) == 2
    assert "--at" in capsys.readouterr().err and not (tmp_path / "c").exists()


def test_what_is_there_stays_unless_asked(make, tmp_path, capsys):
    a, b = make("a", 1), make("b", 2)
    before = json.loads((tmp_path / "b" / CONFIG).read_text()), (tmp_path / "b" / WEIGHTS).read_bytes()
    c = make("c", 3)
    for out, more in ((b, []), (b, ["--overwrite"])):
        assert main(["relay", a, b, "--at", "0.5", "--out", out, *more]) == 2
    assert before == (json.loads((tmp_path / "b" / CONFIG).read_text()), (tmp_path / "b" / WEIGHTS).read_bytes())
    assert main(["relay", a, b, "--at", "0.5", "--out", c]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["relay", a, b, "--at", "0.5", "--out", c, "--overwrite"]) == 0
    assert read_card(c).config.network["name"] == "relay"
