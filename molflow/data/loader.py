"""Molecules of like size together: batches bounded by their pairs, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from molflow.batch import Batch
from molflow.build import UserError
from molflow.data.store import Store
from molflow.rng import numpy_generator


class BatchPlan:
    """Which molecules make each batch: B molecules of up to N atoms with B N^2 <= ``pairs``, or one larger molecule.

    A batch is of one size; only what is left over of neighbouring sizes is joined, while the padded share of its pairs
    stays under ``max_padding``, or while they are ``few``, padding counted. Every molecule comes once an epoch, and
    every epoch has the same number of batches.

    >>> plan = BatchPlan([5, 3, 5, 5, 3], pairs=50)
    >>> sorted(len(batch) for batch in plan.epoch(0))
    [1, 2, 2]
    """

    def __init__(
        self,
        sizes: Sequence[int] | np.ndarray,
        pairs: int = 20_000,
        seed: int = 0,
        shuffle: bool = True,
        max_padding: float = 0.1,
        few: int = 0,
    ):
        self.sizes = np.asarray(sizes, np.int64)
        self.pairs, self.seed, self.shuffle = pairs, seed, shuffle
        if not len(self.sizes):
            raise UserError("no molecules to make batches of")
        if pairs < 1:
            raise UserError(f"a batch of {pairs} pairs holds no molecule; 20000 suits most machines")
        self._spans = _batch_spans(self.sizes, pairs, max_padding, few)
        self._cached: tuple[int, list[np.ndarray]] | None = None

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._spans)

    def epoch(self, k: int) -> list[np.ndarray]:
        """The batches of epoch ``k`` in their order, as positions in ``sizes``."""
        if self._cached is None or self._cached[0] != k:
            everyone = np.arange(len(self.sizes))
            rng = numpy_generator(self.seed, k)
            order = rng.permutation(everyone) if self.shuffle else everyone
            order = order[np.argsort(self.sizes[order], kind="stable")]
            # the left-overs of each size lie after its full batches, as _batch_spans has laid them out
            batches = [np.concatenate([order[low:high] for low, high in spans]) for spans in self._spans]
            if self.shuffle:
                batches = [batches[i] for i in rng.permutation(len(batches))]
            self._cached = (k, batches)
        return self._cached[1]

    def at(self, step: int) -> tuple[int, np.ndarray]:
        """(epoch, batch) of a batch's number in the whole run."""
        epoch, place = divmod(step, len(self))
        return epoch, self.epoch(epoch)[place]

    def steps(self, epochs: int) -> int:
        """Batches of so many epochs."""
        return epochs * len(self)

    def padding(self) -> float:
        """The share of an epoch's pairs that are padding."""
        dense = sum(len(batch) * int(self.sizes[batch].max()) ** 2 for batch in self.epoch(0))
        return 1 - int((self.sizes**2).sum()) / dense


def _batch_spans(sizes: np.ndarray, pairs: int, max_padding: float, few: int) -> list[list[tuple[int, int]]]:
    """Each batch as spans of the molecules sorted by size."""
    full: list[list[tuple[int, int]]] = []
    joined: list[list[tuple[int, int]]] = []
    held, true_pairs = 0, 0  # of the left-over batch now being filled
    start = 0
    for n, count in zip(*np.unique(sizes, return_counts=True)):
        n, count = int(n), int(count)
        capacity = max(1, pairs // n**2)
        whole = start + count // capacity * capacity
        full += [[(low, low + capacity)] for low in range(start, whole, capacity)]
        low, start = whole, start + count
        while low < start:
            take = min(start - low, capacity - held)
            dense = (held + take) * n**2
            padded = 1 - (true_pairs + take * n**2) / dense if take > 0 else 1.0
            if held and (take <= 0 or (padded > max_padding and dense > few)):
                held, true_pairs = 0, 0
                continue
            if not held:
                joined.append([])
            joined[-1].append((low, low + take))
            held, true_pairs, low = held + take, true_pairs + take * n**2, low + take
    return full + joined


class Loader(IterableDataset):
    """(step, Batch) from a step of the run on, endlessly or for ``epochs``; ranks take turns, so their batches differ.

    Its order is the same in this process and with ``workers``: ``for step, batch in Loader(store).workers(2): ...``
    """

    def __init__(
        self,
        store: Store,
        index: str | np.ndarray = "train",
        pairs: int = 20_000,
        *,
        seed: int = 0,
        start_step: int = 0,
        epochs: int | None = None,
        rank: int = 0,
        world: int = 1,
        fields: Sequence[str] | None = None,
        shuffle: bool = True,
    ):
        self.store, self.fields = store, fields
        self.index = store.indices(index) if isinstance(index, str) else np.asarray(index, np.int64)
        if not len(self.index):
            raise UserError(f"{store.path} has no molecules in {index!r}" if isinstance(index, str) else "no molecules")
        self.plan = BatchPlan(store.sizes[self.index], pairs, seed, shuffle)
        self.start_step, self.epochs, self.rank, self.world = start_step, epochs, rank, world

    def steps(self) -> int | None:
        """Steps of this rank in the whole run; None when it has no end."""
        if self.epochs is None:
            return None
        return max(0, -(-(self.plan.steps(self.epochs) - self.rank) // self.world))

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        worker = get_worker_info()
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        step, end = self.start_step + first, self.steps()
        while end is None or step < end:
            yield step, self.at(step)
            step += stride

    def at(self, step: int) -> Batch:
        """The batch of this rank's step."""
        _, batch = self.plan.at(step * self.world + self.rank)
        return self.store.batch(self.index[batch], fields=self.fields)

    def workers(self, count: int, pin_memory: bool = False) -> Loader | DataLoader:
        """The same stream made ready by ``count`` other processes; 0 means in this one."""
        if count == 0 and not pin_memory:
            return self
        return DataLoader(self, batch_size=None, num_workers=count, pin_memory=pin_memory, collate_fn=as_it_is)


def as_it_is(item):
    return item
