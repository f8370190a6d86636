"""Pairs of noise and sample: complete, unbiased, paired still when they are trained on, and straightening."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from molflow import jobs, reflow
from molflow.analysis.straightness import straightness
from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import load, read_card, save
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import parse_config, read_config
from molflow.data.loader import Loader
from molflow.data.sizes import Sizes
from molflow.data.store import Store
from molflow.data.toys import make_toy
from molflow.experiment import make_model, make_objective
from molflow.facts import Facts
from molflow.rng import Rng
from molflow.training import fit

N, SEED = 130, 4  # a shard of a hundred and one of thirty
FACTS = Facts(Vocabulary(("H", "C", "N+", "O-"), (), (0, 1, 2, 3)), Sizes({1: 1, 5: 3, 6: 2}), 1.5, 3)
VALUES = {
    "network": {"name": "dense", "width": 8, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1},
    "sample": {"steps": 2},
    "train": {"steps": 1, "samples": 0, "validate": 1},
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A network that knows no chemistry: bonds that no atom could have, charges that no molecule has."""
    folder = tmp_path_factory.mktemp("reflow") / "teacher"
    config = parse_config(VALUES)
    torch.manual_seed(0)
    network = make_model(config, FACTS).network
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight += (0.4 if "heads" in name else 0.1) * torch.randn_like(weight)
    save(folder, network.state_dict(), config, FACTS, {})
    return folder


def make(teacher, out, *options) -> int:
    line = ["reflow", str(teacher), "--pairs", str(N), "--seed", str(SEED), "--out", str(out), "--device", "cpu"]
    return main([*line, *([] if "--workers" in options else ["--workers", "1"]), *options])


@pytest.fixture(scope="module")
def pairs(teacher, tmp_path_factory):
    out = tmp_path_factory.mktemp("pairs") / "pairs.safetensors"
    assert make(teacher, out) == 0
    return Store(out)


def test_every_sample_is_there_exactly_as_it_was_made(teacher, pairs):
    model = load(teacher, "cpu")
    shards = (np.arange(100), np.arange(100, N))
    made = Batch.cat([model.sample_ids(ids, SEED, model.defaults) for ids in shards])
    assert pairs.props("pair").tolist() == list(range(N))
    read = pairs.batch(range(N))
    for name in ("pos", "mask", "atom", "charge", "bond"):
        assert torch.equal(getattr(read, name), getattr(made, name)), name
    assert len(made.bond.unique()) > 2
    assert len(made.charge.unique()) > 1


def test_a_student_of_pairs_of_some_sizes_makes_those_sizes(teacher, tmp_path):
    out = tmp_path / "six.safetensors"
    assert make(teacher, out, "--atoms", "6") == 0
    store = Store(out)
    assert set(store.sizes.tolist()) == {6}
    assert set(Facts.of(store, parse_config(VALUES)).sizes.weights) == {6}


def test_it_says_what_made_it(teacher, pairs):
    meta, card = pairs.meta, read_card(teacher)
    assert (meta["seed"], meta["model"]) == (str(SEED), str(teacher))
    assert meta["weights"].startswith("sha256:")
    assert Facts.from_dict(json.loads(meta["facts"])) == card.facts
    assert json.loads(meta["sampling"])["steps"] == 2
    assert len(pairs.indices("val")) == 2  # 49 and 99


def test_the_objective_sees_the_noise_that_each_sample_began_with(teacher, pairs):
    """Neither centring nor the loader turns or moves what belongs together, and no prior is fitted to the samples."""
    config = parse_config({**VALUES, "coupling": ["reflow"]})
    facts = Facts.of(pairs, config)
    assert (facts.scale, facts.vocabulary) == (FACTS.scale, FACTS.vocabulary)
    assert facts.checksum == pairs.checksum
    model = make_model(config, facts)
    objective = make_objective(config, model)
    objective.coupling.prepare(pairs.prop_names, pairs.meta)
    noise = Rng(SEED, torch.arange(N))
    sizes = facts.sizes.at(SEED, np.arange(N))
    start = model.prior(Batch.of_sizes(torch.as_tensor(sizes)), noise)
    met = 0
    for _, batch in Loader(pairs, np.arange(N), 500, epochs=1):
        x0, x1 = objective.pair(model.vocabulary.encode(batch), Rng.of(99, len(batch)))
        assert (x1.pos - batch.pos).abs().max() < 1e-5
        for b, pair in enumerate(batch.props["pair"].long().tolist()):
            n = int(batch.sizes[b])
            assert n == sizes[pair]
            torch.testing.assert_close(x0.pos[b, :n], start.pos[pair, :n], rtol=0, atol=1e-6)
            assert torch.equal(x0.atom[b, :n], start.atom[pair, :n])
            met += 1
    assert met == N


def test_any_number_of_workers_makes_the_same_file(teacher, pairs, tmp_path):
    assert make(teacher, tmp_path / "p.safetensors", "--workers", "2") == 0
    assert (tmp_path / "p.safetensors").read_bytes() == pairs.path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]


def test_a_killed_run_goes_on_where_it_stopped(kill_at, teacher, pairs, tmp_path, monkeypatch, capsys):
    out = tmp_path / "p.safetensors"
    line = ["reflow", str(teacher), "--pairs", str(N), "--seed", str(SEED), "--out", str(out), "--device", "cpu"]
    kill_at(1, [*line, "--workers", "1"])
    assert sorted(path.name for path in (tmp_path / "p.safetensors.parts").iterdir()) == [
        "job.json",
        "part-000000.npz",
    ]
    assert make(teacher, out, "--valid-only") == 2  # another job must not be mixed in
    assert "holds parts of another job" in capsys.readouterr().err
    drawn = []
    whole = jobs.draw
    monkeypatch.setattr(jobs, "draw", lambda job, ids: (drawn.append(ids.tolist()), whole(job, ids))[1])
    assert make(teacher, out) == 0
    assert drawn == [list(range(100, N))]
    assert out.read_bytes() == pairs.path.read_bytes()


def test_what_is_left_out_is_counted(teacher, tmp_path, monkeypatch, capsys):
    whole = jobs.draw

    def spoilt(job, ids):
        batch = whole(job, ids)
        batch.pos[3] = torch.nan
        return batch

    monkeypatch.setattr(jobs, "draw", spoilt)
    assert make(teacher, tmp_path / "p.safetensors") == 0
    assert "left out: 2 samples, not finite" in capsys.readouterr().out
    store = Store(tmp_path / "p.safetensors")
    assert sorted({*range(N)} - {*store.props("pair").astype(int).tolist()}) == [3, 103]
    assert json.loads(store.meta["left_out"]) == {"not finite": 2}
    assert make(teacher, tmp_path / "v.safetensors", "--valid-only") == 2
    assert "none could be kept" in capsys.readouterr().err


def test_a_solver_takes_its_keywords_as_in_sampling(teacher, tmp_path, capsys):
    assert make(teacher, tmp_path / "p.safetensors", "--solver", "{name: multistep, reuse: 0.5}") == 0
    assert "multistep steps" in capsys.readouterr().out
    assert json.loads(Store(tmp_path / "p.safetensors").meta["sampling"])["solver"]["reuse"] == 0.5


def test_mistakes_are_found_before_the_work(teacher, tmp_path, capsys):
    for options, words in (
        (["--out", str(tmp_path / "p.sdf")], "name it .safetensors"),
        (["--pairs", "0"], "must be from 1 to"),
        (["--pairs", str(2**25)], "at most 16,777,216"),
        (["--steps", "0"], "steps must be at least 1"),
    ):
        assert make(teacher, tmp_path / "p.safetensors", *options) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prior": {"pos": {"name": "gaussian", "scale": 2.0}, "atom": "uniform", "bond": "uniform"}}, "prior="),
        ({"data": {"centred": False}, "coupling": ["independent", "reflow"]}, "data.centred=True"),
        ({"data": {"fields": ["pos"]}}, "data.fields="),
    ],
)
def test_pairs_under_another_noise_are_refused(pairs, changes, words):
    config = parse_config({**VALUES, "coupling": ["reflow"], **changes})
    with pytest.raises(UserError, match="holds samples of a model with") as told:
        Facts.of(pairs, config)
    assert words in str(told.value)


def test_a_run_may_begin_with_the_teachers_weights(teacher, pairs, tmp_path, capsys):
    values = {**VALUES, "coupling": ["reflow"], "data": {"path": str(pairs.path), "pairs": 500}}
    values["train"] = {**VALUES["train"], "init": str(teacher), "lr": 1e-9, "ema": 0.0, "device": "cpu"}
    fit(parse_config(values), tmp_path / "run", progress=False)
    for name, weight in load(teacher, "cpu").network.state_dict().items():
        torch.testing.assert_close(load(tmp_path / "run", "cpu").network.state_dict()[name], weight, rtol=0, atol=1e-6)
    origin = json.loads((tmp_path / "run" / "origin.json").read_text())
    assert origin["init"] == {"model": str(teacher), "weights": pairs.meta["weights"]}
    wider = {**values, "network": {**VALUES["network"], "width": 16}}
    with pytest.raises(UserError, match="the weights of .* do not fit this network"):
        fit(parse_config(wider), tmp_path / "wider", progress=False)
    assert not (tmp_path / "wider").exists()
    with pytest.raises(UserError, match="small knows no N"):
        fit(parse_config({**values, "train": {**values["train"], "init": "small"}}), tmp_path / "x", progress=False)


def distance(points: torch.Tensor, target: torch.Tensor) -> float:
    """The energy distance of two clouds of points: 0 for equal laws."""
    between, within = torch.cdist(points, target), [torch.cdist(cloud, cloud).mean() for cloud in (points, target)]
    return float(2 * between.mean() - sum(within))


def test_a_reflowed_model_is_straighter_and_better_in_one_step(root, tmp_path):
    """Moons: a teacher on independent pairs, whose ways bend; its own pairs; the same network from its weights."""
    moons = make_toy(tmp_path / "moons.safetensors", "moons", n=4000)
    changes = {"data.path": str(moons.path), "coupling": ["independent"], "train.steps": 500, "train.validate": 1}
    changes |= {"network.width": 64, "network.layers": 3, "train.lr": 5e-3, "train.ema": 0.98, "train.device": "cpu"}
    fit(read_config(root / "configs" / "moons.yaml", changes), tmp_path / "teacher", progress=False)
    pairs = reflow.PairsJob(str(tmp_path / "teacher"), 4000, 1, load(tmp_path / "teacher").defaults.updated(steps=30))
    reflow.make_pairs(pairs, tmp_path / "pairs.safetensors", workers=0)
    changes |= {"data.path": str(tmp_path / "pairs.safetensors"), "coupling": ["reflow"]}
    changes |= {"train.init": str(tmp_path / "teacher")}
    fit(read_config(root / "configs" / "moons.yaml", changes), tmp_path / "student", progress=False)

    teacher, student = (load(tmp_path / name, "cpu") for name in ("teacher", "student"))
    before, after = (straightness(model, 1000, steps=50, grid="linear") for model in (teacher, student))
    assert after.value < 0.5 * before.value
    real = moons.batch(range(1000)).pos[:, 0]
    one = [distance(model.sample(1000, steps=1, seed=9).pos[:, 0], real) for model in (teacher, student)]
    assert one[1] < 0.5 * one[0]
