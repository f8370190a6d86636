"""What a prior is, and several of them as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from molflow.batch import PAIR_FIELDS, Batch
from molflow.rng import Rng


class Prior(ABC):
    """Noise for one field of molecules of given sizes."""

    field: str
    discrete = False  # whether it draws class indices; else numbers, in one more axis

    def states(self, classes: int) -> int:
        """Channels a network needs to read a state of this field."""
        return classes

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        """Noise [B, *shape, ...] for the entries of the field."""

    def __call__(self, like: Batch, rng: Rng) -> Batch:
        atoms = like.mask.shape[1]
        noise = self.draw((atoms, atoms) if self.field in PAIR_FIELDS else (atoms,), rng)
        return like.replace(**{self.field: noise}).tidy()


class Product:
    """Independent priors, one a field; fields without a prior are dropped."""

    def __init__(self, priors: Sequence[Prior]):
        self.priors = tuple(priors)

    def __call__(self, like: Batch, rng: Rng) -> Batch:
        x0 = like.only([])
        for prior in self.priors:
            x0 = prior(x0, rng)
        return x0
