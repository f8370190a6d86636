"""A record of a user's file -> arrays for a data file, or the reason why not; free of torch, so workers start fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molflow.build import UserError
from molflow.chem.bonds import perceive
from molflow.chem.embed import embed
from molflow.chem.molecule import DRAWING, NO_HYDROGENS, canonical_smiles, is_drawing, labels_of, lacks_hydrogens

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from molflow.chem.record import Record

TOO_CLOSE = 0.4  # angstrom; no two nuclei are


@dataclass
class Prepared:
    """A molecule with its conformers."""

    numbers: list[int]  # [N]
    charges: list[int]  # [N]
    bonds: np.ndarray  # [E, 3]: i, j, order
    conformers: list[np.ndarray]  # each [N, 3] angstrom
    smiles: str  # canonical, without stereo


def prepare(record: Record, conformers: int = 1, seed: int = 0, aromatic: bool = False) -> Prepared | str:
    """Embed what has no coordinates, perceive what has no bonds, sanitise the rest; or say why it cannot be."""
    try:
        return _arrays(_whole(record, conformers, seed), aromatic)
    except UserError as error:
        return str(error)


def _whole(record: Record, conformers: int, seed: int) -> Mol:
    from rdkit import Chem, rdBase

    mol = record.mol
    assert mol is not None, record.error
    if not mol.GetNumAtoms():
        raise UserError("a molecule without atoms")
    if not mol.GetNumConformers():
        embedded = embed(record.smiles, conformers, seed).mol
        _check_positions(embedded)
        return embedded
    _check_positions(mol)
    if not record.has_bonds:
        numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
        found = perceive(numbers, mol.GetConformer().GetPositions(), record.total_charge)
        if lacks_hydrogens(found):
            raise UserError(NO_HYDROGENS)
        return found
    mol = Chem.Mol(mol)
    with rdBase.BlockLogs():
        try:
            Chem.SanitizeMol(mol)
        except ValueError as error:
            raise UserError(f"it does not sanitise: {str(error).strip()}") from None
    missing = mol.GetNumAtoms(onlyExplicit=False) - mol.GetNumAtoms()
    if missing:
        raise UserError(f"{missing} hydrogens have no coordinates: add them first, or import SMILES")
    return mol


def _check_positions(mol: Mol) -> None:
    for conformer in mol.GetConformers():
        pos = conformer.GetPositions()
        if not np.isfinite(pos).all():
            raise UserError("a coordinate is not a finite number")
        square = np.square(pos[:, None] - pos).sum(-1)
        np.fill_diagonal(square, np.inf)
        if square.min() < TOO_CLOSE**2:
            raise UserError(f"two atoms are {square.min() ** 0.5:.2f} angstrom apart")
    if is_drawing(mol):
        raise UserError(f"{DRAWING}; import its SMILES instead")


def _arrays(mol: Mol, aromatic: bool) -> Prepared:
    numbers, charges, bonds = labels_of(mol, aromatic)
    return Prepared(
        numbers=numbers,
        charges=charges,
        bonds=bonds.astype(np.int32),
        conformers=[conformer.GetPositions().astype(np.float32) for conformer in mol.GetConformers()],
        smiles=canonical_smiles(mol),
    )
