"""A run that is killed, stopped or refused loses nothing, and one that is resumed ends as if it had never stopped."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.numpy import load_file, save_file

from molflow.build import UserError
from molflow.cli import main
from molflow.config import read_config
from molflow.training import Training, journal

NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def config(few_molecules, tmp_path_factory):
    """Twelve steps, more than an epoch, with a checkpoint after the sixth."""
    values = {
        "data": {"path": str(few_molecules), "pairs": 4000},
        "network": NETWORK,
        "train": {"steps": 12, "validate": 2, "samples": 0, "lr": 2e-3},
    }
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(config, out) == 0
    return out


def train(config, out, *arguments) -> int:
    return main(["train", str(config), "--out", str(out), *arguments])


def at_step(monkeypatch, step, action):
    """Do something after the optimiser's step number ``step``, before anything is logged or saved."""
    original = Training.training_step

    def training_step(self, batch, index):
        original(self, batch, index)
        if self.steps_done == step:
            action()

    monkeypatch.setattr(Training, "training_step", training_step)


def figures(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in ("seconds", "molecules_per_second")}
            for row in csv.DictReader(file)
        ]


def flat(value, name=""):
    if isinstance(value, (dict, list, tuple)):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(entry, f"{name}.{key}")
    else:
        yield name, value


def assert_same_run(run, whole):
    ours, theirs = (dict(flat(torch.load(path / "last.ckpt", weights_only=True))) for path in (run, whole))
    assert ours.keys() == theirs.keys()
    for name in ours:
        same = torch.equal(ours[name], theirs[name]) if torch.is_tensor(ours[name]) else ours[name] == theirs[name]
        assert same or name == ".seconds", name
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert card(run) == card(whole)
    assert figures(run) == figures(whole)


def card(run):
    """config.json without what may differ: the number of workers, and the revision, as the source is being edited."""
    values = json.loads((run / "config.json").read_text())
    values["config"]["data"].pop("workers")
    values["provenance"].pop("revision", None)
    return values


def contents(folder):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


KILLED = """
import os, signal, sys
from molflow.cli import main
from molflow.training import Training
step_once = Training.training_step
def training_step(self, batch, index):
    step_once(self, batch, index)
    if self.steps_done == 10:
        os.kill(os.getpid(), signal.SIGKILL)
Training.training_step = training_step
main(sys.argv[1:])
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_killed_run_ends_bit_equal_to_one_that_was_not(config, whole, tmp_path, workers):
    out = tmp_path / "run"
    script = [sys.executable, "-c", KILLED, "train", str(config), "--out", str(out), f"data.workers={workers}"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    saved = torch.load(out / "last.ckpt", weights_only=True)
    (out / ".last.ckpt.123.part").write_text("what a kill in the midst of a write leaves")
    assert saved["steps"] == 6
    batches = Training(*_parts(config)).batches
    assert 6 < batches < 12  # the resumed part crosses into the second epoch
    assert train(config, out, "--resume", f"data.workers={workers}") == 0
    assert_same_run(out, whole)
    assert not list(out.glob(".last.ckpt*"))


def _parts(config, overrides=None):
    from molflow.config import read_config
    from molflow.data.store import Store

    read = read_config(config, overrides)
    return read, Store(read.data.path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["train.init=RUN"], "train.init: .* is what would be replaced; give another --out"),
        (["network={name: pointwise, width: 8}", "coupling=[independent]", "train.optimizer=muon"], "muon"),
        (["network={name: pointwise, layers: -1}"], "at least 1"),
    ],
)
def test_a_run_is_replaced_once_all_else_is_known_to_be_well(config, whole, tmp_path, capsys, options, message):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    before = contents(run)
    assert train(config, run, "--overwrite", *(option.replace("RUN", str(run)) for option in options)) == 2
    assert re.search(message, capsys.readouterr().err)
    assert contents(run) == before


def test_a_run_goes_on_with_a_length_of_another_kind_and_its_figures_stay_in_their_columns(
    config, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(config, run) == 128 + signal.SIGTERM
    assert train(config, run, "train.steps=null", "train.minutes=0.05", "--resume") == 0
    rows = figures(run)
    assert {row["step"] for row in rows if int(row["step"]) <= 7} == {"1", "6"}
    assert all(float(row["lr"]) < 0.1 and int(row["molecules"]) < 1e6 for row in rows if row["lr"])
    assert any(row["steps_planned"] for row in rows)
    assert train(config, run, "train.steps=null", "train.minutes=0.06", "--resume") == 0
    assert figures(run)[: len(rows) - 1] == rows[:-1]


def test_a_resumed_run_that_has_nothing_to_do_and_no_model_says_so(config, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(config, run) == 128 + signal.SIGTERM
    before = contents(run)
    assert train(config, run, "train.steps=3", "--resume") == 2
    assert "3 steps are done, 3 leave none, and no model" in capsys.readouterr().err
    assert contents(run) == before


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 0)])
def test_a_signal_saves_and_stops_and_says_how_to_go_on(config, whole, tmp_path, monkeypatch, capsys, number, workers):
    out = tmp_path / "run"

    def send():  # as a terminal does: to every process of the group
        for pid in [os.getpid(), *(child.pid for child in multiprocessing.active_children())]:
            os.kill(pid, number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        at_step(patch, 4, send)
        assert train(config, out, f"data.workers={workers}") == 128 + number
    text = capsys.readouterr()
    assert f"stopped by {number.name} after step 4 of 12" in text.err
    assert "--resume" in text.err
    assert "Traceback" not in text.err
    assert signal.getsignal(number) == before
    assert torch.load(out / "last.ckpt", weights_only=True)["steps"] == 4
    assert train(config, out, "--resume") == 0
    assert_same_run(out, whole)


def test_a_run_of_some_parts_goes_on_as_if_it_had_not_stopped(config, whole, tmp_path, monkeypatch):
    some = [f"train.init={whole}", "train.only=[layers.0]", "train.optimizer=muon"]
    assert train(config, tmp_path / "whole", *some) == 0
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(config, tmp_path / "run", *some) == 128 + signal.SIGTERM
    assert train(config, tmp_path / "run", *some, "--resume") == 0
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_second_interruption_stops_at_once(config, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_step(monkeypatch, 8, twice)
    assert train(config, out) == 130
    assert torch.load(out / "last.ckpt", weights_only=True)["steps"] == 6
    assert "interrupted" in capsys.readouterr().err


def test_checkpoints_come_by_the_clock_too(config, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SAVE_SECONDS", -1)
    steps = []
    write = journal.Run.write_checkpoint

    def noted(run, state):
        steps.append(state["steps"])
        write(run, state)

    monkeypatch.setattr(journal.Run, "write_checkpoint", noted)
    assert train(config, tmp_path / "run", "train.steps=4", "train.validate=1") == 0
    assert steps == [1, 2, 3, 4]


def test_a_finished_run_may_be_resumed_and_stays_as_it_is(config, whole):
    before = contents(whole)
    assert train(config, whole, "--resume") == 0
    assert contents(whole) == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["network.width=32"], "network"),
        (["train.lr=1e-3", "train.clip=2"], "train.clip, train.lr"),
        (["seed=1", "data.pairs=3000"], "data.pairs, seed"),
        (["loss.hint=0"], "loss"),
    ],
)
def test_resuming_something_else_is_refused_by_name(config, whole, capsys, changes, named):
    before = contents(whole)
    assert train(config, whole, "--resume", *changes) == 2
    assert f"--resume: {named} differ" in capsys.readouterr().err
    assert contents(whole) == before


FREE = {"epochs", "steps", "minutes", "compile", "device", "validate", "samples", "logger"}
OTHER = {
    "optimizer": "muon",
    "lr": 0.1,
    "warmup": 0.3,
    "decay": "cosine",
    "beta2": 0.5,
    "weight_decay": 0.5,
    "clip": 9.0,
    "ema": 0.5,
    "precision": "bf16",
    "devices": 2,
    "teacher": "small",
    "init": "small",
    "only": ["heads"],
}


def test_every_key_of_training_is_free_on_resume_or_held(whole):
    run = journal.Run(whole)
    begun = read_config(whole / "config.yaml")
    checksum = json.loads(run.origin.read_text())["data_checksum"]
    run.check_same(begun, checksum)
    assert {key.name for key in dataclasses.fields(begun.train)} == FREE | set(OTHER)
    for key, value in OTHER.items():
        with_model = {"init": "small"} if key == "only" else {}
        changed = dataclasses.replace(begun.train, **with_model, **{key: value})
        with pytest.raises(UserError, match=rf"train\.{key}\b.* differ"):
            run.check_same(dataclasses.replace(begun, train=changed), checksum)


def test_sampling_may_change_on_resume_unless_the_lesson_goes_by_it(config, tmp_path, capsys):
    """Leaps are those of the grid; a plain flow is learnt whatever it will be sampled by."""
    for objective, code in (("matching", 0), ("shortcut", 2)):
        given = [f"objective={objective}", "network.span=true", "train.steps=2", "train.validate=1"]
        out = tmp_path / objective
        assert train(config, out, *given) == 0
        assert train(config, out, "--resume", *given, "sample.grid=linear") == code
    assert "--resume: sample.grid differs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("solver=leap", "knows no spans"),
        ("solver=ancestral", "steps back along a diffusion"),
        ("grid=learned", "no learned grid of 50 steps"),
        ("composition=4", "formulas of the training set"),
        ("valences=7", "this model knows no bonds"),
    ],
)
def test_a_way_of_sampling_that_does_not_suit_is_told_before_the_first_step(config, tmp_path, capsys, how, message):
    points = ["data.fields=[pos]"] if how.startswith(("composition", "valences")) else []  # which have neither
    assert train(config, tmp_path / "run", f"sample.{how}", *points) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_resuming_on_other_data_is_refused(config, whole, root, capsys):
    before = contents(whole)
    assert train(config, whole, "--resume", f"data.path={root / 'data' / 'small.safetensors'}") == 2
    assert "is not the data this run was trained on" in capsys.readouterr().err
    assert contents(whole) == before


def test_what_may_change_on_resume_does(config, whole, tmp_path):
    """More steps: the run goes on, and config.yaml tells it."""
    out = shutil.copytree(whole, tmp_path / "run")
    assert train(config, out, "--resume", "train.steps=14") == 0
    assert torch.load(out / "last.ckpt", weights_only=True)["steps"] == 14
    assert yaml.safe_load((out / "config.yaml").read_text())["train"]["steps"] == 14


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("last.ckpt", lambda data: data[: len(data) // 2], "damaged or cut short"),
        ("last.ckpt", lambda data: b"", "damaged or cut short"),
        ("last.ckpt", None, "there is nothing to resume; start this run anew with --overwrite"),
        ("config.yaml", lambda data: data[:9] + b"{[", "config.yaml"),
        ("config.yaml", None, "is no run folder to resume"),
        ("origin.json", lambda data: data[:20], "origin.json is damaged"),
    ],
)
def test_a_damaged_run_is_named_and_left_alone(config, whole, tmp_path, capsys, file, damage, message):
    out = shutil.copytree(whole, tmp_path / "run")
    if damage is None:
        (out / file).unlink()
    else:
        (out / file).write_bytes(damage((out / file).read_bytes()))
    before = contents(out)
    assert train(config, out, "--resume") == 2
    err = capsys.readouterr().err
    assert message in err
    assert file in err or str(out) in err
    assert contents(out) == before


def test_a_checkpoint_of_another_version_is_refused(config, whole, tmp_path, capsys):
    out = shutil.copytree(whole, tmp_path / "run")
    state = torch.load(out / "last.ckpt", weights_only=True)
    torch.save({**state, "version": 99}, out / "last.ckpt")
    assert train(config, out, "--resume") == 2
    assert "last.ckpt is of checkpoint version 99, this molflow reads 1" in capsys.readouterr().err


def test_a_row_cut_short_is_dropped_on_resume(config, whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "run")
    with (out / "metrics.csv").open("a") as file:
        file.write("1")  # a full disk, or a kill, in the midst of "12,..."
    assert train(config, out, "--resume") == 0
    assert figures(out) == figures(whole)


def test_an_existing_folder_is_kept_unless_asked(config, whole, tmp_path, capsys):
    before = contents(whole)
    assert train(config, whole) == 2
    assert "exists; give --resume to continue it, --overwrite to replace it" in capsys.readouterr().err
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.txt").write_text("years of work")
    assert train(config, foreign, "--overwrite") == 2
    assert "is no run folder" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert train(config, tmp_path / "file") == 2
    assert "is a file" in capsys.readouterr().err
    assert contents(whole) == before
    assert [path.name for path in foreign.iterdir()] == ["chapter.txt"]


def test_overwrite_replaces_the_run_and_keeps_what_is_not_its_own(config, whole, tmp_path, capsys):
    out = shutil.copytree(whole, tmp_path / "run")
    (out / "molecules.sdf").write_text("sampled yesterday")
    before = contents(out)
    assert train(config, out, "--overwrite", "train.device=tpu") == 2  # the mistake is found before anything goes
    assert contents(out) == before
    assert train(config, out, "--overwrite", "train.steps=1") == 0
    assert (out / "molecules.sdf").read_text() == "sampled yesterday"
    assert json.loads((out / "config.json").read_text())["provenance"]["steps"] == 1
    assert len(figures(out)) == 2


def test_training_times_that_learn_go_on_from_what_they_learnt(config, tmp_path):
    assert train(config, tmp_path / "run", "times=importance", "train.steps=2", "train.validate=1") == 0
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert state["times"]["counts"].sum() > 0
    module = Training(*_parts(config, {"times": "importance"}))
    module.restore(state)
    assert all(torch.equal(value, state["times"][name]) for name, value in module.objective.times.state().items())


@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
def test_a_run_that_is_being_trained_is_left_to_its_process(config, tmp_path, monkeypatch, capsys, option):
    out, codes = tmp_path / "run", []
    with monkeypatch.context() as patch:
        at_step(patch, 8, lambda: codes.append(train(config, out, option)))
        assert train(config, out) == 0
    assert codes == [2]
    assert f"process {os.getpid()} is writing it" in capsys.readouterr().err
    assert [row["step"] for row in journal.Run(out).read_metrics() if row["val_loss"]] == ["6", "12"]


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(config, whole, tmp_path):
    out = tmp_path / "run"
    early = KILLED.replace("== 10", "== 3")
    script = [sys.executable, "-c", early, "train", str(config), "--out", str(out)]
    assert subprocess.run(script, capture_output=True).returncode == -signal.SIGKILL
    assert not (out / "last.ckpt").exists() and (out / "config.yaml").exists()
    assert train(config, out, "--resume") == 0
    assert_same_run(out, whole)


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_a_task_of_a_scheduler_is_a_run_of_its_own(config, whole, tmp_path, variable):
    tasks = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "x", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_ID": "1"}
    command = [sys.executable, "-m", "molflow", "train", str(config), "--out", str(tmp_path / "run")]
    environment = os.environ | tasks | {"SLURM_PROCID": "0", variable: "1"}
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    assert_same_run(tmp_path / "run", whole)
    again = subprocess.run([*command, "seed=5"], env=environment, capture_output=True, text=True)
    assert again.returncode == 2 and "--overwrite" in again.stderr
    assert_same_run(tmp_path / "run", whole)


def test_labels_keep_their_order_on_resume_or_are_refused(config, whole, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    state = torch.load(out / "last.ckpt", weights_only=True)
    state["labels"]["atoms"] = state["labels"]["atoms"][::-1]  # as a model told it that is not there any more
    torch.save(state, out / "last.ckpt")
    assert train(config, out, "train.steps=14", "--resume") == 2
    assert "train.init, which told their order" in capsys.readouterr().err


def test_another_teacher_is_refused(config, whole, tmp_path, capsys):
    out, teacher = tmp_path / "run", tmp_path / "teacher"
    shutil.copytree(whole, teacher)
    lesson = ["objective=distill", "sample.solver=leap", "network.span=true", f"train.teacher={teacher}"]
    made = train(config, out, *lesson, "train.steps=2")
    assert made == 0, capsys.readouterr().err
    assert train(teacher / "config.yaml", teacher, "train.steps=14", "--resume") == 0
    assert train(config, out, *lesson, "train.steps=4", "--resume") == 2
    assert "train.teacher" in capsys.readouterr().err


def test_data_without_a_checksum_are_known_again(config, few_molecules, tmp_path, capsys):
    bare = tmp_path / "bare.safetensors"
    arrays = load_file(few_molecules)
    save_file(arrays, bare, {"format": "molflow.store", "version": "1"})
    changed = [f"data.path={bare}", "train.steps=2"]
    assert train(config, tmp_path / "run", *changed) == 0, capsys.readouterr().err
    save_file(arrays | {"positions": arrays["positions"] + 1}, bare, {"format": "molflow.store", "version": "1"})
    assert train(config, tmp_path / "run", *changed, "--resume") == 2
    assert "checksum" in capsys.readouterr().err


def test_what_a_model_was_taught_since_is_told_to_go(config, whole, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    assert main(["tune", str(out), "--steps", "3", "--n", "4", "--solver", "multistep"]) == 0
    assert train(config, out, "--resume") == 0  # nothing is left to do, and the model stays
    assert json.loads((out / "config.json").read_text())["grids"] and "note:" not in capsys.readouterr().err
    assert train(config, out, "train.steps=40", "--resume") == 0
    assert "do it again" in capsys.readouterr().err
    assert not json.loads((out / "config.json").read_text()).get("grids")
    assert train(config, out, "train.steps=5", "--resume") == 2
    assert "40 steps are done, and this asks for 5" in capsys.readouterr().err
