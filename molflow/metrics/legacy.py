"""The valency table behind MiDi's, EQGAT-diff's and SemlaFlow's published figures, its defect included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from molflow.chem.elements import NUMBER
from molflow.metrics.explicit import Explicit
from molflow.metrics.graph import sum_at_atoms
from molflow.metrics.molecules import Molecules

_BY_CHARGE: dict[str, Mapping[int, Sequence[int]]] = {
    "H": {0: [1], 1: [0], -1: [0]},
    "C": {0: [3, 4], 1: [3], -1: [3]},
    "N": {0: [2, 3], 1: [2, 3, 4], -1: [2]},
    "O": {0: [2], 1: [3], -1: [1]},
    "F": {0: [1], -1: [0]},
    "P": {0: [3, 5], 1: [4]},
    "S": {0: [2, 6], 1: [2, 3], 2: [4], 3: [5], -1: [3]},
    "Br": {0: [1], 1: [2]},
}  # a charge that is not listed is read as neutral
_AT_ANY_CHARGE: dict[str, Sequence[int]] = {
    "B": [3],
    "Al": [3],
    "Si": [4],
    "Cl": [1],
    "As": [3],
    "I": [1],
    "Hg": [1, 2],
    "Bi": [3, 5],
    "Se": [2, 4, 6],
}
_AS_SINGLE = np.array([0, 1, 2, 3, 1, 0, 0, 0, 0, 15])  # by bond code: aromatic is 1.5 cut to an integer
_CHARGES = 8  # wider than any that is listed


class Legacy(Explicit):
    """An atom is stable if the sum of its bond orders, aromatic ones counted as single, is in a table by charge.

    Valid: sanitises. Recorded is the largest fragment.
    """

    name = "legacy"
    summary = "ONLY to compare with old tables: aromatic bonds count as single"
    source = "MiDi (Vignac et al. 2023), EQGAT-diff, SemlaFlow"
    defect = "H:O:H, a CH3 radical and CH4 with charge +9 are stable; benzene's carbons pass as valence 3"
    elements = frozenset(NUMBER[symbol] for symbol in (*_BY_CHARGE, *_AT_ANY_CHARGE))

    def stable_atoms(self, molecules: Molecules) -> np.ndarray:
        valence = sum_at_atoms(molecules, molecules.bonds, molecules.bond_owner, _AS_SINGLE[molecules.bonds[:, 2]])
        return molecules.per_molecule(allowed(molecules, valence))

    def wrong(self, molecules: Molecules) -> list[str]:
        return molecules.generated.problems


def allowed(molecules: Molecules, valence: np.ndarray) -> np.ndarray:
    """Whether the table allows each atom's valence [A] (whole numbers) at its charge, [A]."""
    charge = np.clip(molecules.charges, -_CHARGES, _CHARGES) + _CHARGES
    return _table()[np.clip(molecules.numbers, 0, 119), charge, np.minimum(valence, 15).astype(np.int64)]


@cache
def _table() -> np.ndarray:
    """[number, charge + 8, valence]"""
    table = np.zeros((120, 2 * _CHARGES + 1, 16), bool)
    for symbol, valences in _AT_ANY_CHARGE.items():
        table[NUMBER[symbol], :, valences] = True
    for symbol, by_charge in _BY_CHARGE.items():
        for charge in range(-_CHARGES, _CHARGES + 1):
            table[NUMBER[symbol], charge + _CHARGES, list(by_charge.get(charge, by_charge[0]))] = True
    return table
