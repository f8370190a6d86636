"""What the molecules carry: whether a protocol applies, and whether they are in angstrom."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molflow.metrics.graph import sum_at_atoms

if TYPE_CHECKING:
    from molflow.metrics.molecules import Molecules

_BINS = np.geomspace(1e-3, 1e3, 4001)  # angstrom: 0.35 % wide
_VALENCE = np.zeros(128, np.int64)  # what a neutral atom wants at least; zero: nothing is known
_VALENCE[[5, 6, 7, 8, 14, 15, 16]] = [3, 4, 3, 2, 4, 3, 2]
_FEW = 0.02  # of the molecules: more are not a model's mistakes
_WEIGHT = np.array([0, 1, 2, 3, 1.5, 0, 0, 0, 0, 0])  # of bond codes, for hydrogens to be missed


@dataclass(frozen=True)
class Inventory:
    """Counts of what was given, added up over blocks and shards."""

    n: int = 0
    several: int = 0  # molecules of two atoms and more
    with_pos: int = 0  # of those, how many carry coordinates
    with_bonds: int = 0  # of those, how many carry bonds
    with_h: int = 0  # molecules with a hydrogen atom
    bare: int = 0  # molecules of two heavy atoms and more, without a hydrogen, that have room for one
    apart: np.ndarray = field(default_factory=lambda: np.zeros(len(_BINS) + 1, np.int64))  # nearest neighbours, by bin
    sizes: Counter = field(default_factory=Counter)

    @classmethod
    def of(cls, molecules: Molecules) -> Inventory:
        several = molecules.sizes > 1
        h = molecules.per_molecule(molecules.numbers == 1) > 0
        near = molecules.nearest[molecules.has_pos[molecules.owner]]
        return cls(
            n=len(molecules),
            several=int(several.sum()),
            with_pos=int((several & molecules.has_pos).sum()),
            with_bonds=int((several & molecules.has_bonds).sum()),
            with_h=int(h.sum()),
            bare=_bare(molecules[several & ~h]),
            apart=np.bincount(np.digitize(near[np.isfinite(near)], _BINS), minlength=len(_BINS) + 1),
            sizes=Counter(molecules.sizes[molecules.sizes > 0].tolist()),
        )

    def __add__(self, other: Inventory) -> Inventory:
        return Inventory(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})

    def lack(self, *needs: str) -> str:
        """Why nothing can be said of molecules that lack what a metric needs, or an empty text."""
        if self.several and "bonds" in needs and not self.with_bonds:
            return "no bonds in the input"
        if self.several and "coordinates" in needs and not self.with_pos:
            return "no coordinates in the input"
        if self.bare > self.with_h:
            return "no explicit hydrogens"
        return ""

    @property
    def spacing(self) -> float | None:
        """Median distance of an atom to its nearest neighbour, to 0.2 %."""
        total = np.cumsum(self.apart)
        if not total[-1]:
            return None
        at = int(np.searchsorted(total, (total[-1] + 1) // 2))
        return float(np.sqrt(_BINS[max(at - 1, 0)] * _BINS[min(at, len(_BINS) - 1)]))

    def warnings(self) -> list[str]:
        """What looks wrong about the input as a whole."""
        return self._hydrogens() + self._unit()

    def _hydrogens(self) -> list[str]:
        few = min(self.bare, self.with_h)
        if few < _FEW * self.n:
            return []
        return [
            f"{self.bare:,} molecules have no explicit hydrogens where {self.with_h:,} have them: "
            "they were written in two ways, and one is judged by the rules of the other"
        ]

    def _unit(self) -> list[str]:
        d = self.spacing
        if d is None or 0.9 <= d <= 1.6:
            return []
        text = f"the median distance between nearest atoms is {d:.3g}, where molecules in angstrom have 0.9 to 1.6"
        if 0.09 <= d <= 0.16:
            return [f"{text}: are these nanometres?"]
        if 1.7 <= d <= 3.02:
            return [f"{text}: are these bohr?"]
        return [text]


def _bare(molecules: Molecules) -> int:
    """How many have a neutral atom with fewer bonds than it wants; where none are given, bonds of EDM's table count."""
    from molflow.metrics.edm import edm_bonds

    want = _VALENCE[np.clip(molecules.numbers, 0, 127)] * (molecules.charges == 0)
    weight = _WEIGHT[molecules.bonds[:, 2]]
    have = sum_at_atoms(molecules, molecules.bonds, molecules.bond_owner, weight)
    if not molecules.has_bonds.all():
        bonds, owner = edm_bonds(molecules)
        near = sum_at_atoms(molecules, bonds, owner, bonds[:, 2])
        have = np.where(molecules.has_bonds[molecules.owner], have, near)
    return int((molecules.hidden_h | (molecules.per_molecule(want > have + 0.5) > 0)).sum())
