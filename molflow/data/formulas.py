"""How many atoms of each element the molecules to be generated have: as the training set's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from molflow.chem.formula import parse, spell
from molflow.data.by_size import NONE, BySize

if TYPE_CHECKING:
    from molflow.data.store import Store

_STREAM = 0xF0271  # keeps the draw of formulas apart from that of sizes and from the noise
MOST = 5000  # formulas that a model keeps; a set that has more keeps none
UNKNOWN = NONE  # counts of a molecule whose size no formula has


@dataclass(frozen=True)
class Formulas:
    """A distribution of formulas, {formula: weight}, stored with a model. Charges are no part of them.

    >>> Formulas({"CH4": 1, "H2O": 3, "NH3O": 1}).at(0, ids=[0, 1], sizes=[3, 9], elements=[1, 8]).tolist()
    [[2, 1], [-1, -1]]
    """

    weights: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_store(cls, store: Store, split: str = "train") -> Formulas:
        """The histogram of a split's formulas; of none where they are too many to keep, or elements are not known."""
        elements, counts = store.element_counts(store.indices(split))
        if not len(counts):
            return cls()
        kinds, weights = np.unique(counts, axis=0, return_counts=True)
        if len(kinds) > MOST:
            return cls()
        named = zip((spell(dict(zip(elements, kind.tolist()))) for kind in kinds), weights.tolist())
        return cls(dict(sorted(named, key=lambda item: (-item[1], item[0]))))

    def at(self, seed: int, ids: Sequence[int] | np.ndarray, sizes: np.ndarray, elements: Sequence[int]) -> np.ndarray:
        """For the molecules with these numbers the counts of each element, [n, E]: the same in whatever shards.

        Of the formulas with as many atoms as the molecule has; ``UNKNOWN`` where there is none.
        """
        counts = np.array([[formula[element] for element in elements] for formula in self._parsed], np.int64)
        return self._drawn.rows_of(counts.reshape(-1, len(elements)), seed, ids, sizes)

    @cached_property
    def _parsed(self) -> list[Counter[int]]:
        return [parse(text) for text in self.weights]

    @cached_property
    def _drawn(self) -> BySize:
        return BySize([counts.total() for counts in self._parsed], list(self.weights.values()), _STREAM)
