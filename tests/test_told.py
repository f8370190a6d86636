"""A network that is told what a molecule is to have: in training, in sampling, in what is saved."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import molflow
from molflow import jobs
from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import CONFIG, WEIGHTS, keep_leans, load, read_card, save
from molflow.chem.census import CENSUS, take, width
from molflow.chem.formula import parse
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import parse_config
from molflow.data import censuses
from molflow.data.censuses import Censuses
from molflow.data.formulas import Formulas
from molflow.data.sizes import Sizes
from molflow.experiment import make_model, make_objective
from molflow.facts import Facts
from molflow.lineage import begin_from
from molflow.relay import join
from molflow.rng import Rng
from molflow.sampling import Sampling

VOCABULARY = Vocabulary(("H", "C", "N"), (), (0, 1, 2))


def table(rows):
    """Censuses by their first numbers; of the others these molecules have nothing."""
    rest = width(VOCABULARY.classes)
    weights = {" ".join((text.split() + ["0"] * rest)[:rest]): weight for text, weight in rows.items()}
    return Censuses(weights, atoms=3)


TABLE = table({"2 1 1 3 0": 3, "1 2 1 3 0": 1, "3 2 0 4 0": 2})
FORMULAS = Formulas({"CH3": 1, "C2H3": 1})
FACTS = Facts(VOCABULARY, Sizes({4: 3, 5: 2}), 1.5, 3, formulas=FORMULAS, censuses=TABLE)
NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1, "census": True}


def config(**network):
    return parse_config({"network": {**NETWORK, **network}})


@pytest.fixture
def model(stirred):
    return stirred(config(), FACTS, 0, by=0.2)


def watched(model):
    """What the network is told, evaluation by evaluation."""
    told = []
    model.network.register_forward_pre_hook(lambda _, given: told.append(given[0].props.get(CENSUS)))
    return told


def same(a, b):
    n = int(a.sizes.max())
    return torch.equal(a.atom, b.atom[:, :n]) and float((a.pos - b.pos[:, :n]).abs().max()) < 1e-4


def test_a_sample_is_told_the_census_of_its_number_at_every_evaluation(model):
    told = watched(model)
    batch = model.sample(1, seed=5, steps=4)
    expected = TABLE.at(5, [0], model.sizes.at(5, [0]))
    assert len(told) == 4 and all(torch.equal(census, torch.from_numpy(expected)) for census in told)
    assert not batch.props, "what it was told is no property of the molecule"


def test_a_told_molecule_does_not_depend_on_how_many_are_made(model):
    many = model.sample(20, steps=4, seed=1)
    assert same(model.sample(6, steps=4, seed=1), many[:6])
    assert same(model.sample_ids(np.array([13, 5]), 1, Sampling(steps=4)), many[[13, 5]])


def test_what_is_told_changes_what_is_made(model):
    before = model.sample(8, steps=4, seed=0)
    model.censuses = table({"1 2 1 3 0": 1, "3 2 0 4 0": 1})
    assert not same(before, model.sample(8, steps=4, seed=0))


def test_elements_are_turned_towards_the_formula_that_was_told(model):
    """And not towards another one, drawn from the table of formulas."""
    ids, sizes = np.arange(9), np.array([4, 5, 4, 4, 4, 5, 4, 4, 4])
    how = Sampling(composition=4.0)
    wanted = model.asked(None, how)
    like = model.empty(wanted, 2, ids, sizes)
    steer = model.steering(wanted, how, 2, ids, sizes, like)
    assert torch.equal(steer.counts, like.props[CENSUS][:, :3].float())


def test_a_model_without_a_table_tells_nothing(model):
    model.censuses, told = Censuses(), watched(model)
    model.sample(3, steps=2, seed=0)
    assert told == [None, None] or all(census is None for census in told)


def test_most_training_molecules_tell_what_they_have():
    model = make_model(config(), FACTS)
    objective = make_objective(config(), model)
    n = 3000
    x = Batch.of_sizes([4] * n)
    x = x.replace(atom=torch.randint(3, (n, 4)), bond=torch.randint(3, (n, 4, 4))).tidy()
    _, told = objective.pair(x, Rng(0, torch.arange(n)))
    census = told.props[CENSUS]
    silent = (census < 0).all(1)
    assert 0.08 < float(silent.float().mean()) < 0.12
    assert torch.equal(census[~silent], take(told, VOCABULARY.classes)[~silent])


def test_the_noise_of_a_network_that_is_told_is_that_of_one_that_is_not():
    told, untold = (make_objective(c, make_model(c, FACTS)) for c in (config(), config(census=False)))
    x = Batch.of_sizes([4, 5]).replace(atom=torch.zeros(2, 5).long(), bond=torch.zeros(2, 5, 5).long()).tidy()
    streams = [Rng(0, torch.arange(2)) for _ in range(2)]
    (a, first), (b, second) = (objective.pair(x, rng) for objective, rng in zip((told, untold), streams))
    assert CENSUS in a.props and CENSUS in first.props and not b.props and not second.props
    assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("pos", "atom", "bond"))
    assert streams[0].draw == streams[1].draw


def test_the_table_is_saved_with_the_model(model, tmp_path):
    save(tmp_path / "m", model.network.state_dict(), config(), FACTS, {})
    assert read_card(tmp_path / "m").facts == FACTS
    assert same(load(tmp_path / "m", "cpu").sample(4, steps=3, seed=1), model.sample(4, steps=3, seed=1))


def test_weights_that_were_never_told_begin_a_network_that_is(tmp_path, stirred):
    plain = config(census=False)
    before = stirred(plain, FACTS, 3, by=0.2)
    save(tmp_path / "m", before.network.state_dict(), plain, FACTS, {})
    after = make_model(config(), FACTS)
    begin_from(tmp_path / "m", after.network, FACTS, config())
    assert same(after.sample(4, steps=3, seed=1), before.sample(4, steps=3, seed=1))


def test_a_relay_may_be_told_on_one_leg_alone(tmp_path, stirred):
    for name, census, facts in (("a", True, FACTS), ("b", False, Facts.from_dict({**FACTS.to_dict(), "censuses": {}}))):
        spoken = config(census=census)
        save(tmp_path / name, stirred(spoken, facts, 1, by=0.2).network.state_dict(), spoken, facts, {})
    for order in ("ab", "ba"):
        out = join([tmp_path / name for name in order], [0.5], tmp_path / order)
        model = load(out, "cpu")
        assert model.network.census and model.censuses == TABLE
        told = watched(model)
        model.sample(2, steps=2, seed=0, atoms=5)
        assert all(census is not None for census in told)


def test_a_run_keeps_what_its_molecules_have_and_is_told_it(root, tmp_path, capsys):
    run = str(tmp_path / "run")
    small = [f"network.{key}={value}" for key, value in NETWORK.items() if key not in ("name", "census")]
    line = ["train", str(root / "configs/small.yaml"), f"data.path={root / 'data/small.safetensors'}"]
    assert main([*line, *small, "network.census=true", "train.steps=2", "train.samples=0", "--out", run]) == 0
    model = load(run, "cpu")
    rows = np.array([[int(number) for number in text.split()] for text in model.censuses.weights])
    assert rows.shape[1] == width(model.vocabulary.classes)
    assert set(rows[:, : model.censuses.atoms].sum(1).tolist()) == set(model.sizes.weights)
    assert sum(model.censuses.weights.values()) == sum(model.sizes.weights.values())
    capsys.readouterr()
    assert main(["info", run]) == 0
    assert f"{len(rows):,} of the training molecules" in capsys.readouterr().out
    assert len(molflow.load(run).sample(2, steps=2, seed=0)) == 2


def test_too_many_to_keep_are_a_mistake_that_is_told(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(censuses, "MOST", 3)
    line = [
        "train",
        str(root / "configs/small.yaml"),
        f"data.path={root / 'data/small.safetensors'}",
        "network.census=true",
    ]
    assert main([*line, "--out", str(tmp_path / "run")]) == 2
    assert "keeps at most 3; leave it out" in capsys.readouterr().err
    assert not (tmp_path / "run" / CONFIG).exists()


def test_older_cards_have_no_table(model, tmp_path):
    save(tmp_path / "m", model.network.state_dict(), config(), FACTS, {})
    card = json.loads((tmp_path / "m" / CONFIG).read_text())
    del card["censuses"]
    (tmp_path / "m" / CONFIG).write_text(json.dumps(card))
    assert not load(tmp_path / "m", "cpu").censuses


def test_points_are_told_nothing(root, tmp_path, capsys):
    line = [
        "train",
        str(root / "configs/small.yaml"),
        f"data.path={root / 'data/small.safetensors'}",
        "network.census=true",
    ]
    assert main([*line, "data.fields=[pos]", "--out", str(tmp_path / "run")]) == 2
    assert "points without labels" in capsys.readouterr().err
    with pytest.raises(UserError, match="points without labels"):
        make_model(parse_config({"data": {"fields": ["pos"]}, "network": NETWORK}), FACTS)


def test_a_formula_that_is_asked_for_is_told(model):
    told = watched(model)
    batch = model.sample(6, seed=0, steps=2, atoms="C2H3")
    assert batch.sizes.tolist() == [5] * 6
    assert all(census[:, :3].tolist() == [[3, 2, 0]] * 6 for census in told)
    told.clear()
    model.sample(3, seed=0, steps=2, atoms="CH3", composition=4.0)
    assert all(census is None for census in told), "of molecules that training did not see nothing is known"


def test_elements_are_turned_towards_the_formula_that_is_asked_for(model):
    how = Sampling(composition=4.0)
    wanted = model.asked("CH2N", how)
    ids, sizes = np.arange(3), np.full(3, 4)
    for network_reads in (True, False):
        model.network.census = network_reads
        steer = model.steering(wanted, how, 0, ids, sizes, model.empty(wanted, 0, ids, sizes))
        assert steer.counts.tolist() == [[2, 1, 1]] * 3


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        ("C2H5O", "C2H5O has O, and this model knows H, C, N"),
        ("C2H", "composition 0 leaves the formula C2H to chance"),
        ("C2Hx", "'C2Hx' is no formula"),
    ],
)
def test_a_formula_that_cannot_be_made_is_a_mistake(model, atoms, message):
    with pytest.raises(UserError, match=message):
        model.sample(2, steps=2, atoms=atoms, composition=0)


def test_a_formula_that_is_asked_for_pulls_unless_it_is_told_not_to():
    fast = molflow.load("qm9-fast")
    assert fast.defaults.composition == 0 and fast.how("C7H10O2").composition > 0 == fast.how("12").composition
    made = fast.sample(20, atoms="C7H10O2")
    exact = sum(Counter(row[here].tolist()) == parse("C7H10O2") for row, here in zip(made.atom, made.mask))
    assert exact >= 7  # of chance one has it


def test_the_command_makes_molecules_of_a_formula(tmp_path, capsys):
    out = str(tmp_path / "isomers.xyz")
    assert (
        main(["sample", "small", "--n", "3", "--steps", "2", "--atoms", "C4H8O", "--composition", "4", "--out", out])
        == 0
    )
    assert Path(out).read_text().splitlines()[:: 13 + 2] == ["13"] * 3
    lines = Path(out).read_text().splitlines()
    atoms = [Counter(line.split()[0] for line in lines[k + 2 : k + 15]) for k in (0, 15, 30)]
    exact = sum(frame == {"C": 4, "H": 8, "O": 1} for frame in atoms)
    assert f"{exact} of them are C4H8O" in capsys.readouterr().out
    assert main(["sample", "small", "--n", "3", "--atoms", "C4H8O", "--composition", "0", "--out", out + ".sdf"]) == 2
    assert "leaves the formula C4H8O to chance" in capsys.readouterr().err


def test_a_student_and_its_teacher_are_told_the_same(stirred):
    teacher, spec = stirred(config(), FACTS, 1, by=0.2), config()
    lesson = replace(spec, objective={"name": "distill", "steps": [4], "fine": 3})
    student = stirred(lesson, FACTS, 2, by=0.2)
    objective = make_objective(lesson, student, teacher)
    told, heard = watched(student), watched(teacher)
    x = Batch.of_sizes([4, 5]).replace(atom=torch.zeros(2, 5).long(), bond=torch.zeros(2, 5, 5).long()).tidy()
    objective.each(student.network, x, Rng(0, torch.arange(2)))
    assert told and heard
    assert all(torch.equal(census, told[0]) for census in (*told, *heard))


def leaning(**numbers):
    """A lean by its first numbers, c of carbon and n of nitrogen."""
    return [0.0, numbers.get("c", 0.0), numbers.get("n", 0.0), *[0.0] * (width(VOCABULARY.classes) - 3)]


def test_what_is_told_leans_as_learned_of_as_many_steps(model):
    model.leans = {4: leaning(c=3.0), 16: leaning(c=-3.0)}
    assert model.asked(None, Sampling(steps=2)).censuses == TABLE, "few steps err otherwise"
    for steps, lean in ((4, 3.0), (8, 0.0), (16, -3.0), (99, -3.0)):
        censuses = model.asked(None, Sampling(steps=steps)).censuses
        assert censuses.lean == pytest.approx(leaning(c=lean)) and censuses.weights == TABLE.weights
    four = np.full(400, 4)
    shares = [
        (model.asked(None, Sampling(steps=steps)).censuses.at(0, np.arange(400), four)[:, 1] == 2).mean()
        for steps in (4, 8, 16)
    ]
    assert shares[0] > 0.8 > 0.4 > shares[1] > 0.1 > 0.05 > shares[2]


def test_leans_are_kept_with_the_model(model, tmp_path):
    save(tmp_path / "m", model.network.state_dict(), config(), FACTS, {}, leans={3: leaning(n=0.5)})
    keep_leans(tmp_path / "m", {8: leaning(c=0.25)})
    again = load(tmp_path / "m", "cpu")
    assert again.leans == {3: tuple(leaning(n=0.5)), 8: tuple(leaning(c=0.25))}
    assert again.censuses == TABLE and read_card(tmp_path / "m").facts == FACTS
    model.leans = again.leans
    assert same(again.sample(6, steps=3, seed=1), model.sample(6, steps=3, seed=1))


def test_a_damaged_lean_is_told(model, tmp_path):
    save(tmp_path / "m", model.network.state_dict(), config(), FACTS, {}, leans={3: leaning()[:-1]})
    with pytest.raises(UserError, match="the lean of its censuses is missing or wrong"):
        load(tmp_path / "m", "cpu")


def test_a_relay_has_none_of_its_parts_leans(model, tmp_path):
    """They were learned of those parts' own molecules."""
    save(tmp_path / "m", model.network.state_dict(), config(), FACTS, {}, leans={3: leaning(c=1.0)})
    assert not load(join([tmp_path / "m"] * 2, [0.5], tmp_path / "joined"), "cpu").leans


@pytest.fixture
def folder(model, tmp_path):
    save(tmp_path / "m", model.network.state_dict(), config(), FACTS, {})
    return tmp_path / "m"


def tell(folder, *options):
    return main(["tell", str(folder), "--n", "120", "--seed", "1", "--device", "cpu", *options])


def test_the_command_learns_what_to_tell(folder, capsys):
    assert tell(folder, "--steps", "2,3", "--workers", "0") == 0
    said = capsys.readouterr().out
    assert "config.json written; try: molflow sample" in said and said.count("now told") == 2
    first = load(folder, "cpu")
    assert sorted(first.leans) == [2, 3] and any(first.leans[2])
    assert [path.name for path in sorted(folder.iterdir())] == [CONFIG, WEIGHTS]
    assert main(["info", str(folder)]) == 0
    assert "leaning as learned of 2, 3 steps" in capsys.readouterr().out


def test_a_copy_is_told_in_the_place_of_the_model(folder, tmp_path, capsys):
    before, copy = (folder / CONFIG).read_bytes(), tmp_path / "copy"
    assert tell(folder, "--steps", "2", "--workers", "0", "--out", str(copy)) == 0
    assert f"{copy / CONFIG} written" in capsys.readouterr().out
    assert [path.name for path in sorted(copy.iterdir())] == [CONFIG, WEIGHTS]
    assert sorted(load(copy, "cpu").leans) == [2] and (folder / CONFIG).read_bytes() == before


def test_shards_and_workers_do_not_change_what_is_learned(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    assert tell(folder, "--steps", "2", "--workers", "0") == tell(tmp_path / "other", "--steps", "2", "--workers", "2")
    assert load(folder, "cpu").leans == load(tmp_path / "other", "cpu").leans


def test_a_model_that_is_told_nothing_learns_nothing(folder, capsys):
    before = (folder / CONFIG).read_bytes()
    assert main(["tell", "qm9", "--n", "2", "--out", str(folder.parent / "copy")]) == 2
    assert "qm9 is told nothing" in capsys.readouterr().err
    assert tell(folder, "--steps", "0") == 2
    assert main(["tell", str(folder), "--n", "0"]) == 2
    assert (folder / CONFIG).read_bytes() == before


def test_what_was_drawn_before_it_was_killed_is_not_drawn_again(folder, monkeypatch, capsys):
    drawn, whole, most = [], jobs.draw, 3

    def draw(job, ids):
        if len(drawn) == most:
            raise UserError("killed")
        drawn.append((job.how.steps, int(ids[0])))
        return whole(job, ids)

    monkeypatch.setattr(jobs, "draw", draw)
    assert tell(folder, "--steps", "2,3", "--workers", "0") == 2
    assert not load(folder, "cpu").leans
    assert "the others are kept in" in capsys.readouterr().err
    assert tell(folder, "--steps", "2,3", "--workers", "0", "--n", "7") == 2
    assert "holds parts of another job" in capsys.readouterr().err
    most = 9
    assert tell(folder, "--steps", "2,3", "--workers", "0") == 0
    assert drawn == [(2, 0), (2, 100), (3, 0), (3, 100)]
