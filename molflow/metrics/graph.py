"""Bonds [E, 3] (i, j, order; i and j counted within their molecule, whose number is ``owner`` [E]) as a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from molflow.metrics.molecules import Molecules


def fragments(molecules: Molecules, bonds: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Connected pieces of each molecule, [M]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    i, j = _ends(molecules, bonds, owner)
    atoms = len(molecules.numbers)
    graph = coo_array((np.ones(len(i), np.int8), (i, j)), shape=(atoms, atoms)).tocsr()
    count, label = connected_components(graph, directed=False)
    whose = np.zeros(count, np.int64)
    whose[label] = molecules.owner
    return np.bincount(whose, minlength=len(molecules))


def sum_at_atoms(molecules: Molecules, bonds: np.ndarray, owner: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum over the bonds at each atom of ``values`` [E], [A]."""
    ends = np.concatenate(_ends(molecules, bonds, owner))
    return np.bincount(ends, weights=np.tile(values, 2), minlength=len(molecules.numbers))


def _ends(molecules: Molecules, bonds: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    start = molecules.offsets[owner]
    return bonds[:, 0] + start, bonds[:, 1] + start
