"""What RDKit makes of a raw molecule: sanitised or why not, its radicals, its largest fragment."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from rdkit.Chem import Mol, RWMol

    from molflow.metrics.molecules import Molecules

_STEPS = {"PROPERTIES": "valence", "KEKULIZE": "kekulisation"}  # RDKit's names for what fails most often


def sanitise(mol: RWMol | None) -> str:
    """Sanitise in place; an empty text, or ``sanitisation:`` with the step that failed."""
    from rdkit import Chem

    if mol is None:
        return "sanitisation:bond_type"
    try:
        failed = Chem.SanitizeMol(mol, catchErrors=True)
    except Exception:  # a broken invariant inside RDKit: not one of the errors that it catches itself
        return "sanitisation:rdkit"
    if failed == Chem.SanitizeFlags.SANITIZE_NONE:
        return ""
    step = str(failed).rpartition("SANITIZE_")[2]
    return f"sanitisation:{_STEPS.get(step, step.lower())}"


def largest_fragments(mol: Mol) -> list[Mol]:
    """The fragments with the most atoms, hydrogens counted, in the order of their first atoms: one, or all that tie."""
    from rdkit import Chem

    parts = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
    most = max(part.GetNumAtoms() for part in parts)
    return [part for part in parts if part.GetNumAtoms() == most]


def radical_atoms(mol: Mol) -> list[int]:
    """Indices of the atoms with unpaired electrons."""
    return [atom.GetIdx() for atom in mol.GetAtomsMatchingQuery(_radical())]


def rows(molecules: Molecules) -> Iterator[tuple[list[int], list[int], list[tuple[int, ...]]]]:
    """(numbers, charges, bonds) of each molecule, as lists."""
    numbers, charges = molecules.numbers.tolist(), molecules.charges.tolist()
    atoms_at = molecules.offsets.tolist()
    for k, bonds in enumerate(bonds_of(molecules.bonds, molecules.bond_offsets)):
        atoms = slice(atoms_at[k], atoms_at[k + 1])
        yield numbers[atoms], charges[atoms], bonds


def bonds_of(bonds: np.ndarray, offsets: np.ndarray) -> Iterator[list[tuple[int, ...]]]:
    """The bonds [E, 3] of each molecule; by columns, as a million small lists would keep the garbage collector busy."""
    i, j, order = bonds.T.tolist()
    at = offsets.tolist()
    for low, high in pairwise(at):
        yield list(zip(i[low:high], j[low:high], order[low:high]))


@cache
def _radical():
    from rdkit.Chem import rdqueries

    return rdqueries.NumRadicalElectronsGreaterQueryAtom(0)
