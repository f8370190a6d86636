"""Pairs (noise, sample) of a trained model, as a data file to train a straighter one on (Liu et al. 2023)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molflow.agreement import noise_of
from molflow.atomic import replacing
from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import WEIGHTS, read_card
from molflow.data.store import StoreWriter
from molflow.jobs import SampleJob, parts

MOST = 1 << 24  # whole numbers below are exact in float32, in which the pair's number is read
VALIDATION = 50  # one pair in so many is for validation


@dataclass(frozen=True)
class PairsJob(SampleJob):
    """Sample i and the noise it was made from, which is not stored: it is a function of (seed, i)."""

    suffix: str = ".npz"
    valid_only: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.n > MOST:
            raise UserError(f"the number of pairs must be at most {MOST:,}, not {self.n:,}")


@dataclass(frozen=True)
class Pairs:
    """What was made."""

    path: Path
    pairs: int
    left_out: dict[str, int]  # reason -> samples


def make_pairs(
    job: PairsJob, out: str | Path, workers: int | None = None, overwrite: bool = False, progress: bool = False
) -> Pairs:
    """A data file of the job's samples, where they are and as they lie; a run that was killed goes on.

    Its metadata say the noise: the seed, the prior, and the facts of the data that the prior is told.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise UserError(f"{out}: pairs are a data file; name it .safetensors")
    left_out: dict[str, int] = {}
    kept = 0
    with (
        parts(job, out, write, workers, overwrite, progress) as paths,
        StoreWriter(out, source=f"samples of {job.model}", overwrite=overwrite, meta=described(job)) as file,
    ):
        for path in paths:
            with np.load(path) as arrays:
                columns = dict(arrays)
            pair, reasons = columns.pop("pair"), json.loads(str(columns.pop("left_out")))
            for reason, count in reasons.items():
                left_out[reason] = left_out.get(reason, 0) + count
            if len(pair):
                split = (pair % VALIDATION == VALIDATION - 1).astype(np.int64)
                file.add_arrays(**columns, split=split, props={"pair": pair})
                kept += len(pair)
        file.meta["left_out"] = json.dumps(left_out, sort_keys=True)
        if not kept:
            raise UserError(f"of {job.n} samples none could be kept ({left_out}): is {job.model} trained?")
    return Pairs(out, kept, left_out)


def described(job: PairsJob) -> dict[str, str]:
    """What decides the noise and the samples, as a data file's metadata."""
    card = read_card(job.model)
    values: dict[str, Any] = {
        "facts": card.facts.to_dict(),
        "noise": noise_of(card.config),
        "sampling": asdict(job.how or card.config.sample),
        "atoms": job.atoms,
        "valid_only": job.valid_only,
    }
    texts = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
    weights = "sha256:" + job.fingerprint()["model"][WEIGHTS]
    return {**texts, "seed": str(job.seed), "model": job.model, "weights": weights}


def write(job: PairsJob, path: Path, ids: np.ndarray, batch: Batch) -> None:
    """The part file of these samples."""
    keep, left_out = chosen(batch, job.valid_only)
    columns: dict[str, Any] = flat(batch[torch.from_numpy(keep)])
    columns |= {"pair": ids[keep], "left_out": np.array(json.dumps(left_out))}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **columns)


def chosen(batch: Batch, valid_only: bool) -> tuple[np.ndarray, dict[str, int]]:
    """Which samples become pairs [B], and why the others do not."""
    finite = batch.pos.isfinite().flatten(1).all(1).numpy()
    left_out = {"not finite": int((~finite).sum())}
    keep = finite
    if valid_only:
        from molflow.metrics.intake import of_batch
        from molflow.metrics.strict import Strict

        keep = finite & Strict().judge(of_batch(batch)).valid
        left_out["not valid"] = int((finite & ~keep).sum())
    return keep, {reason: count for reason, count in left_out.items() if count}


def flat(batch: Batch) -> dict[str, np.ndarray]:
    """The columns of ``StoreWriter.add_arrays``: every label as it stands, whatever a chemist says of it."""
    inside = partial(_inside, mask=batch.mask)
    columns = {"positions": inside(batch.pos), "sizes": batch.sizes.numpy()}
    if batch.atom is not None:
        columns["numbers"] = inside(batch.atom)
    if batch.charge is not None:
        columns["charges"] = inside(batch.charge)
    if batch.bond is not None:
        b, i, j = batch.bond.triu(1).nonzero().T
        columns["bonds"] = torch.stack([i, j, batch.bond[b, i, j]], 1).numpy()
        columns["bond_counts"] = torch.bincount(b, minlength=len(batch)).numpy()
    return columns


def _inside(value: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    return value[mask].numpy()
