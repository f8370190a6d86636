"""RDKit molecules, batches, records and arrays -> ``Molecules``: copied as they are, nothing mended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from molflow.chem.arrays import Arrays, arrays_of, offsets_of
from molflow.chem.molecule import is_drawing
from molflow.metrics.molecules import AROMATIC, OTHER, Molecules

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from molflow.batch import Batch
    from molflow.chem.record import Record


def of_mols(
    mols: Sequence[Mol | None], reasons: Sequence[str] | None = None, has_bonds: Sequence[bool] | None = None
) -> Molecules:
    """From RDKit molecules, sanitised or not, by their first conformer; None is failed, for the reason beside it.

    Unless ``has_bonds`` says it of each, all have bonds or none, as in a batch: they do where one of them has some.
    """
    pieces = [_read(mol) for mol in mols]
    if has_bonds is None:
        has_bonds = [any(piece[3] for piece in pieces)] * len(mols)
    return Molecules(
        offsets=offsets_of([len(piece[0]) for piece in pieces]),
        numbers=np.array([z for piece in pieces for z in piece[0]], np.int64),
        charges=np.array([q for piece in pieces for q in piece[1]], np.int64),
        pos=np.concatenate([np.zeros((0, 3)), *(piece[2] for piece in pieces)]),
        bond_offsets=offsets_of([len(piece[3]) for piece in pieces]),
        bonds=np.array([bond for piece in pieces for bond in piece[3]], np.int64).reshape(-1, 3),
        has_pos=np.array([_has_pos(mol) for mol in mols], bool),
        has_bonds=np.array(has_bonds, bool),
        hidden_h=np.array([piece[4] for piece in pieces], bool),
        unread={k: (reasons[k] if reasons else "failed") for k, mol in enumerate(mols) if mol is None},
    )


def of_records(records: Sequence[Record], has_bonds: bool = True) -> Molecules:
    """From the records of a file, where it has bonds; one without a molecule keeps the reader's reason."""
    reasons = [record.reason or "unreadable" for record in records]
    return of_mols([record.mol for record in records], reasons, [has_bonds] * len(records))


def of_batch(batch: Batch) -> Molecules:
    """From a batch that speaks chemistry: atomic numbers, formal charges, bond orders."""
    return of_arrays(arrays_of(batch), 0, len(batch))


def of_arrays(arrays: Arrays, low: int, high: int) -> Molecules:
    """Molecules low .. high - 1; one whose bonds name atoms that it lacks is unreadable."""
    count = high - low
    atoms = slice(arrays.offsets[low], arrays.offsets[high])
    sizes = np.diff(arrays.offsets[low : high + 1]).astype(np.int64)
    charges = np.zeros(int(sizes.sum())) if arrays.charges is None else arrays.charges[atoms]
    bonds, counts = np.zeros((0, 3), np.int64), np.zeros(count, np.int64)
    if arrays.bonds is not None and arrays.bond_offsets is not None:
        bonds = arrays.bonds[arrays.bond_offsets[low] : arrays.bond_offsets[high]].astype(np.int64)
        counts = np.diff(arrays.bond_offsets[low : high + 1]).astype(np.int64)
    owner = np.repeat(np.arange(count), counts)
    bonds[:, :2].sort(axis=1)
    astray = (bonds[:, 0] < 0) | (bonds[:, 0] == bonds[:, 1]) | (bonds[:, 1] >= sizes[owner])
    bonds[(bonds[:, 2] < 1) | (bonds[:, 2] > AROMATIC), 2] = OTHER
    molecules = Molecules(
        offsets=offsets_of(sizes),
        numbers=arrays.numbers[atoms].astype(np.int64),
        charges=charges.astype(np.int64),
        pos=arrays.positions[atoms].astype(np.float64),
        bond_offsets=offsets_of(counts),
        bonds=bonds,
        has_pos=np.ones(count, bool),
        has_bonds=np.full(count, arrays.bonds is not None),
        hidden_h=np.zeros(count, bool),
    )
    return molecules.without(np.unique(owner[astray]).tolist(), "unreadable")


def _has_pos(mol: Mol | None) -> bool:
    return mol is not None and mol.GetNumConformers() > 0 and not is_drawing(mol)


def _read(mol: Mol | None) -> tuple[list[int], list[int], np.ndarray, list[tuple[int, int, int]], bool]:
    """Numbers, charges, positions, bonds, and whether it counts hydrogens that are not atoms."""
    if mol is None:
        return [], [], np.zeros((0, 3)), [], False
    orders, bonds = _orders(), []
    atoms = [mol.GetAtomWithIdx(i) for i in range(mol.GetNumAtoms())]  # RDKit's own iterators take twice the time
    for k in range(mol.GetNumBonds()):
        bond = mol.GetBondWithIdx(k)
        i, j = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
        bonds.append((i, j, orders.get(bond.GetBondType(), OTHER)))
    pos = mol.GetConformer().GetPositions() if mol.GetNumConformers() else np.zeros((len(atoms), 3))
    if mol.NeedsUpdatePropertyCache():
        hidden = any(atom.GetNumExplicitHs() for atom in atoms)
    else:
        hidden = mol.GetNumAtoms(onlyExplicit=False) > len(atoms)
    return [atom.GetAtomicNum() for atom in atoms], [atom.GetFormalCharge() for atom in atoms], pos, bonds, hidden


@cache
def _orders() -> dict:
    from rdkit.Chem import BondType

    return {BondType.SINGLE: 1, BondType.DOUBLE: 2, BondType.TRIPLE: 3, BondType.AROMATIC: AROMATIC}
