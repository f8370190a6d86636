"""What a model makes of what it is told, and how to tell it so that its molecules have what the data have."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molflow.atomic import replacing
from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import keep_leans, locate
from molflow.chem.census import UNKNOWN, names, take
from molflow.data.censuses import Censuses
from molflow.generate import Model
from molflow.jobs import SampleJob, loaded, parts


@dataclass(frozen=True)
class ToldJob(SampleJob):
    """Molecules of which is kept what they were told and what they have."""

    suffix: str = ".npy"


@dataclass(frozen=True)
class Heard:
    """The numbers of a census over a model's molecules, in the mean, and the censuses that would bring the data's."""

    names: list[str]
    data: np.ndarray  # as in the training set
    told: np.ndarray
    found: np.ndarray
    better: Censuses
    corrected: np.ndarray  # what these tell


def learn(
    jobs: Sequence[ToldJob], workers: int | None = None, overwrite: bool = False, progress: bool = False
) -> dict[int, Heard]:
    """What a model's molecules heard, by the steps of the jobs, once it is kept with the model how to tell it better.

    Nothing that was drawn is dropped before, so that a run that was killed goes on.
    """
    heard = {}
    with ExitStack() as drawn:
        for job in jobs:
            model = loaded(job.model, job.device)
            steps = (job.how or model.defaults).steps
            made = parts(job, locate(job.model) / f"told-{steps}", write, workers, overwrite, progress)
            heard[steps] = listen(model, drawn.enter_context(made))
        keep_leans(jobs[0].model, {steps: each.better.lean for steps, each in heard.items()})
    return heard


def listen(model: Model, shards: Sequence[Path]) -> Heard:
    """What a model's molecules heard, by their shards."""
    told, found = np.concatenate([np.load(path) for path in shards], 1)
    known = (told != UNKNOWN).all(1)  # of a size that the table lacks nothing is told
    told, found, sizes, table = told[known], found[known], model.sizes.weights, model.censuses
    better = table.corrected(sizes, told, found)
    return Heard(
        names=names(model.vocabulary),
        data=table.mean(sizes),
        told=told.mean(0),
        found=found.mean(0),
        better=better,
        corrected=better.mean(sizes),
    )


def check_told(model: Model, name: str) -> None:
    """A UserError where a model is told nothing."""
    if not (model.network.census and model.censuses):
        raise UserError(f"model {name} is told nothing: its network has no census")


def write(job: ToldJob, path: Path, ids: np.ndarray, batch: Batch) -> None:
    """The part file of these molecules' numbers."""
    model = loaded(job.model, "cpu")  # who writes occupies no other device
    wanted = model.asked(job.atoms, job.how or model.defaults)
    told = wanted.censuses.at(job.seed, ids, wanted.sizes.at(job.seed, ids))
    found = take(model.vocabulary.encode(batch), model.vocabulary.classes)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.stack([told, found.round().long().numpy()]))
