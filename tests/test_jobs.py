"""Sampling to files: the same bytes on any number of workers and after any kill, in the memory of one shard."""

from __future__ import annotations

import gc
import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from molflow import jobs
from molflow.atomic import claimed
from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import save
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.generate import Model
from molflow.sampling import Sampling

N = 210  # two shards of a hundred and one of ten
FACTS = Facts(Vocabulary(("H", "C", "N+"), (), (0, 1, 2)), Sizes({3: 1, 5: 3, 6: 2}), 1.5, 3)
POINTS = Facts(Vocabulary(), Sizes({1: 1}), 1.0, 2)


def write_model(folder, seed=0, facts=FACTS):
    values = {"network": {"name": "dense", "width": 8, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}}
    if facts is POINTS:
        values = {"network": {"name": "pointwise", "width": 8}, "data": {"fields": ["pos"], "centred": False}}
    config = parse_config({**values, "sample": {"steps": 2}})
    torch.manual_seed(seed)
    network = make_model(config, facts).network
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn_like(weight)
    save(folder, network.state_dict(), config, facts, {})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("jobs") / "model")


@pytest.fixture(scope="module")
def reference(model, tmp_path_factory):
    """The file that one worker makes."""
    out = tmp_path_factory.mktemp("reference") / "m.sdf"
    assert sample(model, out) == 0
    return out.read_bytes()


def sample(model, out, *options, n=N) -> int:
    few = ["--workers", "1"] if "--workers" not in options else []
    return main(["sample", str(model), "--n", str(n), "--out", str(out), "--device", "cpu", *few, *options])


def test_any_number_of_workers_makes_the_same_file(model, reference, tmp_path):
    assert reference.count(b"$$$$") == N
    assert sample(model, tmp_path / "m.sdf", "--workers", "2") == 0
    assert (tmp_path / "m.sdf").read_bytes() == reference
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.sdf", "m.sdf.json"]


def test_a_note_tells_where_the_file_comes_from_and_the_page_shows_it(model, tmp_path):
    """The same note on any number of workers; it counts as long as it means the file that lies there."""
    from molflow.metrics.source import Source
    from molflow.viewer.provenance import beside

    out, options = tmp_path / "m.sdf", ["--solver", "{name: churn, amount: 0.2}", "--seed", "7"]
    assert sample(model, out, *options) == 0
    first = (tmp_path / "m.sdf.json").read_bytes()
    assert sample(model, out, *options, "--workers", "2", "--overwrite") == 0
    assert (tmp_path / "m.sdf.json").read_bytes() == first
    told = json.loads(first)
    assert (told["model"], told["molecules"], told["seed"], told["steps"]) == (str(model), N, 7, 2)
    assert told["checksum"] == "sha256:" + hashlib.sha256(out.read_bytes()).hexdigest()

    (entry,) = Source(str(out), None).described()
    facts = beside(entry)
    assert (facts["seed"], facts["steps"], facts["told by"]) == (7, 2, "m.sdf.json")
    assert facts["solver"] == "{name: churn, amount: 0.2}"
    assert facts["torch, then"] == torch.__version__
    out.write_bytes(out.read_bytes()[:-5])
    (entry,) = Source(str(out), None).described()
    assert beside(entry) == {}


def test_a_note_that_is_not_ours_to_replace_stays(model, tmp_path, capsys):
    (tmp_path / "m.sdf.json").write_text("mine")
    assert sample(model, tmp_path / "m.sdf", n=3) == 2
    assert "m.sdf.json exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["m.sdf.json"]
    assert sample(model, tmp_path / "m.sdf", "--overwrite", n=3) == 0
    assert json.loads((tmp_path / "m.sdf.json").read_text())["molecules"] == 3


def test_shards_may_be_done_in_any_order(model, reference, tmp_path):
    job = jobs.SampleJob(str(model), N, how=Sampling(steps=2))
    folder = tmp_path / "m.sdf.parts"
    jobs._prepare(folder, job.fingerprint(), False)
    for i in (2, 0):
        jobs.make_shard(job, jobs.write, folder, (i, None))
    jobs.run(job, tmp_path / "m.sdf", workers=1)
    assert (tmp_path / "m.sdf").read_bytes() == reference


def falls_over(patch, first) -> None:
    """The device does where molecules from this number on are to be drawn."""
    whole = Model.sample_ids

    def sample_ids(self, ids, *rest):
        if ids[0] == first:
            raise RuntimeError("a device that fell over")
        return whole(self, ids, *rest)

    patch.setattr(Model, "sample_ids", sample_ids)


@pytest.fixture
def drawn_here(monkeypatch):
    """The numbers of the molecules that are drawn at once, where what a GPU's job does is done with a CPU."""
    drawn = []
    whole = jobs.draw
    monkeypatch.setattr(jobs.SampleJob, "on_cpu", False)
    monkeypatch.setattr(jobs, "shard_size", lambda n, on_cpu: 40)
    monkeypatch.setattr(jobs, "AT_ONCE", 3)
    monkeypatch.setattr(jobs, "draw", lambda job, ids: (drawn.append(ids.tolist()), whole(job, ids))[1])
    return drawn


@pytest.mark.parametrize("workers", ["0", "2"])
def test_others_write_what_one_process_draws(drawn_here, model, reference, tmp_path, workers):
    """A GPU draws many shards at once; who writes them does not show."""
    assert sample(model, tmp_path / "m.sdf", "--workers", workers) == 0
    assert [len(ids) for ids in drawn_here] == [120, 90]
    assert (tmp_path / "m.sdf").read_bytes() == reference


def test_what_is_drawn_at_once_is_drawn_again_where_a_part_of_it_is_missing(drawn_here, model, reference, tmp_path):
    job = jobs.SampleJob(str(model), N, how=Sampling(steps=2))
    folder = tmp_path / "m.sdf.parts"
    jobs._prepare(folder, job.fingerprint(), False)
    for item in list(jobs._drawn_here(job, folder))[:4]:
        jobs.make_shard(job, jobs.write, folder, item)
    drawn_here.clear()
    jobs.run(job, tmp_path / "m.sdf", workers=0)
    assert drawn_here == [list(range(120, N))]
    assert (tmp_path / "m.sdf").read_bytes() == reference


def test_a_device_that_falls_over_keeps_what_was_written(drawn_here, model, reference, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        falls_over(patch, 120)
        assert sample(model, tmp_path / "m.sdf", "--workers", "2") == 2
    assert "shard 3 failed (RuntimeError: a device that fell over)" in capsys.readouterr().err
    assert len(list((tmp_path / "m.sdf.parts").glob("part-*.sdf"))) == 3
    assert sample(model, tmp_path / "m.sdf") == 0
    assert (tmp_path / "m.sdf").read_bytes() == reference


def test_a_killed_run_goes_on_where_it_stopped(kill_at, model, reference, tmp_path, monkeypatch, capsys):
    out = tmp_path / "m.sdf"
    arguments = ["sample", str(model), "--n", str(N), "--out", str(out), "--device", "cpu", "--workers", "1"]
    kill_at(2, arguments)
    parts = tmp_path / "m.sdf.parts"
    assert sorted(path.name for path in parts.iterdir()) == ["job.json", "part-000000.sdf", "part-000001.sdf"]
    assert not out.exists()

    assert sample(model, out, "--seed", "1") == 2  # another job must not be mixed in
    assert "holds parts of another job" in capsys.readouterr().err

    (parts / ".part-000002.sdf.99.part").write_text("cut short by the kill")
    computed = []
    whole = Model.sample_ids
    monkeypatch.setattr(
        Model, "sample_ids", lambda self, ids, *rest: (computed.append(len(ids)), whole(self, ids, *rest))[1]
    )
    assert main(arguments) == 0
    assert computed == [10]
    assert out.read_bytes() == reference
    assert not parts.exists()


@pytest.mark.parametrize("spoil", [lambda note: note.write_text("{"), lambda note: note.unlink()])
def test_parts_that_nobody_can_account_for_are_not_used(model, reference, tmp_path, capsys, spoil):
    folder = tmp_path / "m.sdf.parts"
    jobs._prepare(folder, jobs.SampleJob(str(model), N, how=Sampling(steps=2)).fingerprint(), False)
    (folder / "part-000000.sdf").write_text("of unknown origin")
    spoil(folder / "job.json")
    assert sample(model, tmp_path / "m.sdf") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert sample(model, tmp_path / "m.sdf", "--overwrite") == 0
    assert (tmp_path / "m.sdf").read_bytes() == reference


def test_a_job_that_made_nothing_leaves_nothing(model, tmp_path, monkeypatch, capsys):
    """A mistake that only the work finds is put right by another command, with the same name."""
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "draw", lambda job, ids: 1 / 0)
        assert sample(model, tmp_path / "m.sdf") == 2
    assert "shard 0 failed (ZeroDivisionError: division by zero)\n" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    jobs._prepare(tmp_path / "m.sdf.parts", {"another": "job"}, False)  # and was killed before its first part
    assert sample(model, tmp_path / "m.sdf", n=3) == 0


def test_a_folder_of_ones_own_is_not_dropped(model, tmp_path, capsys):
    folder = tmp_path / "m.sdf.parts"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert sample(model, tmp_path / "m.sdf", "--overwrite") == 2
    assert "holds notes.txt, which no run of molflow left there: move it away" in capsys.readouterr().err
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("atoms", ["1-1000000000000", "1000001"])
def test_sizes_beyond_all_reason_are_refused_at_once(model, tmp_path, capsys, atoms):
    assert sample(model, tmp_path / "m.sdf", "--atoms", atoms) == 2
    assert "beyond the largest size, 1,000,000" in capsys.readouterr().err


def test_another_model_in_the_same_folder_is_another_job(tmp_path):
    """A model trained anew is read anew, in this process too."""
    folder = write_model(tmp_path / "model", seed=0)
    assert sample(folder, tmp_path / "a.xyz", n=3) == 0
    before = jobs.SampleJob(str(folder), 3).fingerprint()
    write_model(folder, seed=1)
    assert jobs.SampleJob(str(folder), 3).fingerprint() != before
    assert sample(folder, tmp_path / "b.xyz", n=3) == 0
    assert (tmp_path / "a.xyz").read_bytes() != (tmp_path / "b.xyz").read_bytes()


@pytest.mark.parametrize("suffix", ["sdf.gz", "xyz", "xyz.gz", "extxyz", "smi", "smi.gz", "npz"])
def test_every_format_holds_the_same_molecules(model, reference, tmp_path, suffix):
    import io

    from rdkit import Chem

    from molflow.chem.io import read

    out = tmp_path / f"m.{suffix}"
    assert sample(model, out) == 0
    first = out.read_bytes()
    assert sample(model, out, "--overwrite") == 0
    assert out.read_bytes() == first
    supplier = Chem.ForwardSDMolSupplier(io.BytesIO(reference), sanitize=False, removeHs=False)
    atoms = [mol.GetNumAtoms() for mol in supplier]
    if suffix == "sdf.gz":
        assert gzip.decompress(first) == reference
    elif suffix.startswith("smi"):
        text = gzip.decompress(first) if suffix.endswith("gz") else first
        assert text.count(b"\n") == N
    elif suffix == "npz":
        assert np.diff(np.load(out)["offsets"]).tolist() == atoms
    else:
        assert [record.mol.GetNumAtoms() for record in read(out)] == atoms


def test_sizes_asked_for_are_made(model, tmp_path, capsys):
    assert sample(model, tmp_path / "m.npz", "--atoms", "4,9-10", n=30) == 0
    sizes = np.diff(np.load(tmp_path / "m.npz")["offsets"])
    assert len(sizes) == 30
    assert set(sizes) <= {4, 9, 10}
    assert len(set(sizes)) > 1
    assert "has seen no molecules of 4, 9, 10 atoms in training, whose had 3 to 6" in capsys.readouterr().err
    assert sample(model, tmp_path / "known.npz", "--atoms", "5", n=3) == 0
    assert not capsys.readouterr().err


def test_a_trajectory_leads_from_noise_to_the_molecules(model, tmp_path, capsys):
    out, way = tmp_path / "m.npz", tmp_path / "way.npz"
    assert sample(model, out, "--trajectory", str(way), "--paths", "2", "--steps", "3", n=5) == 0
    assert "2 paths of 4 frames" in capsys.readouterr().out
    made, frames = np.load(out), np.load(way)
    assert len(frames["offsets"]) - 1 == 2 * 4
    for molecule, last in ((0, 3), (1, 7)):
        a, b = (
            archive["positions"][slice(*archive["offsets"][k : k + 2])]
            for archive, k in ((made, molecule), (frames, last))
        )
        assert np.abs(a - b).max() < 1e-3


def test_mistakes_about_the_trajectory_are_found_before_the_work(model, tmp_path, capsys):
    (tmp_path / "way.xyz").write_text("mine")
    for options, message in (
        (["--trajectory", str(tmp_path / "way.xyz")], "way.xyz exists"),
        (["--trajectory", str(tmp_path / "way.pdb")], "unknown suffix '.pdb'"),
        (["--trajectory", str(tmp_path / "other.xyz"), "--paths", "0"], "--paths must be at least 1"),
    ):
        assert sample(model, tmp_path / "m.sdf", *options) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["way.xyz"]


def test_points_go_to_npz(tmp_path, capsys):
    points = write_model(tmp_path / "points", facts=POINTS)
    assert sample(points, tmp_path / "p.sdf", n=150) == 2
    assert "makes points, not molecules: write them to .npz" in capsys.readouterr().err
    assert sample(points, tmp_path / "p.npz", n=150) == 0
    made = np.load(tmp_path / "p.npz")
    assert made["positions"].shape == (150, 2)
    assert "numbers" not in made.files


def test_memory_does_not_grow_with_the_number_of_molecules(model, tmp_path, monkeypatch):
    """Of all the shards' molecules, those of one are alive at a time."""
    alive: list = []
    most = []
    whole = Model.sample_ids

    def sample_ids(self, *rest) -> Batch:
        gc.collect()
        most.append(sum(ref() is not None for ref in alive))
        batch = whole(self, *rest)
        alive.append(weakref.ref(batch.pos))
        return batch

    monkeypatch.setattr(Model, "sample_ids", sample_ids)
    assert sample(model, tmp_path / "m.sdf", n=500) == 0
    assert len(alive) == 5
    assert max(most) <= 1


def test_a_shard_that_fails_keeps_the_others(model, reference, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        falls_over(patch, 200)
        assert sample(model, tmp_path / "m.sdf") == 2
    err = capsys.readouterr().err
    assert "shard 2 failed (RuntimeError: a device that fell over)" in err
    assert "run again to go on" in err
    assert sample(model, tmp_path / "m.sdf") == 0
    assert (tmp_path / "m.sdf").read_bytes() == reference


def test_a_bar_is_shown_to_people_alone(model, tmp_path, monkeypatch, capsys):
    assert sample(model, tmp_path / "a.sdf", n=3) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "3 molecules, 2 euler steps on a quadratic grid, seed 0, on cpu" in told.out
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert sample(model, tmp_path / "b.sdf", n=3) == 0
    assert "molecule" in capsys.readouterr().err


def test_the_note_of_a_job_says_what_decides_the_output(model):
    note = json.loads(json.dumps(jobs.SampleJob(str(model), 7, seed=2, atoms="9").fingerprint()))
    assert (note["n"], note["seed"], note["atoms"]) == (7, 2, "9")
    assert set(note["model"]) == {"model.safetensors", "config.json"}


def test_a_file_is_made_by_one_process_at_a_time(model, tmp_path, monkeypatch, capsys):
    out, codes, write = tmp_path / "m.sdf", [], jobs.write

    def again(job, path, ids, batch):
        if not codes:
            codes.append(sample(model, out))
        write(job, path, ids, batch)

    monkeypatch.setattr(jobs, "write", again)
    assert sample(model, out) == 0
    assert codes == [2]
    assert f"process {os.getpid()} is writing it" in capsys.readouterr().err


def test_workers_end_with_a_command_that_is_asked_to(model, tmp_path):
    out = tmp_path / "m.sdf"
    line = ["sample", str(model), "--n", "1000000", "--steps", "50", "--workers", "2", "--out", str(out)]
    made = subprocess.Popen([sys.executable, "-m", "molflow", *line, "--device", "cpu"], stderr=subprocess.DEVNULL)
    for _ in range(600):
        if list(tmp_path.glob("m.sdf.parts/part-*")):
            break
        time.sleep(0.1)
    children = Path(f"/proc/{made.pid}/task/{made.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    made.terminate()
    assert made.wait(60) == 143
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in workers):
            break
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_claim_is_one_at_a_time_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    running = tmp_path / "held"
    running.write_text("")
    with claimed("x.sdf"):
        assert [path.suffix for path in tmp_path.iterdir() if path != running] == [".lock"]
        with pytest.raises(UserError, match=f"process {os.getpid()} is writing it"), claimed("x.sdf"):
            pass
    assert [*tmp_path.iterdir()] == [running]
    with ThreadPoolExecutor(8) as pool:  # each waits for its turn: none may share it, and none may find it lost
        assert sum(pool.map(lambda _: _turn(running), range(40))) == 40
    assert [*tmp_path.iterdir()] == [running]


def _turn(running: Path) -> int:
    """Once, as soon as nobody else has the claim; that nobody else has it meanwhile is read off a file."""
    while True:
        try:
            with claimed("x.sdf"):
                assert running.read_text() == ""
                running.write_text("one")
                running.write_text("")
                return 1
        except UserError:
            time.sleep(0.001)
