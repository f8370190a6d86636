"""Held-out molecules, each with the noise that a model's training would pair it with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import molflow
from molflow.batch import Batch
from molflow.checkpoint import read_card
from molflow.config import Config
from molflow.data.loader import BatchPlan
from molflow.data.store import Store
from molflow.experiment import make_objective
from molflow.rng import Rng


class HeldOut:
    """``n`` molecules of a data set's validation part, spread over it, as the model ``name`` reads them.

    The configuration is the one that it was trained with, and the molecules are evenly spaced, unless given.
    """

    def __init__(
        self,
        name: str | Path,
        data: str | Path,
        n: int,
        config: Config | None = None,
        index: np.ndarray | None = None,
    ):
        self.model, self.store = molflow.load(name, "cpu"), Store(data)
        self.objective = make_objective(config or read_card(name).config, self.model)
        self.index = self.store.indices("val", n) if index is None else index
        self.plan = list(BatchPlan(self.store.sizes[self.index], 20_000, shuffle=False).epoch(0))

    def __len__(self) -> int:
        return len(self.index)

    def pairs(self, seed: int) -> Iterator[tuple[Batch, Batch, Rng]]:
        """Batches of noise and molecules, encoded, with the stream that goes on from there: the same at each call."""
        for places in self.plan:
            rng = Rng(seed, torch.from_numpy(places))
            molecules = self.model.vocabulary.encode(self.store.batch(self.index[places]))
            yield *self.objective.pair(molecules, rng), rng

    def noised(self, x0: Batch, x1: Batch, t: float, rng: Rng) -> Batch:
        """Where training would have them at t."""
        times = torch.full((len(x1),), t)
        return self.model.path.sample(x0, x1, times, rng, self.objective.fresh(x1, rng))
