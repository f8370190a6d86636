"""The corrected table of GEOM-Drugs revisited (2025): aromatic bonds are counted apart from the others."""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from molflow.chem.elements import NUMBER
from molflow.metrics.explicit import Explicit
from molflow.metrics.graph import sum_at_atoms
from molflow.metrics.molecules import AROMATIC, OTHER, Molecules
from molflow.metrics.protocol import first_of, where

# element, charges: (aromatic bonds, sum of the other orders) ...
_ALLOWED = """
    H 0: 0,1      F 0: 0,1      B 0: 0,3      B -1: 0,4      Si 0: 0,4     Si +1: 0,5
    C 0: 0,4 2,2 2,1 3,0        C -1: 0,3 2,1 3,0            C +1: 0,3 2,1 3,0
    N 0: 0,3 2,0 2,1 3,0        N +1: 0,4 2,0 2,1 2,2 3,0    N -1: 0,2 2,0       N -2: 0,1
    O 0: 0,2 2,0                O -1: 0,1                    O +1: 0,3
    S 0: 0,2 0,3 0,6 2,0        S +1: 0,3 2,0 2,1 3,0        S +2: 0,4 2,1 2,2   S +3: 0,2 0,5    S -1: 0,1
    Cl 0: 0,1     Cl +1: 0,2    Br 0: 0,1     Br +1: 0,2     I 0: 0,1      I +1: 0,2      I +2: 0,3
    P 0: 0,3 0,5  P +1: 0,4     Bi 0: 0,3     Bi +2: 0,5
"""
_CHARGES = 4  # wider than any that is listed


class Revisited(Explicit):
    """An atom is stable if (aromatic bonds, sum of its other orders) is in a table by element and charge.

    Valid: sanitises, and is one fragment.
    """

    name = "revisited"
    summary = "aromatic bonds counted apart; valid: sanitises, one piece"
    source = "GEOM-Drugs revisited (2025)"
    defect = "sulphoxides drawn S=O (DMSO) and selenium are unstable"
    elements = frozenset(NUMBER[symbol] for symbol in re.findall("[A-Z][a-z]?", _ALLOWED))

    def stable_atoms(self, molecules: Molecules) -> np.ndarray:
        code = molecules.bonds[:, 2]

        def count(values: np.ndarray) -> np.ndarray:
            total = sum_at_atoms(molecules, molecules.bonds, molecules.bond_owner, values)
            return np.minimum(total, 15).astype(np.int64)

        others = count(np.where(code < AROMATIC, code, 0))
        charge = np.clip(molecules.charges, -_CHARGES, _CHARGES) + _CHARGES
        stable = _table()[np.clip(molecules.numbers, 0, 119), charge, count(code == AROMATIC), others]
        return molecules.per_molecule(stable & (count(code == OTHER) == 0))

    def wrong(self, molecules: Molecules) -> list[str]:
        read = molecules.generated
        return first_of(read.problems, where(read.pieces > 1, "not_connected"))


@cache
def _table() -> np.ndarray:
    """[number, charge + 4, aromatic bonds, sum of the others]"""
    table = np.zeros((120, 2 * _CHARGES + 1, 16, 16), bool)
    for symbol, charge, pairs in re.findall(r"([A-Z][a-z]?) ([-+]?\d):((?: +\d,\d)+)", _ALLOWED):
        for pair in pairs.split():
            aromatic, others = map(int, pair.split(","))
            table[NUMBER[symbol], int(charge) + _CHARGES, aromatic, others] = True
    return table
