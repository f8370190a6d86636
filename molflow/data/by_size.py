"""What is drawn of a table once the size of a molecule is known: of the rows with as many atoms, by their weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molflow.rng import Rng, seed_of

NONE = -1  # in the place of a row, where no row has that size


class BySize:
    """Rows of these sizes, as likely among those of one size as their weights say; ``stream`` keeps draws apart."""

    def __init__(self, sizes: Sequence[int] | np.ndarray, weights: Sequence[float] | np.ndarray, stream: int):
        sizes, weights, self.stream = np.asarray(sizes), np.asarray(weights, float), stream
        self.shares: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # of each size its rows, and their upper edges
        for size in np.unique(sizes).tolist():
            rows = (sizes == size).nonzero()[0]
            self.shares[size] = rows, np.cumsum(weights[rows]) / weights[rows].sum()

    def rows_of(self, table: np.ndarray, seed: int, ids: Sequence[int] | np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The rows of a table [R, M] for these molecules, [n, M]; ``NONE`` throughout where there is none."""
        rows = self.at(seed, ids, sizes)
        found = np.full((len(rows), table.shape[1]), NONE, np.int64)
        found[rows != NONE] = table[rows[rows != NONE]]
        return found

    def at(self, seed: int, ids: Sequence[int] | np.ndarray, sizes: Sequence[int] | np.ndarray) -> np.ndarray:
        """The rows of the molecules with these numbers and sizes, [n]: the same in whatever shards."""
        import torch

        u = Rng(seed_of(seed, self.stream), torch.as_tensor(np.asarray(ids, np.int64))).uniform().numpy()
        found = np.full(len(u), NONE, np.int64)
        for k, (size, chance) in enumerate(zip(np.asarray(sizes).tolist(), u.tolist())):
            if size in self.shares:
                rows, edges = self.shares[size]
                found[k] = rows[min(int(np.searchsorted(edges, chance, side="right")), len(rows) - 1)]
        return found
