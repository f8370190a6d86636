"""What a coupling is, several in a row, and the cost they lower."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.geometry import sum_squares
from molflow.rng import Rng


class Coupling(ABC):
    """Re-pairs noise x0 with data x1; molecules and their atoms are moved, never changed."""

    pairs = True  # noise comes to depend on the data
    turns = False  # gives the noise the data's orientation, which only networks that turn with it may see
    lowers = True  # never raises a batch's transport cost
    alone = False  # pairs each molecule by itself, whatever else is in the batch: then variants are paired so, too
    renews = False  # brings noise of its own in the place of what it is given
    props: tuple[str, ...] = ()  # properties of the molecules that it reads

    @abstractmethod
    def __call__(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Batch, Batch]: ...

    def prepare(self, props: Sequence[str], meta: Mapping[str, str]) -> None:
        """Told of the data, its properties and its metadata, before training; what cannot be paired is refused here."""
        if missing := set(self.props) - set(props):
            raise UserError(
                f"coupling {type(self).__name__} reads the property {min(missing)!r}, and the data have "
                f"{', '.join(sorted(props)) or 'no properties'}"
            )

    def report(self, x0: Batch, x1: Batch, rng: Rng) -> dict[str, float]:
        """Figures of one batch: the transport cost, before and after, a molecule's mean in angstrom^2."""
        return costs(x0, x1, *self(x0, x1, rng))


class Chain(Coupling):
    """Couplings one after another."""

    def __init__(self, couplings: Sequence[Coupling]):
        self.couplings = tuple(couplings)
        self.pairs = any(coupling.pairs for coupling in self.couplings)
        self.turns = any(coupling.turns for coupling in self.couplings)
        self.lowers = all(coupling.lowers for coupling in self.couplings)
        self.alone = all(coupling.alone for coupling in self.couplings)
        self.renews = any(coupling.renews for coupling in self.couplings)
        self.props = tuple(dict.fromkeys(name for coupling in self.couplings for name in coupling.props))
        if self.renews and len(self.couplings) > 1:
            named = [type(coupling).__name__ for coupling in self.couplings]
            raise UserError(f"couplings {', '.join(named)}: one brings pairs that belong together; let it stand alone")

    def __call__(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Batch, Batch]:
        for coupling in self.couplings:
            x0, x1 = coupling(x0, x1, rng)
        return x0, x1

    def prepare(self, props: Sequence[str], meta: Mapping[str, str]) -> None:
        for coupling in self.couplings:
            coupling.prepare(props, meta)

    def report(self, x0: Batch, x1: Batch, rng: Rng) -> dict[str, float]:
        """The figures of each, of the pairs as those before it leave them."""
        figures: dict[str, float] = {}
        for k, coupling in enumerate(self.couplings, 1):
            seen = coupling.report(x0, x1, copy.copy(rng))
            figures |= {f"{k} {type(coupling).__name__}: {name}": value for name, value in seen.items()}
            x0, x1 = coupling(x0, x1, rng)
        return figures


def transport_cost(x0: Batch, x1: Batch) -> Tensor:
    """sum_i |x1_i - x0_i|^2 of each molecule, [B], angstrom^2."""
    return sum_squares(x1.pos - x0.pos, x1.mask)


def costs(x0: Batch, x1: Batch, y0: Batch, y1: Batch) -> dict[str, float]:
    """The transport cost of pairs (x0, x1) and of (y0, y1) that they have become: means over molecules."""
    before, after = transport_cost(x0, x1), transport_cost(y0, y1)
    return {"cost before": float(before.mean()), "cost after": float(after.mean())}
