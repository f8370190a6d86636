from __future__ import annotations

from torch import Tensor

from molflow.rng import Rng
from molflow.times.times import Times


class Uniform(Times):
    """t ~ U(0, 1)."""

    def __call__(self, rng: Rng) -> Tensor:
        return rng.uniform()
