"""What protocols on explicit bonds and charges have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from molflow.metrics.molecules import Molecules
from molflow.metrics.protocol import Protocol, Verdicts, first_of, where


class Explicit(Protocol):
    """Judges the bonds and charges that the sampler wrote down."""

    needs = ("bonds",)
    elements: ClassVar[frozenset[int]] = frozenset(range(1, 119))  # that its table knows

    def bonds(self, molecules: Molecules) -> tuple[np.ndarray, np.ndarray]:
        return molecules.bonds, molecules.bond_owner

    @abstractmethod
    def stable_atoms(self, molecules: Molecules) -> np.ndarray:
        """How many atoms of each molecule are stable, [M]."""

    @abstractmethod
    def wrong(self, molecules: Molecules) -> Sequence[str]:
        """Why a molecule that passed the gate is not valid, or an empty text, [M]."""

    def judge(self, molecules: Molecules) -> Verdicts:
        """A verdict on each molecule; one of several atoms without bonds is ``no_bonds``."""
        read = molecules.generated
        gate = first_of(molecules.faults, molecules.bondless)
        wrong = first_of(gate, self.wrong(molecules))
        passed = np.array([not reason for reason in gate], bool)
        counted = np.array([reason in ("", "overlap") for reason in gate], bool)
        stable_atoms = np.where(counted, self.stable_atoms(molecules), 0)
        stable = passed & (stable_atoms == molecules.sizes)
        strange = molecules.per_molecule(np.isin(molecules.numbers, list(self.elements), invert=True))
        valid = np.array([not reason for reason in wrong], bool)
        return Verdicts(
            atoms=molecules.sizes,
            stable_atoms=stable_atoms,
            stable=stable,
            valid=valid,
            connected=passed & (read.pieces == 1),
            reasons=first_of(
                wrong,
                where(read.pieces > 1, "not_connected"),
                where(~stable & (strange > 0), "unknown_element"),
                where(~stable, "valence"),
            ),
            smiles=[text if ok else "" for text, ok in zip(read.smiles, valid.tolist())],
            identities=read.identities,
        )
