"""Sampling in shards: each is a pure function of (job, number), whoever calls it, and the parts make the same file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from molflow import __version__
from molflow.atomic import claimed, refuse_existing, write_json
from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import CONFIG, WEIGHTS, load, locate
from molflow.chem.io import WRITABLE, format_of, open_writer
from molflow.chem.note import note_of, write_note
from molflow.device import pick_device
from molflow.generate import Model
from molflow.sampling import Sampling, shard_size
from molflow.versions import versions
from molflow.workers import Failure, attempt, check_workers, map_killable, processes

AT_ONCE = 20  # shards that a GPU computes together
MOST = 10**9  # molecules of a job: a terabyte of them
_OURS = re.compile(r"\.?(job|part-\d+)\.")  # a file of a folder of parts, whole or not


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
        if not 1 <= self.n <= MOST:
            raise UserError(f"the number of molecules must be from 1 to {MOST:,}, not {self.n}")

    @property
    def on_cpu(self) -> bool:
        return self.device == "cpu"

    @property
    def shard(self) -> int:
        """Molecules of a shard."""
        return shard_size(self.n, self.on_cpu)

    @property
    def shards(self) -> int:
        return -(-self.n // self.shard)

    def ids(self, i: int) -> np.ndarray:
        """The numbers of the molecules of shard i."""
        return np.arange(i * self.shard, min(self.n, (i + 1) * self.shard))

    def fingerprint(self) -> dict:
        """What decides the parts, the model's files included."""
        folder = locate(self.model)
        files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (WEIGHTS, CONFIG)}
        return {**asdict(self), "shard": self.shard, "model": files, "molflow": __version__}


def write(job: SampleJob, path: Path, ids: np.ndarray, batch: Batch) -> None:
    """The part file of these molecules."""
    with open_writer(path) as out:
        out.write(batch)


def draw(job: SampleJob, ids: np.ndarray) -> Batch:
    """The molecules with these numbers."""
    with _one_thread(job.device):
        model = loaded(job.model, job.device)
        return model.sample_ids(ids, job.seed, job.how or model.how(job.atoms), job.atoms)


def part(folder: str | Path, i: int, suffix: str) -> Path:
    return Path(folder) / f"part-{i:06d}{suffix}"


def run(
    job: SampleJob, out: str | Path, workers: int | None = None, overwrite: bool = False, progress: bool = False
) -> Path:
    """All shards, then one file and its note; a run that was killed goes on where it stopped."""
    out = Path(out)
    if format_of(out, WRITABLE) != job.suffix:
        raise UserError(f"{out} is no {job.suffix} file")
    refuse_existing(note_of(out), overwrite)
    with parts(job, out, write, workers, overwrite, progress) as paths, open_writer(out, overwrite) as file:
        for path in paths:
            file.copy(path)
    write_note(out, provenance(job))
    return out


def provenance(job: SampleJob) -> dict:
    """What makes these molecules: the same whenever they are made."""
    how = job.how or loaded(job.model, job.device).how(job.atoms)
    return {
        "model": job.model,
        "weights": f"sha256:{job.fingerprint()['model'][WEIGHTS]}",
        "molecules": job.n,
        "seed": job.seed,
        **asdict(how),
        "atoms": job.atoms or "as in the training set",
        "device": job.device,
        "versions": versions("numpy", "rdkit", "scipy", "torch"),
    }


Job = TypeVar("Job", bound=SampleJob)
Make = Callable[[Job, Path, np.ndarray, Batch], None]  # a part file, of the molecules with these numbers


@contextlib.contextmanager
def parts(
    job: Job,
    out: Path,
    make: Make[Job],
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Iterator[list[Path]]:
    """The files that ``make`` makes, here or in worker processes; they go when the block has made ``out`` of them.

    On a CPU who makes a part has drawn its molecules. Another device draws many at once, here, and the others write.
    """
    refuse_existing(out, overwrite)
    check_workers(workers)
    with claimed(out):
        yield from _parts(job, out, make, workers, overwrite, progress)


def _parts(
    job: Job, out: Path, make: Make[Job], workers: int | None, overwrite: bool, progress: bool
) -> Iterator[list[Path]]:
    from tqdm import tqdm

    folder = out.with_name(out.name + ".parts")
    _prepare(folder, job.fingerprint(), overwrite)
    count = min(processes(workers, job.on_cpu), job.shards)
    drawn = ((i, None) for i in range(job.shards)) if job.on_cpu else _drawn_here(job, folder)
    results = map_killable(partial(make_shard, job, make, folder), drawn, workers=count if count > 1 else 0)
    with tqdm(total=job.n, unit="molecule", disable=not progress) as bar:
        for i, result in results:
            if isinstance(result, Failure):
                results.close()
                kept = any(part(folder, k, job.suffix).exists() for k in range(job.shards))
                if not kept:
                    shutil.rmtree(folder)
                more = f"; the others are kept in {folder}: run again to go on" if kept else ""
                raise UserError(f"shard {i} failed ({result.message}){more}")
            bar.update(result)
    yield [part(folder, i, job.suffix) for i in range(job.shards)]
    shutil.rmtree(folder)


def make_shard(job: Job, make: Make[Job], folder: Path, item: tuple[int, Batch | Failure | None]) -> int | Failure:
    """One part file, unless it is there already, of molecules that were drawn or are still to be; how many it has."""
    i, batch = item
    path, ids = part(folder, i, job.suffix), job.ids(i)
    if isinstance(batch, Failure):
        return batch
    if not path.exists():
        make(job, path, ids, draw(job, ids) if batch is None else batch)
    return len(ids)


def _drawn_here(job: SampleJob, folder: Path) -> Iterator[tuple[int, Batch | Failure | None]]:
    """All shards, each with its molecules, or with nothing if its part is there."""
    for first in range(0, job.shards, AT_ONCE):
        yield from _drawn_together(job, folder, range(first, min(first + AT_ONCE, job.shards)))


def _drawn_together(job: SampleJob, folder: Path, shards: range) -> Iterator[tuple[int, Batch | Failure | None]]:
    missing = {i for i in shards if not part(folder, i, job.suffix).exists()}
    ids = np.concatenate([job.ids(i) for i in shards])  # all, so that a run that goes on computes the same batches
    drawn = attempt(partial(draw, job), ids) if missing else None
    for i in shards:
        if i in missing and isinstance(drawn, Batch):
            yield i, drawn[(job.ids(i) - ids[0]).tolist()]  # a copy: a slice would be sent with all that it is one of
        else:
            yield i, drawn if i in missing else None


def trajectory(job: SampleJob, count: int) -> Iterator[Batch]:
    """The states of the first molecules at every time of the grid, one Batch [times] a molecule."""
    for i in range(min(count, job.n)):
        yield _way(job, i)


def _way(job: SampleJob, i: int) -> Batch:
    model = loaded(job.model, job.device)
    with _one_thread(job.device):
        return model.trajectory(i, seed=job.seed, atoms=job.atoms, **vars(job.how or model.how(job.atoms)))


def _prepare(folder: Path, fingerprint: dict, overwrite: bool) -> None:
    """A folder for the parts of this job, with those that an interrupted run left."""
    note = folder / "job.json"
    if folder.exists():
        left = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [""]
        if strange := [name for name in left if not _OURS.match(name)]:
            what = f"holds {strange[0]}, which no run of molflow left there" if strange[0] else "is a file"
            raise UserError(f"{folder} {what}: move it away, or choose another name")
        with contextlib.suppress(OSError, ValueError):  # no note, or one that cannot be read: not this job's
            if json.loads(note.read_text()) == json.loads(json.dumps(fingerprint)):
                return
        if not overwrite and any("part-" in name for name in left):
            raise UserError(f"{folder} holds parts of another job; finish that one, or say --overwrite to drop them")
        shutil.rmtree(folder)
    folder.mkdir()
    write_json(note, fingerprint)


def loaded(model: str, device: str) -> Model:
    """A model, kept between the shards of a process as long as its files do not change."""
    folder = locate(model)
    stamps = tuple((folder / name).stat().st_mtime_ns for name in (WEIGHTS, CONFIG) if (folder / name).exists())
    return _load_once(model, device, stamps)


@lru_cache(maxsize=1)
def _load_once(model: str, device: str, stamps: tuple[int, ...]) -> Model:
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
