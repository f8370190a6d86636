"""The batches of a run, step by step; with worker processes, their noise and pairing are made there too."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, IterableDataset

from molflow.batch import Batch
from molflow.chem.vocabulary import Vocabulary
from molflow.data.loader import Loader, as_it_is
from molflow.device import fast_matmul
from molflow.objectives.objective import Objective
from molflow.rng import Rng, seed_of

TRAIN, VALIDATE, SAMPLE = 1, 2, 3  # streams of random numbers that never meet


class Item(NamedTuple):
    """What one step learns from."""

    step: int
    molecules: Batch
    noise: Batch | None = None  # already paired with the molecules, which are then as the network reads them
    draws: int = 0  # of random numbers that this took

    def to(self, device: torch.device) -> Item:
        """On another device, without waiting for the copy where the memory is pinned."""
        noise = None if self.noise is None else self.noise.to(device, non_blocking=True)
        return self._replace(molecules=self.molecules.to(device, non_blocking=True), noise=noise)


@dataclass(frozen=True)
class Streams:
    """The random numbers of a step, a function of (seed, step) and of the molecules' places in it."""

    seed: int
    rank: int = 0
    world: int = 1

    def at(self, step: int, count: int, device: torch.device | None = None) -> Rng:
        return Rng(seed_of(self.seed, TRAIN, step), torch.arange(count, device=device) * self.world + self.rank)


@dataclass(frozen=True)
class Pairing:
    """Everything of a step that comes before the path and needs no network."""

    objective: Objective
    vocabulary: Vocabulary
    streams: Streams

    def __call__(self, item: Item) -> Item:
        rng = self.streams.at(item.step, len(item.molecules), item.molecules.device)
        with fast_matmul():  # as in the training process, for equal bits
            x0, x1 = self.objective.pair(self.vocabulary.encode(item.molecules), rng)
        return Item(item.step, x1, x0, rng.draw)


def with_noise(objective: Objective, item: Item) -> Objective:
    """The objective, but for its noise, which is at hand."""

    def pair(x1: Batch, rng: Rng) -> tuple[Batch, Batch]:
        rng.draw = item.draws
        assert item.noise is not None
        return item.noise, x1

    ready = copy.copy(objective)
    ready.pair = pair
    return ready


class Steps(IterableDataset):
    """The loader's batches from its step on, up to the last of the run, or without end where that is not known yet."""

    def __init__(self, loader: Loader, total: int | None, pairing: Pairing | None = None):
        self.loader, self.total, self.pairing = loader, total, pairing

    def __iter__(self) -> Iterator[Item]:
        for step, batch in self.loader:
            if self.total is not None and step >= self.total:
                return
            item = Item(step, batch)
            yield item if self.pairing is None else self.pairing(item)

    def __len__(self) -> int:
        if self.total is None:
            raise TypeError("a run whose length is told in minutes has no number of steps yet")
        return max(0, self.total - self.loader.start_step)


def data_loader(loader: Loader, total: int | None, pairing: Pairing, workers: int, pin: bool) -> DataLoader:
    """The steps; ``workers`` processes make them ready, or none, and then the training process pairs them itself."""
    return DataLoader(
        Steps(loader, total, pairing if workers else None),
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
        collate_fn=as_it_is,
        worker_init_fn=_leave_signals_to_the_parent,
    )


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; those that make batches end when training has ended."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
