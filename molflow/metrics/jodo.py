"""JODO's protocol (Huang et al. 2023): Kekule orders in the legacy table, and the share that is valid and whole."""

from __future__ import annotations

import numpy as np

from molflow.metrics.explicit import Explicit
from molflow.metrics.graph import sum_at_atoms
from molflow.metrics.keys import KeySet
from molflow.metrics.legacy import Legacy, allowed
from molflow.metrics.molecules import AROMATIC, Molecules
from molflow.metrics.protocol import NO_REFERENCE, Tally
from molflow.metrics.rate import Rate


class Jodo(Explicit):
    """Complete: sanitises, and is one fragment. Unique and novel are shares of all molecules.

    An atom is stable if the sum of its orders in a Kekule structure is in the legacy table.
    """

    name = "jodo"
    summary = "legacy's table on Kekule bonds; valid: sanitises"
    source = "Huang et al. 2023, arXiv:2305.12347"
    defect = "the legacy table, whose radicals and unlisted charges pass; uniqueness falls with validity"
    elements = Legacy.elements
    unique_of = "all"

    def stable_atoms(self, molecules: Molecules) -> np.ndarray:
        order = molecules.bonds[:, 2].copy()
        aromatic = np.unique(molecules.bond_owner[order == AROMATIC])
        for k in aromatic.tolist():
            own = slice(molecules.bond_offsets[k], molecules.bond_offsets[k + 1])
            order[own] = _kekule(molecules, k, order[own])
        valence = sum_at_atoms(molecules, molecules.bonds, molecules.bond_owner, np.where(order <= 3, order, 15))
        return molecules.per_molecule(allowed(molecules, valence))

    def wrong(self, molecules: Molecules) -> list[str]:
        return molecules.generated.problems

    def rates(self, tally: Tally, training: KeySet | str = NO_REFERENCE) -> dict[str, Rate]:
        return super().rates(tally, training) | {"complete": Rate(tally.complete, tally.n)}


def _kekule(molecules: Molecules, k: int, order: np.ndarray) -> np.ndarray:
    """Single and double in the place of aromatic; unchanged where no such structure exists."""
    from rdkit import Chem

    mol = molecules.generated.mols[k]
    if mol is None:
        return order
    mol = Chem.RWMol(mol)  # kekulising changes its argument
    Chem.Kekulize(mol, clearAromaticFlags=True)
    matrix = Chem.GetAdjacencyMatrix(mol, useBO=True, force=True)
    i, j = molecules.bonds[molecules.bond_offsets[k] : molecules.bond_offsets[k + 1], :2].T
    return matrix[i, j].astype(np.int64)
