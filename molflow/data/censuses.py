"""What the molecules to be generated have, in numbers: as the training set's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from molflow.build import UserError
from molflow.chem.census import take
from molflow.data.by_size import BySize
from molflow.data.loader import Loader

if TYPE_CHECKING:
    from molflow.chem.vocabulary import Vocabulary
    from molflow.data.store import Store

_STREAM = 0xCE2505  # keeps this draw apart from that of sizes and from the noise
MOST = 20_000  # that a model keeps
PAIRS = 200_000  # read at once
DOUBT = 0.1  # pulls a lean to none: a share of a number's own variance
STEEP = 500.0  # the logarithm of a weight, beyond which its exponential nears the ends of what numbers hold
RARE = 0.05  # spread of a number in the data below which samples tell nothing of it


@dataclass(frozen=True)
class Censuses:
    """A distribution of censuses (chem/census.py), {numbers: weight}, stored with a model that is told them.

    ``lean`` has a number for each of a census's: with each that it has more of it a census is likelier than in the data
    by so many e-folds.

    >>> table = Censuses({"1 4 4": 1, "2 1 2": 3}, atoms=2)
    >>> table.at(0, ids=[0, 1, 2], sizes=[5, 3, 9]).tolist()
    [[1, 4, 4], [2, 1, 2], [-1, -1, -1]]
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    atoms: int = 0  # of each census, how many of the leading numbers count atoms
    lean: Sequence[float] = ()

    def __bool__(self) -> bool:
        return bool(self.weights)

    @classmethod
    def of_store(cls, store: Store, vocabulary: Vocabulary, split: str = "train") -> Censuses:
        """The histogram of a split's molecules."""
        _, rows = counted(store, vocabulary, split)
        kinds, weights = np.unique(rows, axis=0, return_counts=True)
        if len(kinds) > MOST:
            raise UserError(
                f"network.census: these molecules have {len(kinds):,} different censuses, and a model keeps at most "
                f"{MOST:,}; leave it out, as for data of many kinds and sizes"
            )
        named = zip((" ".join(map(str, kind)) for kind in kinds.tolist()), weights.tolist())
        return cls(dict(sorted(named, key=lambda item: (-item[1], item[0]))), vocabulary.classes["atom"])

    def having(self, counts: Mapping[int, int], numbers: Sequence[int]) -> Censuses:
        """Those of molecules with so many atoms of each element, whose kinds of atoms have these atomic numbers."""
        if not self:
            return self
        fits = np.ones(len(self._rows), bool)
        for element in set(numbers):
            kinds = [kind for kind, number in enumerate(numbers) if number == element]
            fits &= self._rows[:, kinds].sum(1) == counts.get(element, 0)
        return replace(self, weights={text: w for (text, w), fit in zip(self.weights.items(), fits) if fit})

    def leaning(self, lean: Sequence[float]) -> Censuses:
        """The same distribution, leaning so: by one number for each that a census has, or by none."""
        if tuple(lean) == tuple(self.lean):
            return self
        if len(lean) not in (0, self._rows.shape[1] if self else 0) or not np.isfinite(lean).all():
            raise TypeError("the lean of its censuses")
        other = replace(self, lean=tuple(lean))
        vars(other)["_rows"] = self._rows  # the same ones, which take long to read
        return other

    def of_steps(self, steps: int, leans: Mapping[int, Sequence[float]]) -> Censuses:
        """Leaning as learned of molecules of so many steps, or between those of fewer and of more.

        Beyond the most it is as with the most, whose errors are the network's; below the fewest not at all.
        """
        known = sorted(leans)
        if not self or not known or steps < known[0]:
            return self
        columns = zip(*(leans[count] for count in known))
        return self.leaning([float(np.interp(np.log(steps), np.log(known), column)) for column in columns])

    def corrected(self, sizes: Mapping[int, float], told: np.ndarray, found: np.ndarray) -> Censuses:
        """Leaning so that molecules have in the mean what the data have, by what some were told and had, [n, M] both.

        What they had too little of is told more often, as much as it takes at first order: ridge regression of what is
        missing on what a lean brings, each number in units of its spread in the data.
        """
        law, means = self.leaning(())._law(sizes)
        spread = np.sqrt(law @ (self._rows - law @ self._rows) ** 2)
        varies = spread > RARE
        missing = (told - found).mean(0)[varies] / spread[varies]
        within = ((self._rows - means) / np.where(varies, spread, 1))[:, varies]  # a molecule's size is drawn before
        turned = (within * law[:, None]).T @ within  # what the means gain by a lean
        lean = np.zeros(len(spread))
        lean[varies] = np.linalg.solve(turned + DOUBT * np.eye(len(turned)), missing) / spread[varies]
        return self.leaning(lean.tolist())

    def mean(self, sizes: Mapping[int, float]) -> np.ndarray:
        """Of each number, over molecules of these sizes."""
        law, _ = self._law(sizes)
        return law @ self._rows

    def _law(self, sizes: Mapping[int, float]) -> tuple[np.ndarray, np.ndarray]:
        """How likely each census is with these sizes, [R], and the means of those of its size, [R, M]."""
        atoms = self._rows[:, : self.atoms].sum(1)
        law, means = np.zeros(len(atoms)), np.zeros(self._rows.shape)
        for size in np.unique(atoms).tolist():
            there = atoms == size
            share = self._likely[there] / self._likely[there].sum()
            law[there], means[there] = sizes.get(size, 0) * share, share @ self._rows[there]
        return law / law.sum(), means

    def at(self, seed: int, ids: Sequence[int] | np.ndarray, sizes: Sequence[int] | np.ndarray) -> np.ndarray:
        """For the molecules with these numbers a census each, [n, M]: the same in whatever shards.

        Of those with as many atoms as the molecule has; ``UNKNOWN`` where there is none.
        """
        return self._drawn.rows_of(self._rows, seed, ids, np.asarray(sizes))

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.array([[int(number) for number in text.split()] for text in self.weights], np.int64)

    @cached_property
    def _likely(self) -> np.ndarray:
        weights = np.array(list(self.weights.values()), float)
        if not self.lean:
            return weights
        tilt, atoms = self._rows @ np.array(self.lean), self._rows[:, : self.atoms].sum(1)
        if np.abs(tilt).max() > STEEP:  # what is alike of one size changes no law
            tilt -= np.array([tilt[atoms == size].max() for size in atoms.tolist()])
        return weights * np.exp(tilt)

    @cached_property
    def _drawn(self) -> BySize:
        return BySize(self._rows[:, : self.atoms].sum(1), self._likely, _STREAM)


def counted(store: Store, vocabulary: Vocabulary, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a split's molecules, in an order of its own, [n], and the census of each, [n, M]."""
    classes = vocabulary.classes
    fields = [name for name in ("pos", *classes) if name in store.fields]
    fields += ["charge"] if "charge" in store.fields and "charge" not in fields else []
    loader = Loader(store, split, PAIRS, epochs=1, shuffle=False, fields=fields)
    ids = [loader.index[places] for places in loader.plan.epoch(0)]
    rows = [take(vocabulary.encode(batch), classes).round().long().numpy() for _, batch in loader]
    return np.concatenate(ids), np.concatenate(rows)
