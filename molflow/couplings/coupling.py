"""What a coupling is, several in a row, and the cost they lower."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from molflow.batch import Batch
from molflow.geometry import sum_squares
from molflow.rng import Rng


class Coupling(ABC):
    """Re-pairs noise x0 with data x1; molecules and their atoms are moved, never changed."""

    turns = False  # gives the noise the data's orientation, which only networks that turn with it may see

    @abstractmethod
    def __call__(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Batch, Batch]: ...


class Chain(Coupling):
    """Couplings one after another."""

    def __init__(self, couplings: Sequence[Coupling]):
        self.couplings = tuple(couplings)

    def __call__(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Batch, Batch]:
        for coupling in self.couplings:
            x0, x1 = coupling(x0, x1, rng)
        return x0, x1


def transport_cost(x0: Batch, x1: Batch) -> Tensor:
    """sum_i |x1_i - x0_i|^2 of each molecule, [B], angstrom^2."""
    return sum_squares(x1.pos - x0.pos, x1.mask)
