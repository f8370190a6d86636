"""Batch <-> RDKit molecules: the labels exactly as the batch carries them, nothing mended on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.arrays import Arrays, arrays_of
from molflow.chem.bonds import PerceptionError, perceive
from molflow.chem.convert import columns
from molflow.chem.molecule import build_mol, canonical_smiles, labels_of, sanitised

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["canonical_smiles", "from_rdkit", "to_rdkit"]


def to_rdkit(batch: Batch, sanitize: bool = True) -> list[Mol | None]:
    """RDKit molecules with the batch's elements, charges, bonds (4 = aromatic), coordinates and properties.

    No hydrogen is ever implied. A molecule that does not sanitise is None, and one that does has its stereo read from
    the coordinates; with ``sanitize=False`` every molecule comes back raw, and None is what RDKit cannot hold at all
    (an order outside 0-4, an atomic number outside 0-118). Where the batch has no bonds they are perceived, at the
    total of the charges it carries.

    >>> from rdkit import Chem
    >>> water = Batch(torch.tensor([[[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]]), torch.ones(1, 3).bool(),
    ...               atom=torch.tensor([[8, 1, 1]]), bond=torch.tensor([[[0, 1, 1], [1, 0, 0], [1, 0, 0]]]))
    >>> Chem.MolToSmiles(to_rdkit(water)[0])
    '[H]O[H]'
    """
    from rdkit import rdBase

    arrays = arrays_of(batch)
    with rdBase.BlockLogs():
        if arrays.bonds is None:
            mols = [_perceived(arrays, k) for k in range(len(batch))]
        else:
            mols = [build_mol(*arrays.labels(k), arrays.places(k)) for k in range(len(batch))]
            mols = [sanitised(mol) for mol in mols] if sanitize else mols
    for name, values in columns(batch).items():
        for mol, value in zip(mols, values):
            if mol is not None:
                mol.SetDoubleProp(name, value)
    return mols


def to_smiles(batch: Batch) -> list[str | None]:
    """``Batch.to_smiles``."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():  # it warns of hydrogens that cannot go, as in H2
        return [None if mol is None else Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in to_rdkit(batch)]


def from_rdkit(mols: Sequence[Mol], aromatic: bool = False) -> Batch:
    """A batch of molecules with explicit hydrogens, coordinates from the first conformer.

    Bonds are Kekule orders, or with ``aromatic`` 4 for the bonds that RDKit marks aromatic.
    """
    from rdkit import rdBase

    with rdBase.BlockLogs():
        labels = [labels_of(checked(k, mol), aromatic) for k, mol in enumerate(mols)]
    out = Batch.of_sizes(torch.tensor([len(numbers) for numbers, _, _ in labels], dtype=torch.long))
    shape = tuple(out.mask.shape)
    atom, charge, pos = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros((*shape, 3), np.float32)
    bond = np.zeros((*shape, shape[1]), np.int64)
    for k, (mol, (numbers, charges, bonds)) in enumerate(zip(mols, labels)):
        if n := len(numbers):
            atom[k, :n], charge[k, :n], pos[k, :n] = numbers, charges, mol.GetConformer().GetPositions()
            i, j, orders = bonds.T
            bond[k, i, j] = bond[k, j, i] = orders
    fields = {"pos": pos, "atom": atom, "charge": charge, "bond": bond}
    return out.replace(**{name: torch.from_numpy(value) for name, value in fields.items()})


def checked(k: int, mol: Mol | None) -> Mol:
    """Molecule k of several, if it has coordinates and all of its hydrogens are atoms."""
    if mol is None:
        raise UserError(f"molecule {k} is None")
    if mol.GetNumAtoms() and not mol.GetNumConformers():
        raise UserError(f"molecule {k} has no coordinates: embed it first (molflow.chem.embed)")
    if not mol.NeedsUpdatePropertyCache() and mol.GetNumAtoms(onlyExplicit=False) > mol.GetNumAtoms():
        raise UserError(f"molecule {k} has hydrogens that are not atoms: Chem.AddHs(mol, addCoords=True) makes them so")
    return mol


def _perceived(arrays: Arrays, k: int) -> Mol | None:
    numbers, charges, _ = arrays.labels(k)
    try:
        return perceive(numbers, arrays.places(k), sum(charges))
    except PerceptionError:
        return None
