"""Sampling in shards: each is a pure function of (job, number), whoever calls it, and the parts make the same file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import WEIGHTS, load, locate, write_atomically
from molflow.chem.io import WRITABLE, format_of, open_writer
from molflow.device import pick_device
from molflow.generate import Model, Sampling
from molflow.workers import Failure, cpus, map_killable


@dataclass(frozen=True)
class SampleJob:
    """What to generate. On a CPU one thread computes a shard, so that any number of workers adds the same numbers."""

    model: str
    n: int
    seed: int = 0
    how: Sampling | None = None  # None: as suits the model
    atoms: str | None = None
    device: str = "cpu"
    suffix: str = ".sdf"  # of the parts

    def __post_init__(self):
        if self.n < 1:
            raise UserError(f"the number of molecules must be at least 1, not {self.n}")

    @property
    def shard(self) -> int:
        """Molecules of a shard."""
        return 250 if self.device == "cpu" else 10_000

    @property
    def shards(self) -> int:
        return -(-self.n // self.shard)

    def ids(self, i: int) -> np.ndarray:
        """The numbers of the molecules of shard i."""
        return np.arange(i * self.shard, min(self.n, (i + 1) * self.shard))

    def fingerprint(self) -> dict:
        """What decides the output, the model's weights included."""
        weights = hashlib.sha256((locate(self.model) / WEIGHTS).read_bytes()).hexdigest()
        return {**asdict(self), "model": weights}


def sample_shard(job: SampleJob, folder: str, i: int) -> int:
    """Write one part file, unless it is there already; the number of its molecules."""
    path = part(folder, i, job.suffix)
    ids = job.ids(i)
    if not path.exists():
        with _one_thread(job.device):
            model = _loaded(job.model, job.device)
            batch = model.sample_ids(ids, job.seed, job.how or model.defaults, job.atoms)
        with open_writer(path) as out:
            out.write(batch)
    return len(ids)


def part(folder: str | Path, i: int, suffix: str) -> Path:
    return Path(folder) / f"part-{i:06d}{suffix}"


def run(
    job: SampleJob, out: str | Path, workers: int | None = None, overwrite: bool = False, progress: bool = False
) -> Path:
    """All shards, here or in worker processes, then one file; a run that was killed goes on where it stopped."""
    from tqdm import tqdm

    out = Path(out)
    if format_of(out, WRITABLE) != job.suffix:
        raise UserError(f"{out} is no {job.suffix} file")
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another --out, or say --overwrite to replace it")
    if not out.parent.is_dir():
        raise UserError(f"the folder {out.parent} does not exist; make it, or choose another --out")
    folder = out.with_name(out.name + ".parts")
    _prepare(folder, job.fingerprint(), overwrite)
    processes = 0 if job.device != "cpu" else min(cpus() if workers is None else workers, job.shards)
    work = partial(sample_shard, job, str(folder))
    results = map_killable(work, range(job.shards), workers=processes if processes > 1 else 0)
    with tqdm(total=job.n, unit="molecule", disable=not progress) as bar:
        for i, result in results:
            if isinstance(result, Failure):
                raise UserError(
                    f"shard {i} failed ({result.message}); the others are kept in {folder}: run again to go on"
                )
            bar.update(result)
    with open_writer(out, overwrite) as file:
        for i in range(job.shards):
            file.copy(part(folder, i, job.suffix))
    shutil.rmtree(folder)
    return out


def trajectory(job: SampleJob, count: int) -> Iterator[Batch]:
    """The states of the first molecules at every time of the grid, one Batch [times] a molecule."""
    model = _loaded(job.model, job.device)
    how = job.how or model.defaults
    for i in job.ids(0)[:count]:
        states: list[Batch] = []
        with _one_thread(job.device):
            model.sample_ids(np.array([i]), job.seed, how, job.atoms, watch=lambda t, x: states.append(x.to("cpu")))
        yield Batch.cat(states)


def _prepare(folder: Path, fingerprint: dict, overwrite: bool) -> None:
    """A folder for the parts of this job, with those that an interrupted run left."""
    note = folder / "job.json"
    if folder.exists():
        same = note.exists() and json.loads(note.read_text()) == fingerprint
        if same:
            return
        if not overwrite:
            raise UserError(f"{folder} holds parts of another job; finish that one, or say --overwrite to drop them")
        shutil.rmtree(folder)
    folder.mkdir()
    write_atomically(note, json.dumps(fingerprint))


@lru_cache(maxsize=1)
def _loaded(model: str, device: str) -> Model:
    return load(model, device)


@contextlib.contextmanager
def _one_thread(device: str) -> Iterator[None]:
    threads = torch.get_num_threads()
    if pick_device(device).type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
