"""A run told in minutes: its speed is measured, its number of steps decided and kept, and its schedule has no jumps."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import pytest
import torch
import yaml

from molflow.build import UserError
from molflow.cli import main
from molflow.config import TrainConfig, parse_config, read_config
from molflow.training import Training, fit
from molflow.training.length import MEASURED, WARM, Length, Minutes, learning_rate, pace

NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}


def run_on(length, speed, validate=4, judging=0.0, step=0, seconds=0.0):
    """Steps that take ``speed(step)`` seconds, on a clock of the test; all shares, and the seconds taken."""
    shares, judged = [], 0
    while step < length.total:
        shares.append(length.share(step))
        step += 1
        seconds += speed(step)
        length.lap(speed(step))
        if length.is_time_to_judge(step, validate):
            taken = judging(judged) if callable(judging) else judging
            judged += 1
            seconds += taken
            length.has_judged(step, taken)
        if step < length.total and length.is_due(step, seconds, validate):
            length.change(step, length.decide(step, seconds, validate, judgement=0.0))
    return shares, seconds, judged


@pytest.mark.parametrize("each", [0.02, 0.2, 0.7])
def test_steps_fill_the_minutes(each):
    """Ten minutes at 0.2 s a step are 3,000 steps."""
    length = Minutes(10)
    _, seconds, judged = run_on(length, lambda step: each)
    assert seconds == pytest.approx(600, rel=0.005)
    assert length.total == pytest.approx(600 / each, rel=0.005)
    assert judged == 4


def test_validation_is_counted_in():
    """Four validations of 15 s leave nine of ten minutes for steps."""
    length = Minutes(10)
    _, seconds, judged = run_on(length, lambda step: 0.1, judging=15.0)
    assert (seconds, judged) == (pytest.approx(600, rel=0.02), 4)
    assert length.total == pytest.approx(5400, rel=0.02)


def test_validation_that_takes_too_long_comes_less_often():
    _, seconds, judged = run_on(Minutes(10), lambda step: 0.1, validate=40, judging=30.0)
    assert judged <= 5
    assert seconds < 1.05 * 600


def test_validation_that_takes_longer_and_shorter_by_turns_comes_no_more_often():
    """At 14 to 23 s of 7.7 minutes, four or five suit its share of the time, and the last is at the end."""
    _, seconds, judged = run_on(Minutes(7.7), lambda step: 0.06, validate=8, judging=lambda k: (18, 22, 14, 23)[k % 4])
    assert judged <= 6
    assert seconds < 1.05 * 60 * 7.7


def test_a_machine_that_slows_down_ends_in_time_and_one_that_speeds_up_late_adds_nothing():
    slower = Minutes(10)
    _, seconds, _ = run_on(slower, lambda step: 0.1 if step < 2000 else 0.2)
    assert seconds < 1.05 * 600
    faster = Minutes(10)
    _, seconds, _ = run_on(faster, lambda step: 0.1 if step < 4000 else 0.05)
    assert faster.total == pytest.approx(6000, rel=0.005)


def test_the_share_and_the_learning_rate_have_no_jumps():
    """Compilations at the start, then a slower machine: each step adds a share, and the last ends on the whole."""
    length, train = Minutes(10), TrainConfig(lr=1.0, warmup=0.04)
    shares, _, _ = run_on(length, lambda step: 8.0 if step in (1, 4, 9) else 0.1 if step < 2000 else 0.15)
    assert shares[0] == 0
    assert length.share(length.total) == 1
    steps = [b - a for a, b in itertools.pairwise([*shares, 1.0])]
    assert min(steps) > 0
    assert max(steps) < 1e-3
    rates = [learning_rate(share, each, train) for share, each in zip(shares, steps)]
    assert max(abs(b - a) for a, b in itertools.pairwise(rates)) < 0.04
    assert rates[-1] < 2e-3 < 0.98 < max(rates) <= 1


def test_a_lap_that_is_none_of_a_step_counts_as_a_fast_one():
    assert pace([1.0, 3.0, 2.0, 2.0, 60.0]) == pytest.approx((1 + 3 + 2 + 2 + 2) / 5)


def test_the_first_steps_of_a_process_are_not_measured():
    length = Minutes(1)
    for k in range(WARM + MEASURED):
        assert not length.is_due(k, 0.0, 4)
        length.lap(1.0)
    assert length.is_due(WARM + MEASURED, 0.0, 4)


def test_pieces_take_the_decisions_of_the_checkpoint():
    whole = Minutes(10)
    run_on(whole, lambda step: 0.1)
    again = Minutes.resumed(json.loads(json.dumps(whole.state())), 10, step=3000, seconds=300.0)
    assert again.turns == whole.turns
    assert [again.share(step) for step in (3000, 4500)] == [whole.share(step) for step in (3000, 4500)]
    _, seconds, _ = run_on(again, lambda step: 0.1, step=3000, seconds=300.0)
    assert seconds == pytest.approx(600, rel=0.01)


def test_other_minutes_on_resume_are_measured_anew():
    """After 5 of what were 10 minutes, 20 are asked: a quarter is done."""
    length = Minutes(10)
    run_on(length, lambda step: 0.1)
    longer = Minutes.resumed(length.state(), 20, step=3000, seconds=300.0)
    assert longer.share(3000) == 0.25
    assert not longer.decided
    _, seconds, _ = run_on(longer, lambda step: 0.1, step=3000, seconds=300.0)
    assert seconds == pytest.approx(1200, rel=0.01)
    assert Minutes.resumed(length.state(), 4, step=3000, seconds=300.0).total == 3000  # over already


@pytest.mark.parametrize(("total", "validate"), [(6, 3), (7, 2), (12, 2), (5, 9), (1000, 7)])
def test_validation_comes_as_often_as_asked_and_at_the_end(total, validate):
    length = Length(total)
    judged = [step for step in range(1, total + 1) if length.is_time_to_judge(step, validate)]
    assert len(judged) == min(total, validate)
    assert judged[-1] == total


# -- the configuration


@pytest.mark.parametrize(("other", "value"), [("steps", 100), ("epochs", 3)])
def test_two_lengths_are_one_too_many(other, value):
    with pytest.raises(
        UserError, match=f"train.minutes=25 and train.{other}={value}: .* drop train.{other} to train by"
    ):
        parse_config({"train": {"minutes": 25, other: value}})


def test_a_length_on_the_command_line_replaces_the_file_s(tmp_path):
    (tmp_path / "c.yaml").write_text("train: {minutes: 25, lr: 1.0e-3}\n")
    train = read_config(tmp_path / "c.yaml", {"train.epochs": "3"}).train
    assert (train.minutes, train.epochs, train.lr) == (None, 3, 1e-3)
    train = read_config(tmp_path / "c.yaml", {"train.steps": "null"}).train
    assert train.minutes == 25
    with pytest.raises(UserError, match="a run has one length"):
        read_config(tmp_path / "c.yaml", {"train.steps": "3", "train.minutes": "2"})


# -- a run


@pytest.fixture
def config(few_molecules):
    def make(**train):
        given = {"minutes": 0.1, "validate": 2, "samples": 0, "lr": 2e-3, "device": "cpu", **train}
        return parse_config({"data": {"path": str(few_molecules), "pairs": 4000}, "network": NETWORK, "train": given})

    return make


def test_a_run_told_in_minutes_writes_down_its_steps_and_goes_on_from_them(config, tmp_path, monkeypatch, capsys):
    """Stopped after its first decision and resumed, it keeps that decision; in all it takes its minutes."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config().to_dict()))
    arguments = ["train", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "run")]
    step_once, clock = Training.training_step, [0.0]

    def timed_step(self, batch, index):
        step_once(self, batch, index)
        clock[0] += 0.1

    def training_step(self, batch, index):
        timed_step(self, batch, index)
        if self.length.decided and self.steps_done == self.length.turns[-1].step + 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("molflow.training.journal.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(Training, "training_step", timed_step)
    with monkeypatch.context() as patch:
        patch.setattr(Training, "training_step", training_step)
        assert main(arguments) == 130
    kept = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert len(kept["length"]["turns"]) == 2
    assert kept["steps"] == kept["length"]["turns"][1][0]  # saved when it was decided
    assert main([*arguments, "--resume"]) == 0
    done = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert done["length"]["turns"][:2] == kept["length"]["turns"]
    assert done["steps"] == done["length"]["turns"][-1][2]
    assert 3 < done["seconds"] < 9  # of six, on a clock that a step moves by a tenth
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert f",{kept['length']['turns'][-1][2]}," in file.read()
    assert "steps fill 0.1 minutes" in capsys.readouterr().out
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert main([*arguments, "--resume"]) == 0  # it is over
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_minutes_that_are_over_before_the_first_decision_end_the_run(config, tmp_path):
    run = fit(config(minutes=1e-4), tmp_path / "run", progress=False)
    assert 1 <= torch.load(run.checkpoint, weights_only=True)["steps"] < 10
    assert (run.folder / "model.safetensors").exists()
    assert run.read_metrics()[-1]["val_loss"]


def test_the_figures_tell_the_number_of_steps_once_it_is_decided(config, tmp_path):
    run = fit(config(minutes=0.02), tmp_path / "run", progress=False)
    planned = [row["steps_planned"] for row in run.read_metrics()]
    assert planned[0] == ""
    assert planned[-1].isdecimal()
