"""Before any protocol: is this a molecule at all?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from molflow.metrics.molecules import Molecules

OVERLAP = 0.4  # angstrom: closer than this two atoms are one (the shortest bond, H-H, is 0.74)
LARGEST = 3000  # atoms: distances are compared pair by pair


def gate(molecules: Molecules) -> list[str]:
    """The first of these that is true, or an empty text: unread, ``empty``, ``too_large``, ``unknown_element``,
    ``non_finite``, ``overlap``."""
    faults = np.zeros(len(molecules), object)
    faults[:] = ""
    close = molecules.per_molecule(molecules.nearest < OVERLAP) > 0
    strange = molecules.per_molecule(np.isin(molecules.numbers, range(1, 119), invert=True)) > 0
    wild = molecules.per_molecule(~np.isfinite(molecules.pos.sum(1))) > 0
    faults[close & molecules.has_pos] = "overlap"
    faults[wild & molecules.has_pos] = "non_finite"
    faults[strange] = "unknown_element"
    faults[molecules.sizes > LARGEST] = "too_large"
    faults[molecules.sizes == 0] = "empty"
    for row, why in molecules.unread.items():
        faults[row] = why
    return faults.tolist()


def nearest(molecules: Molecules) -> np.ndarray:
    """Distance of each atom to the nearest other of its molecule, [A]."""
    out = np.full(len(molecules.numbers), np.inf)
    for _, atoms in molecules.by_size():
        n = atoms.shape[1]
        if n > LARGEST:
            continue
        pos = molecules.pos[atoms]  # [b, n, 3]
        with np.errstate(all="ignore"):
            x, y, z = ((pos[:, :, None, k] - pos[:, None, :, k]) ** 2 for k in range(3))
        square = x + y + z  # [b, n, n]
        square[:, range(n), range(n)] = np.inf
        out[atoms] = np.sqrt(np.fmin.reduce(square, axis=2, initial=np.inf))
    return out
