"""Molecules under judgement: what a sampler wrote down, copied once into flat arrays that every metric reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from molflow.chem.arrays import offsets_of
from molflow.metrics.gate import gate, nearest

if TYPE_CHECKING:
    from molflow.metrics.generated import Generated

AROMATIC, OTHER = 4, 9  # codes of bonds beside 1, 2, 3; OTHER is what no protocol knows (dative, zero order, ...)
_PAIRS = 1 << 19  # pairs of atoms at a time


@dataclass(frozen=True, eq=False)
class Molecules:
    """M molecules of A atoms and E bonds in all; molecule k owns atoms ``offsets[k]:offsets[k + 1]``.

    A molecule that could not be read has no atoms, and its reason in ``unread``. What they were read from is not kept
    (``molflow.metrics.intake`` copies it), so nothing that judges can change it.

    >>> from rdkit import Chem
    >>> from molflow.metrics.intake import of_mols
    >>> molecules = of_mols([Chem.AddHs(Chem.MolFromSmiles("O")), None])
    >>> molecules.sizes.tolist(), molecules.bonds.tolist(), molecules.faults
    ([3, 0], [[0, 1, 1], [0, 2, 1]], ['', 'failed'])
    """

    offsets: np.ndarray  # [M + 1]
    numbers: np.ndarray  # [A]
    charges: np.ndarray  # [A]
    pos: np.ndarray  # [A, 3] angstrom
    bond_offsets: np.ndarray  # [M + 1]
    bonds: np.ndarray  # [E, 3] (i, j, order) with i < j counted within the molecule
    has_pos: np.ndarray  # [M] bool: coordinates were given
    has_bonds: np.ndarray  # [M] bool: bonds were given
    hidden_h: np.ndarray  # [M] bool: the source counts hydrogens that are not atoms
    unread: dict[int, str] = field(default_factory=dict)  # {molecule: why there is nothing to judge}
    unbonded: dict[int, str] = field(default_factory=dict)  # {molecule: why it has no bonds, if they were looked for}

    # -- making

    @classmethod
    def none(cls) -> Molecules:
        """No molecule at all."""
        zero, flags = np.zeros(0, np.int64), np.zeros(0, bool)
        pos, bonds = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
        return cls(offsets_of(zero), zero, zero, pos, offsets_of(zero), bonds, flags, flags, flags)

    @classmethod
    def cat(cls, parts: Sequence[Molecules]) -> Molecules:
        """One after another."""
        parts = list(parts) or [cls.none()]
        starts = np.cumsum([0, *map(len, parts)])
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("numbers", "charges", "pos", "bonds", "has_pos", "has_bonds", "hidden_h")
        }
        return cls(
            offsets=offsets_of(np.concatenate([part.sizes for part in parts])),
            bond_offsets=offsets_of(np.concatenate([np.diff(part.bond_offsets) for part in parts])),
            unread={k + int(start): why for start, part in zip(starts, parts) for k, why in part.unread.items()},
            unbonded={k + int(start): why for start, part in zip(starts, parts) for k, why in part.unbonded.items()},
            **joined,
        )

    # -- reading

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: Sequence[int] | np.ndarray | slice) -> Molecules:
        """The molecules at ``rows``, in that order."""
        rows = np.arange(len(self))[rows]
        atoms, bonds = _spans(self.offsets, rows), _spans(self.bond_offsets, rows)
        return Molecules(
            offsets=offsets_of(self.sizes[rows]),
            numbers=self.numbers[atoms],
            charges=self.charges[atoms],
            pos=self.pos[atoms],
            bond_offsets=offsets_of(np.diff(self.bond_offsets)[rows]),
            bonds=self.bonds[bonds],
            has_pos=self.has_pos[rows],
            has_bonds=self.has_bonds[rows],
            hidden_h=self.hidden_h[rows],
            unread={new: self.unread[old] for new, old in enumerate(rows.tolist()) if old in self.unread},
            unbonded={new: self.unbonded[old] for new, old in enumerate(rows.tolist()) if old in self.unbonded},
        )

    def without(self, rows: Sequence[int], reason: str) -> Molecules:
        """The same with these molecules emptied, unread for the reason given."""
        keep = np.ones(len(self), bool)
        keep[list(rows)] = False
        atoms, bonds = keep[self.owner], keep[self.bond_owner]
        return Molecules(
            offsets=offsets_of(self.sizes * keep),
            numbers=self.numbers[atoms],
            charges=self.charges[atoms],
            pos=self.pos[atoms],
            bond_offsets=offsets_of(np.diff(self.bond_offsets) * keep),
            bonds=self.bonds[bonds],
            has_pos=self.has_pos & keep,
            has_bonds=self.has_bonds & keep,
            hidden_h=self.hidden_h & keep,
            unread=self.unread | dict.fromkeys(rows, reason),
            unbonded=self.unbonded,
        )

    @cached_property
    def sizes(self) -> np.ndarray:
        """Atoms of each molecule, [M]."""
        return np.diff(self.offsets)

    @cached_property
    def owner(self) -> np.ndarray:
        """The molecule of each atom, [A]."""
        return np.repeat(np.arange(len(self)), self.sizes)

    @cached_property
    def bond_owner(self) -> np.ndarray:
        """The molecule of each bond, [E]."""
        return np.repeat(np.arange(len(self)), np.diff(self.bond_offsets))

    @cached_property
    def faults(self) -> list[str]:
        """Why it is no molecule, whatever the protocol: ``empty``, ``non_finite``, ...; or an empty text, [M]."""
        return gate(self)

    @cached_property
    def bondless(self) -> list[str]:
        """Why several atoms have no bonds: ``no_bonds``, or what stopped their perception; or an empty text, [M]."""
        without = (~self.has_bonds & (self.sizes > 1)).tolist()
        return [self.unbonded.get(k, "no_bonds") if flag else "" for k, flag in enumerate(without)]

    @cached_property
    def nearest(self) -> np.ndarray:
        """Distance of each atom to the nearest of its molecule, [A]; infinite where there is none."""
        return nearest(self)

    @cached_property
    def generated(self) -> Generated:
        """The molecules as RDKit reads them from the bonds and charges given: read once, for every protocol."""
        from molflow.metrics.generated import Generated

        return Generated(self)

    def by_size(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rows [b], atoms [b, n]) for molecules of one size n at a time, their pairs bounded."""
        for n in np.unique(self.sizes[self.sizes > 0]).tolist():
            rows = np.flatnonzero(self.sizes == n)
            step = max(1, _PAIRS // (n * n))
            for low in range(0, len(rows), step):
                part = rows[low : low + step]
                yield part, self.offsets[part][:, None] + np.arange(n)

    def per_molecule(self, flags: np.ndarray) -> np.ndarray:
        """How many of its atoms each molecule has the flag [A] on, [M]."""
        return np.bincount(self.owner[flags], minlength=len(self))

    def per_molecule_sum(self, values: np.ndarray) -> np.ndarray:
        """Sum over each molecule's atoms of ``values`` [A], [M] integers."""
        return np.bincount(self.owner, weights=values, minlength=len(self)).astype(np.int64)


def _spans(offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    counts = np.diff(offsets)[rows]
    before = np.cumsum(counts) - counts
    return np.repeat(offsets[rows] - before, counts) + np.arange(int(counts.sum()))
