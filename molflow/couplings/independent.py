from __future__ import annotations

from molflow.batch import Batch
from molflow.couplings.coupling import Coupling
from molflow.rng import Rng


class Independent(Coupling):
    """q(x0, x1) = p0(x0) p1(x1): the pairs as they come."""

    pairs = False
    alone = True

    def __call__(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Batch, Batch]:
        return x0, x1
