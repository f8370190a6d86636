"""How many atoms the molecules to be generated have: the training set's histogram, or what the user asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molflow.build import UserError
from molflow.rng import Rng, seed_of

if TYPE_CHECKING:
    from molflow.data.store import Store

MOST = 1_000_000  # atoms
_STREAM = 0x512E5  # keeps the draw of sizes apart from the noise that the same seed gives


@dataclass(frozen=True)
class Sizes:
    """A distribution of molecule sizes, {atoms: weight}, stored with a model.

    Of the sizes asked, a number counts one, and a range shares its numbers' weight as the training set does.

    >>> learnt = Sizes.of([3, 5, 5, 5])
    >>> learnt.asked("4-5,9").weights
    {5: 2.0, 9: 1.0}
    """

    weights: Mapping[int, float]

    def __post_init__(self):
        weights = {int(n): float(w) for n, w in sorted(self.weights.items(), key=lambda item: int(item[0])) if w > 0}
        if not weights:
            raise UserError("no molecule sizes to draw from")
        if min(weights) < 1:
            raise UserError(f"a molecule cannot have {min(weights)} atoms")
        object.__setattr__(self, "weights", weights)

    @classmethod
    def of(cls, sizes: Sequence[int] | np.ndarray) -> Sizes:
        """The histogram of molecules' sizes."""
        return cls(dict(zip(*(part.tolist() for part in np.unique(np.asarray(sizes), return_counts=True)))))

    @classmethod
    def of_store(cls, store: Store, split: str = "train") -> Sizes:
        return cls.of(store.sizes[store.indices(split)])

    def asked(self, request: str | int | Sequence[int] | None, what: str = "atoms") -> Sizes:
        """The sizes a user asks for: ``12``, ``"9-29"``, ``"9,12,15-17"`` or a list; None leaves the training set's."""
        if request is None:
            return self
        if not isinstance(request, str):
            request = ",".join(map(str, [request] if isinstance(request, (int, np.integer)) else request))
        weights: dict[int, float] = {}
        for part in request.split(","):
            low, dash, high = (piece.strip() for piece in part.partition("-"))
            if not low.isdecimal() or (dash and not high.isdecimal()):
                formula = ", or a formula such as C7H10O2" * (what == "atoms")
                raise UserError(
                    f"{what}: {part.strip()!r} is no size; write 12, 9-29, or a list such as 9,12,15-17{formula}"
                )
            first, last = int(low), int(high) if dash else int(low)
            if first < 1 or last < first:
                raise UserError(f"{what}: {part.strip()!r} holds no possible size; the smallest is 1")
            if last > MOST:
                raise UserError(f"{what}: {part.strip()!r} is beyond the largest size, {MOST:,}")
            inside = range(first, last + 1)
            known = sum(self.weights.get(n, 0) for n in inside)
            for n in inside:
                share = self.weights.get(n, 0) / known if dash and known else 1 / len(inside)
                weights[n] = weights.get(n, 0) + share * len(inside)
        return Sizes(weights)

    def beyond(self, known: Sizes) -> str:
        """Which of these sizes a model that knows others has not seen, in words.

        >>> Sizes.of([9, 30]).beyond(Sizes.of([3, 9, 12]))
        'of 30 atoms in training, whose had 3 to 12'
        """
        strange = [n for n in self.weights if n not in known.weights]
        few = ", ".join(map(str, strange[:5])) + ", ..." * (len(strange) > 5)
        return f"of {few} atoms in training, whose had {min(known.weights)} to {known.largest}" if strange else ""

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """``n`` sizes, int64 [n]."""
        return self._quantile(rng.random(n))

    def at(self, seed: int, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """The sizes of the molecules with these numbers: the same in whatever shards they are made."""
        import torch

        rng = Rng(seed_of(seed, _STREAM), torch.as_tensor(np.asarray(ids, np.int64)))
        return self._quantile(rng.uniform().numpy().astype(np.float64))

    def _quantile(self, uniform: np.ndarray) -> np.ndarray:
        sizes, weights = np.array(list(self.weights)), np.array(list(self.weights.values()))
        edges = np.cumsum(weights) / weights.sum()
        return sizes[np.searchsorted(edges, uniform, side="right").clip(max=len(sizes) - 1)]

    @property
    def largest(self) -> int:
        return max(self.weights)

    @property
    def mean(self) -> float:
        return sum(n * w for n, w in self.weights.items()) / sum(self.weights.values())
