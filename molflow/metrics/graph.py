"""Bonds [E, 3] (i, j, order; i and j counted within their molecule, whose number is ``owner`` [E]) as a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from molflow.metrics.molecules import Molecules


def fragments(molecules: Molecules, bonds: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Connected pieces of each molecule, [M]."""
    return np.bincount(_pieces(molecules, bonds, owner)[1], minlength=len(molecules))


def piece_hashes(
    molecules: Molecules, bonds: np.ndarray, owner: np.ndarray, far: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """A hash of each connected piece [P] and the number of its molecule [P]; like pieces have like hashes.

    Of elements and who is bonded to whom, so many bonds far (Weisfeiler & Leman); orders and charges do not matter. So
    molecules without a hash in common have no SMILES in common, and RDKit need not be asked.
    """
    label, whose = _pieces(molecules, bonds, owner)
    i, j = _ends(molecules, bonds, owner)
    state = _mixed(molecules.numbers.astype(np.uint64))
    for _ in range(far):
        around = np.zeros_like(state)
        for end, other in ((i, j), (j, i)):
            np.add.at(around, end, state[other])
        state = _mixed(state * np.uint64(3) + around)
    total = np.zeros(len(whose), np.uint64)
    np.add.at(total, label, state)
    return _mixed(total), whose


def _mixed(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _pieces(molecules: Molecules, bonds: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The connected piece of each atom, [A], and the molecule of each piece, [P]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    i, j = _ends(molecules, bonds, owner)
    atoms = len(molecules.numbers)
    graph = coo_array((np.ones(len(i), np.int8), (i, j)), shape=(atoms, atoms)).tocsr()
    count, label = connected_components(graph, directed=False)
    whose = np.zeros(count, np.int64)
    whose[label] = molecules.owner
    return label, whose


def sum_at_atoms(molecules: Molecules, bonds: np.ndarray, owner: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum over the bonds at each atom of ``values`` [E], [A]."""
    ends = np.concatenate(_ends(molecules, bonds, owner))
    return np.bincount(ends, weights=np.tile(values, 2), minlength=len(molecules.numbers))


def _ends(molecules: Molecules, bonds: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    start = molecules.offsets[owner]
    return bonds[:, 0] + start, bonds[:, 1] + start
