"""Which molecules are computed at once: of like size, as many as a CPU's cache or a GPU's memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from molflow.batch import Batch
from molflow.build import UserError
from molflow.data.loader import BatchPlan
from molflow.device import is_out_of_memory

FEW_FOR_A_GPU = 300_000  # pairs in a batch, under which it waits for the host: then sizes may go together
DEARER = 8  # in memory, a pair whose derivative is taken
IN_A_CACHE = 20_000  # pairs


class Portions:
    """Of one model, whose batches are halved where one has not fitted into memory, and not tried again."""

    def __init__(self) -> None:
        self.too_many = float("inf")  # the fewest pairs that have not fitted

    def pairs(self, device: torch.device) -> int:
        """Pairs of atoms computed at once."""
        if device.type != "cuda":
            return IN_A_CACHE
        _, total = torch.cuda.mem_get_info(device)  # what is free now would change the batches, and so the bytes
        return max(IN_A_CACHE, int(total * 0.5 / 4096))

    def plan(self, sizes: np.ndarray, device: torch.device, differentiated: bool = False) -> list[np.ndarray]:
        """The places of the molecules of each batch: of like size, or few where a GPU would wait.

        Fewer where derivatives are taken, for which what each layer finds is kept.
        """
        on_gpu = device.type == "cuda"
        pairs = self.pairs(device) // (DEARER if on_gpu and differentiated else 1)
        few = FEW_FOR_A_GPU if on_gpu and not differentiated else 0
        return BatchPlan(sizes, pairs, shuffle=False, few=few).epoch(0)

    def gathered(
        self, sizes: np.ndarray, device: torch.device, compute: Callable[[np.ndarray], Batch], progress: bool = False
    ) -> Batch:
        """What is computed of each batch's places, in the order of the sizes."""
        from tqdm import tqdm

        order = np.empty(len(sizes), np.int64)
        made: list[Batch] = []
        done = 0
        with tqdm(total=len(sizes), unit="molecule", disable=not progress, leave=False) as bar:
            for places in self.plan(sizes, device):
                for part, batch in self._fitted(places, sizes, compute, device):
                    order[part] = np.arange(done, done + len(part))
                    made.append(batch.to("cpu"))
                    done += len(part)
                    bar.update(len(part))
        return Batch.cat(made)[torch.from_numpy(order)]

    def _fitted(
        self, places: np.ndarray, sizes: np.ndarray, compute: Callable[[np.ndarray], Batch], device: torch.device
    ) -> Iterator[tuple[np.ndarray, Batch]]:
        """What is computed of these places, by halves where memory is too small."""
        pairs = len(places) * int(sizes[places].max()) ** 2
        if len(places) == 1 or pairs < self.too_many:
            try:
                batch = compute(places)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if len(places) == 1:
                    raise UserError(
                        f"one molecule of {sizes[places[0]]} atoms does not fit into the memory of {device}"
                    ) from None
                self.too_many = min(pairs, self.too_many)
                torch.cuda.empty_cache()
            else:
                yield places, batch
                return
        for half in np.array_split(places, 2):
            yield from self._fitted(half, sizes, compute, device)
