"""What a prior is, and several of them as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from molflow.batch import FIELDS, PAIR_FIELDS, Batch
from molflow.build import UserError
from molflow.rng import Rng

LABELS = tuple(name for name in FIELDS if name != "pos")


class Prior(ABC):
    """Noise for one field of molecules of given sizes."""

    field: str
    discrete = False  # whether it draws class indices; else numbers, in one more axis
    normal = False  # whether its numbers are jointly normal, so that a sum of draws is a draw, scaled
    fields: tuple[str, ...] = FIELDS  # those that it can be the noise of
    reads: tuple[str, ...] = ()  # fields of the molecule that its noise depends on

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

    def log_prob(self, x: Batch) -> Tensor:
        """The log-density of each molecule's field, [B]; of centred clouds, in the (N - 1) D dimensions they have."""
        raise UserError(f"prior {type(self).__name__} of {self.field}: its density is not known in closed form")


class Product:
    """Independent priors, one a field; fields without a prior are dropped."""

    def __init__(self, priors: Sequence[Prior]):
        self.priors = tuple(priors)

    def __call__(self, like: Batch, rng: Rng) -> Batch:
        x0 = like.only([])
        for prior in self.priors:
            drawn = prior(like.only(prior.reads), rng)
            x0 = x0.replace(**{prior.field: getattr(drawn, prior.field)})
        return x0
