"""A student learns where its teacher would end, on the states that it will sample through itself."""

from __future__ import annotations

import csv
import json
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import load, read_card, save
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import Config, parse_config, read_config
from molflow.couplings.independent import Independent
from molflow.data.sizes import Sizes
from molflow.data.store import Store
from molflow.data.toys import make_toy
from molflow.experiment import make_model, make_objective
from molflow.facts import Facts
from molflow.generate import Model
from molflow.geometry import centre
from molflow.lineage import taught_by
from molflow.objectives.distill import Distill
from molflow.paths.joint import Joint
from molflow.paths.jump import Jump
from molflow.paths.linear import Linear
from molflow.priors.categorical import Uniform
from molflow.priors.gaussian import Gaussian
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.sampling import Sampling
from molflow.times.beta import Beta
from molflow.times.importance import Importance
from molflow.training import Training, fit
from molflow.training.judge import validation_losses

CLASSES = {"atom": 4, "bond": 3}
WEIGHTS = {"pos": 1.0, "atom": 0.5, "bond": 0.25}
SIZES = (4, 7, 1, 6)


def molecules(seed=0):
    random = torch.Generator().manual_seed(seed)
    x = Batch.of_sizes(list(SIZES))
    B, N = x.mask.shape
    pos = torch.randn(B, N, 3, generator=random)
    atom, bond = torch.randint(4, (B, N), generator=random), torch.randint(3, (B, N, N), generator=random)
    return x.replace(pos=centre(pos, x.mask), atom=atom, bond=bond).tidy()


class Says(nn.Module):
    """Predicts one molecule whatever it sees, and keeps when it was asked and with which hint."""

    spans = False

    def __init__(self, x1):
        super().__init__()
        self.pred = {"pos": x1.pos}
        for name, classes in CLASSES.items():
            self.pred[name] = 60.0 * one_hot(getattr(x1, name), classes).float()
        self.asked, self.hints = [], []
        self.unused = nn.Parameter(torch.zeros(()))  # a network has a device

    def forward(self, x, t, *, hint=None):
        self.asked.append(t[0].item())
        self.hints.append(hint)
        return self.pred


def objective(teacher, sample=Sampling(), vocabulary=None, hinted=True, **keywords):  # noqa: B008, it is frozen
    prior = Product([Gaussian("pos", 3, 1.4), Uniform("atom", 4), Uniform("bond", 3)])
    path = Joint({"pos": Linear(), "atom": Jump(4), "bond": Jump(3)})
    model = Model(teacher, path, prior, vocabulary or Vocabulary(), Sizes({4: 1}), hinted=hinted)
    return Distill(prior, Independent(), path, Beta(), WEIGHTS, sample, model, **keywords)


def test_who_says_what_the_teacher_ends_with_has_no_loss():
    end, teaches = molecules(1), objective(Says(molecules(1)))
    for seed in range(6):
        right = teaches(Says(end), molecules(), Rng.of(seed, 4))
        wrong = teaches(Says(molecules(2)), molecules(), Rng.of(seed, 4))
        assert all(abs(float(loss)) < 1e-6 for loss in right.values())
        assert all(float(loss) > 0.1 for loss in wrong.values())


def test_laws_of_training_times_are_not_asked_and_weigh_nothing():
    plain, other = objective(Says(molecules(1))), objective(Says(molecules(1)))
    other.times = Importance(bins=4)
    other.times.learn(torch.linspace(0.01, 0.99, 99), torch.linspace(0.0, 5.0, 99))
    shares = other.times.shares()
    for seed in range(4):
        a, b = (each(Says(molecules(2)), molecules(), Rng.of(seed, 4)) for each in (plain, other))
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert torch.equal(other.times.shares(), shares)


def test_molecules_lend_their_sizes_and_nothing_else():
    teaches = objective(Says(molecules(1)))
    for seed in range(3):
        a, b = (teaches(Says(molecules(2)), x1, Rng.of(seed, 4)) for x1 in (molecules(3), molecules(4)))
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("steps", "times"),
    [
        ([1], {0.0}),
        ([2], {0.0, 0.75}),
        ([4], {0.0, 0.4375, 0.75, 0.9375}),
        ([1, 4], {0.0, 0.4375, 0.75, 0.9375}),
    ],
    ids=str,
)
def test_it_is_taught_at_the_times_of_its_grids(steps, times):
    """Of more than two steps the first is not, where fewer teach it: it tells the rough shape alone."""
    teaches = objective(Says(molecules(1)), steps=steps)
    found = {teaches.each(Says(molecules(1)), molecules(), Rng.of(seed, 4))[0][0].item() for seed in range(40)}
    assert found == times


def test_formulas_are_lent_where_the_student_keeps_a_composition():
    """Who predicts kinds by even chances is shown, as its hint, chances that add up to the formulas of the data."""

    class Unsure(Says):
        def forward(self, x, t, *, hint=None):
            return super().forward(x, t, hint=hint) | {"atom": torch.zeros(*x.mask.shape, 4)}

    x1, teacher = molecules(3), Says(molecules(1))
    how, vocabulary = Sampling(composition=9.0), Vocabulary(("H", "C", "N", "N+"))
    student = Unsure(molecules(2))
    objective(teacher, how, vocabulary=vocabulary, steps=[4]).each(student, x1, Rng.of(1, 4))
    told = student.hints[-1]["atom"] * x1.mask.unsqueeze(-1)
    kinds = one_hot(x1.atom, 4) * x1.mask.unsqueeze(-1)
    for element in ([0], [1], [2, 3]):  # H, C, and both N
        expected, lent = (value[..., element].sum((1, 2)).float() for value in (told, kinds))
        torch.testing.assert_close(expected, lent, atol=0.1, rtol=0)


def test_labels_are_drawn_together_where_the_student_draws_them_so():
    """Whose teacher says, by even chances, nothing of the atoms ends with atoms that suit the bonds it is sure of."""

    class Unsure(Says):
        def forward(self, x, t, *, hint=None):
            return super().forward(x, t, hint=hint) | {"atom": torch.zeros(*x.mask.shape, 4)}

    vocabulary, x = Vocabulary(("H", "C", "N", "N+"), (), (0, 1, 2)), molecules(2)
    bond = torch.zeros_like(x.bond)
    bond[:, 0, 1:5] = bond[:, 1:5, 0] = 1
    teaches = objective(Unsure(x.replace(bond=bond)), Sampling(valences=7.0), vocabulary=vocabulary, steps=[4])
    ends = teaches.teach(x, 0.75, None, Rng.of(0, 4)).atom
    whole = x.sizes >= 5
    assert whole.any()
    assert torch.isin(ends[whole, 0], torch.tensor([1, 3])).all()  # C or N+
    assert (ends[whole, 1:5] == 0).all()


def test_the_teacher_goes_on_by_the_method_that_is_named():
    """From t = 3/4, half of its ten steps are left; the midpoint method looks twice in each."""
    for solver, evaluations in (("euler", 5), ("midpoint", 10)):
        teacher = Says(molecules(1))
        teaches = objective(teacher, solver=solver, steps=[1], fine=10)
        teaches.teach(molecules(2), 0.75, None, Rng.of(0, 4))
        assert len(teacher.asked) == evaluations


def test_the_student_walks_there_by_its_own_steps_and_learns_with_its_own_hint():
    """The student says one molecule, the teacher another: the state is on the student's way, and so is the hint."""
    own, teacher = molecules(2), Says(molecules(1))
    for seed in range(6):
        student = Says(own)
        t, _ = objective(teacher, steps=[4]).each(student, molecules(), Rng.of(seed, 4))
        k = round(4 * (1 - math.sqrt(1 - t[0].item())))
        assert student.asked == [1 - (1 - i / 4) ** 2 for i in range(k + 1)]
        assert student.hints[0] is None
        if k:
            torch.testing.assert_close(student.hints[-1]["pos"], own.pos)
    fresh = Says(own)
    objective(teacher, steps=[1]).each(fresh, molecules(), Rng.of(0, 4))
    assert fresh.hints == [None]


@pytest.mark.parametrize("hint", [0.5, 0.0])
def test_a_student_is_judged_as_it_is_taught(hint):
    """With hints from its second step on, if it is taught with any, in every way of a validation."""
    judged, calls = objective(Says(molecules(1)), steps=[4], hint=hint), []
    for share in judged.ways():
        for seed in range(6):
            student = Says(molecules(2))
            judged.each(student, molecules(), Rng.of(seed, 4))
            calls += student.hints[1:]
        assert share == 1
    assert calls and all((call is not None) == (hint > 0) for call in calls)


@pytest.mark.parametrize("hinted", [True, False])
def test_a_teacher_hears_the_students_hint_if_it_was_taught_with_hints(hinted):
    student, teacher = Says(molecules(2)), Says(molecules(1))
    objective(teacher, hinted=hinted, steps=[4]).each(student, molecules(), Rng.of(0, 4))
    assert all((hint is not None) == hinted for hint in teacher.hints)


@pytest.mark.parametrize(("t", "steps"), [(0.0, 10), (0.75, 5), (0.96, 3)])
def test_the_teacher_takes_fewer_steps_for_less_of_the_way(t, steps):
    """10 sqrt(1 - t), and 3 at least; from t on, and shorter and shorter."""
    teacher = Says(molecules(1))
    end = objective(teacher).teach(molecules(2), t, None, Rng.of(0, 4))
    assert len(teacher.asked) == steps
    assert teacher.asked[0] == pytest.approx(t)
    gaps = [b - a for a, b in zip(teacher.asked, [*teacher.asked[1:], 1.0])]
    assert all(a > b > 0 for a, b in pairwise(gaps))
    torch.testing.assert_close(end.pos, molecules(1).pos)
    assert torch.equal(end.atom, molecules(1).atom)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"steps": []}, "steps and fine are at least 1"),
        ({"steps": [2, 0]}, r"steps and fine are at least 1, not \[2, 0\] and 10"),
        ({"fine": 0}, "steps and fine are at least 1"),
        ({"sample": Sampling(grid="learned")}, "a student has no learned grid yet; sample.grid is linear, quadratic"),
        ({"solver": "ancestral"}, "solver ancestral steps back along a diffusion, and path.pos linear is none"),
        ({"solver": "leap"}, "this model's network knows no spans"),
    ],
)
def test_mistakes_are_told(keywords, message):
    with pytest.raises(UserError, match=message):
        objective(Says(molecules()), **keywords)


TINY = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}
TEACHER = {"network": TINY, "sample": {"steps": 2}}


@pytest.fixture(scope="module")
def facts(few_molecules):
    return Facts.of(Store(few_molecules), parse_config(TEACHER))


@pytest.fixture(scope="module")
def teacher(facts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distill") / "teacher"
    config = parse_config(TEACHER)
    torch.manual_seed(0)
    network = make_model(config, facts).network
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn_like(weight)
    save(folder, network.state_dict(), config, facts, {})
    return folder


def student(teacher, **changes) -> Config:
    return parse_config({**TEACHER, "objective": "distill", "train": {"teacher": str(teacher)}, **changes})


def test_a_student_without_a_teacher_is_told_where_to_find_one(facts):
    config = parse_config({**TEACHER, "objective": "distill"})
    with pytest.raises(UserError, match="learns from a model: give train.teacher, or use molflow distill"):
        make_objective(config, make_model(config, facts))


def test_the_noise_and_the_labels_are_the_teachers(teacher, facts):
    smaller = Facts(facts.vocabulary, facts.sizes, scale=9.0, dim=3)
    model, taken = taught_by(student(teacher), smaller)
    assert taken == facts
    assert str(model.device) == "cpu"
    weighed = student(teacher, path={"pos": {"name": "linear", "weigh": "endpoint"}, "atom": "jump", "bond": "jump"})
    taught_by(weighed, facts)  # how errors weigh is the student's own affair


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": {"pos": "ball", "atom": "uniform", "bond": "uniform"}}, "was trained with other prior: give"),
        ({"path": {"pos": "trigonometric", "atom": "jump", "bond": "jump"}}, "was trained with other path: give"),
        ({"data": {"fields": ["pos", "atom"]}}, "was trained with other data.fields, prior, path: give"),
        ({"data": {"centred": False}}, "was trained with other data.centred: give"),
    ],
)
def test_a_student_of_another_kind_is_refused(teacher, facts, changes, message):
    with pytest.raises(UserError, match=message):
        taught_by(student(teacher, **changes), facts)


def test_data_that_the_teacher_does_not_know_are_refused(teacher, facts):
    known = facts.vocabulary
    more = type(known)((*known.atoms, "Se", "Xe"), known.charges, known.bonds)
    with pytest.raises(UserError, match="knows no Se, Xe, which the data hold"):
        taught_by(student(teacher), Facts(more, facts.sizes, 1.0, 3))
    with pytest.raises(UserError, match="knows 3 dimensions, and the data have 2"):
        taught_by(student(teacher), Facts(known, facts.sizes, 1.0, 2))


@pytest.fixture
def line(teacher, few_molecules, root):
    """molflow distill, on few molecules for two steps."""
    few = [f"data.path={few_molecules}", "data.pairs=1000", "objective.fine=3", "train.device=cpu"]
    few += ["train.minutes=null", "train.steps=2", "train.samples=2", "train.validate=1"]
    return ["distill", str(teacher), str(root / "configs" / "distill.yaml"), *few]


def test_the_command_trains_a_student_of_its_teachers_kind(line, teacher, facts, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*line, "--out", str(run)]) == 0
    card, theirs = read_card(run), read_card(teacher)
    for part in ("network", "path", "prior"):
        assert card.config.to_dict()[part] == theirs.config.to_dict()[part]
    assert card.facts == facts
    origin = json.loads((run / "origin.json").read_text())
    assert origin["teacher"] == origin["init"]
    assert origin["teacher"]["model"] == str(teacher)
    batch = load(run, "cpu").sample(3)
    assert len(batch) == 3 and batch.pos.isfinite().all()

    assert main([*line, "train.steps=3", "--out", str(run), "--resume"]) == 0
    assert [row["step"] for row in csv_rows(run)][-1] == "3"
    assert main([*line, "objective.fine=4", "--out", str(run), "--resume"]) == 2
    assert "objective differs from" in capsys.readouterr().err
    assert main([*line, "train.teacher=small", "train.init=small", "--out", str(run), "--resume"]) == 2


def csv_rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("steps", [[4], [2, 8]], ids=str)
def test_a_student_is_judged_all_along_the_way(line, teacher, monkeypatch, steps):
    """The batches of a validation stand at several times, the same ones whenever it is validated."""
    given = dict(word.split("=", 1) for word in line[3:])
    given |= {"train.teacher": str(teacher), "data.pairs": "300", "objective.steps": str(steps)}
    config = read_config(line[2], given)
    theirs = read_card(teacher).config.to_dict()
    config = parse_config({**config.to_dict(), **{part: theirs[part] for part in ("network", "path", "prior")}})
    module, stood = Training(config, Store(config.data.path)), []
    stand = Distill.stand

    def stands(self, *rest):
        x, t, hint = stand(self, *rest)
        stood.append(t)
        return x, t, hint

    monkeypatch.setattr(Distill, "stand", stands)
    validation_losses(module)
    first = stood.copy()
    stood.clear()
    validation_losses(module)
    assert stood == first
    assert len(set(first)) >= 3


def test_a_teacher_may_teach_leaps_too(line, teacher, tmp_path, capsys):
    """Its weights, which know no spans, begin a network that does."""
    leaps = ["network.span=true", "objective=shortcut", "objective.share=1", "sample.solver=leap"]
    line = [word for word in line if not word.startswith("objective")]
    assert main([*line, *leaps, "--out", str(tmp_path / "run")]) == 0
    assert load(tmp_path / "run", "cpu").sample(3).pos.isfinite().all()
    assert main([*line, "objective=shortcut", "--out", str(tmp_path / "none")]) == 2
    assert "objective 'shortcut' teaches leaps: give the network span: true" in capsys.readouterr().err


def test_matching_is_no_lesson(line, tmp_path, capsys):
    line = [word for word in line if not word.startswith("objective")]
    assert main([*line, "objective=matching", "--out", str(tmp_path / "run")]) == 2
    assert "objective 'matching' has no use for a teacher" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_misspelt_teacher_is_answered_with_those_that_ship(line, tmp_path, capsys):
    assert main(["distill", "smal", *line[2:], "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "unknown model 'smal' (did you mean 'small'?); choose from " in told
    assert "qm9" in told
    assert not list(tmp_path.iterdir())


def test_what_it_would_take_is_told_beforehand(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*line, "--dry-run"]) == 0
    assert "saved for the backward pass" in capsys.readouterr().out
    assert main([*line, "--profile"]) == 0
    assert "noise and coupling" in capsys.readouterr().out
    assert main([*line, "--print-config"]) == 0
    assert "name: distill" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_student_of_one_step_ends_where_its_teacher_ends_in_many(root, tmp_path):
    """Moons, from the same noise: a teacher whose ways bend, and a student that has learnt where they end."""
    moons = make_toy(tmp_path / "moons.safetensors", "moons", n=2000)
    changes = {"data.path": str(moons.path), "coupling": ["independent"], "train.steps": 400, "train.validate": 1}
    changes |= {"network.width": 64, "network.layers": 3, "train.lr": 5e-3, "train.ema": 0.98, "train.device": "cpu"}
    fit(read_config(root / "configs" / "moons.yaml", changes), tmp_path / "teacher", progress=False)
    changes |= {"objective": {"name": "distill", "steps": [1], "fine": 16}}
    changes |= {"train.teacher": str(tmp_path / "teacher"), "train.init": str(tmp_path / "teacher")}
    fit(read_config(root / "configs" / "moons.yaml", changes), tmp_path / "student", progress=False)

    teacher, student = (load(tmp_path / name, "cpu") for name in ("teacher", "student"))
    fine = teacher.sample(1000, steps=60, grid="quadratic", seed=9).pos
    one = [(model.sample(1000, steps=1, seed=9).pos - fine).square().sum(-1).mean() for model in (teacher, student)]
    assert one[1] < 0.1 * one[0]
