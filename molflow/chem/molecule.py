"""Molecules as RDKit holds them, from and to plain arrays; no torch here, so that workers start quickly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from molflow.build import UserError

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Mol, RWMol


def given(molecules: Iterable[Mol | None], first: int = 0) -> list[Mol | None]:
    """The molecules of a list, a column of a table or an iterator, counted from ``first``; nothing else is taken.

    >>> given(None)
    Traceback (most recent call last):
    molflow.build.UserError: molecules come as a list, a batch or the names of files, not as NoneType
    """
    from rdkit.Chem import Mol

    if isinstance(molecules, Mol) or not isinstance(molecules, Iterable):
        lone = "a lone molecule: put it into a list" if isinstance(molecules, Mol) else type(molecules).__name__
        raise UserError(f"molecules come as a list, a batch or the names of files, not as {lone}")
    listed = list(molecules)
    for k, mol in enumerate(listed, first):
        if not (mol is None or isinstance(mol, Mol)):
            raise UserError(f"molecule {k} is no RDKit molecule but {type(mol).__name__}")
    return listed


def build_mol(
    numbers: Sequence[int],
    charges: Sequence[int],
    bonds: Iterable[Sequence[int]],
    pos: np.ndarray | None = None,
    implied_h: bool = False,
) -> RWMol | None:
    """A raw molecule that says all it has: nothing is sanitised, and no hydrogen is implied unless ``implied_h``.

    Bonds are rows (i, j, order); without ``pos`` it has no conformer.

    None if RDKit cannot hold it: an atomic number outside 0-118, an order outside 1-4, a bond from an atom to itself.
    """
    from rdkit import Chem

    mol = Chem.RWMol()
    types = _bond_types()
    try:
        for number, charge in zip(numbers, charges):
            mol.AddAtom(_atom(number, charge, implied_h))
        for i, j, order in bonds:
            mol.AddBond(i, j, types[order])
            if order == 4:
                mol.GetBondBetweenAtoms(i, j).SetIsAromatic(True)
                mol.GetAtomWithIdx(i).SetIsAromatic(True)
                mol.GetAtomWithIdx(j).SetIsAromatic(True)
    except (ValueError, KeyError, OverflowError, RuntimeError):
        return None
    if pos is not None:
        conformer = Chem.Conformer(len(numbers))
        conformer.SetPositions(pos)
        mol.AddConformer(conformer)
    return mol


def labels_of(mol: Mol, aromatic: bool = False) -> tuple[list[int], list[int], np.ndarray]:
    """What ``build_mol`` would make it of: atomic numbers, formal charges, and bonds [E, 3] with Kekule orders.

    With ``aromatic`` the bonds that RDKit marks so have order 4.

    >>> from rdkit import Chem
    >>> labels_of(Chem.MolFromSmiles("[C-]#[O+]"))
    ([6, 8], [-1, 1], array([[0, 1, 3]]))
    """
    atoms = [*mol.GetAtoms()]
    orders = np.triu(_bond_matrix(mol, aromatic))
    i, j = orders.nonzero()
    numbers, charges = [atom.GetAtomicNum() for atom in atoms], [atom.GetFormalCharge() for atom in atoms]
    return numbers, charges, np.stack([i, j, orders[i, j]], 1)


def _bond_matrix(mol: Mol, aromatic: bool = False) -> np.ndarray:
    """The orders of a molecule's bonds, [N, N] integers: Kekule, or 4 for aromatic."""
    from rdkit import Chem

    orders = Chem.GetAdjacencyMatrix(mol, useBO=True, force=True)
    marked = orders == 1.5
    if marked.any() and not aromatic:
        try:
            mol = Chem.RWMol(mol)  # kekulising changes its argument
            Chem.Kekulize(mol, clearAromaticFlags=True)
        except Chem.MolSanitizeException as error:
            raise UserError(f"no Kekule structure for {Chem.MolToSmiles(mol)}: {error}") from None
        orders = Chem.GetAdjacencyMatrix(mol, useBO=True, force=True)
        marked = orders == 1.5
    if not np.isin(orders[~marked], (0, 1, 2, 3)).all():
        raise UserError(f"{Chem.MolToSmiles(mol)} has a bond that is not single, double, triple or aromatic")
    return np.where(marked, 4, orders).astype(np.int64)


def kekule_says_it(mol: Mol) -> bool:
    """Whether its aromatic bonds, if any, are what RDKit will find again in a Kekule structure."""
    from rdkit import Chem

    if not len(mol.GetAromaticAtoms()):
        return True
    aromatic = [bond.GetIdx() for bond in mol.GetBonds() if bond.GetBondType() == Chem.BondType.AROMATIC]
    again = Chem.Mol(mol)
    try:
        Chem.Kekulize(again, clearAromaticFlags=True)
        Chem.SanitizeMol(again)
    except (ValueError, RuntimeError):
        return False
    return aromatic == [bond.GetIdx() for bond in again.GetBonds() if bond.GetIsAromatic()]


def sanitised(mol: Mol | None) -> Mol | None:
    """Sanitised in place, with stereo from its coordinates if it has some; None if RDKit refuses it."""
    from rdkit import Chem

    if mol is None:
        return None
    # the clean-up steps would rewrite charges and orders (a neutral nitro group's), so they are left out
    steps = Chem.SANITIZE_ALL ^ Chem.SANITIZE_CLEANUP ^ Chem.SANITIZE_CLEANUP_ORGANOMETALLICS
    if Chem.SanitizeMol(mol, steps, catchErrors=True) != Chem.SANITIZE_NONE:
        return None
    if mol.GetNumConformers() and np.isfinite(mol.GetConformer().GetPositions()).all():
        Chem.AssignStereochemistryFrom3D(mol)
    return mol


def is_drawing(mol: Mol) -> bool:
    """Whether its coordinates are a drawing in two dimensions, as databases keep, and not where its atoms are."""
    if mol.GetNumAtoms() < 2 or not mol.GetNumConformers() or mol.GetConformer().GetPositions()[:, 2].any():
        return False
    code = mol.GetProp("_MolFileInfo")[20:22] if mol.HasProp("_MolFileInfo") else None  # where a file may say it
    if code == "2D" or (code is None and not mol.GetConformer().Is3D()):
        return True
    return any(atom.GetAtomicNum() == 6 and atom.GetDegree() > 3 for atom in mol.GetAtoms())


DRAWING = "it is a drawing in two dimensions"  # to a user, of such a one


def canonical_smiles(mol: Mol) -> str:
    """The molecule's SMILES without stereo and with hydrogens implied, as stores keep it and novelty compares it.

    >>> from rdkit import Chem
    >>> canonical_smiles(Chem.AddHs(Chem.MolFromSmiles("C[C@H](N)C=O")))
    'CC(N)C=O'
    """
    from rdkit import Chem, rdBase

    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)  # first: hydrogens that hold a double bond's stereo would stay
    with rdBase.BlockLogs():  # it warns of hydrogens that cannot go, as in H2
        return Chem.MolToSmiles(Chem.RemoveHs(flat))


def lacks_hydrogens(mol: Mol) -> bool:
    """Whether a molecule of several heavy atoms has none, and radicals in their place."""
    atoms = [*mol.GetAtoms()]
    return (
        len(atoms) > 1
        and all(atom.GetAtomicNum() != 1 for atom in atoms)
        and any(atom.GetNumRadicalElectrons() for atom in atoms)
    )


NO_HYDROGENS = "it has no hydrogens, and room for some: add them first, or import SMILES"  # to a user, of such a one


def legible(mol: Mol) -> Mol:
    """The molecule without those of its properties that are no text, on which RDKit would stumble."""
    from rdkit import Chem

    strange = [name for name in mol.GetPropNames() if not _is_text(mol, name)]
    if strange:
        mol = Chem.Mol(mol)
        for name in strange:
            mol.ClearProp(name)
    return mol


def _is_text(mol: Mol, name: str) -> bool:
    try:
        mol.GetProp(name)
    except UnicodeDecodeError:
        return False
    return True


def number_props(mol: Mol) -> dict[str, float]:
    """The molecule's properties that are numbers."""
    try:
        props = mol.GetPropsAsDict(includePrivate=False, includeComputed=False)
    except UnicodeDecodeError:
        props = legible(mol).GetPropsAsDict(includePrivate=False, includeComputed=False)
    return {name: float(value) for name, value in props.items() if isinstance(value, (int, float))}


@cache
def _atom(number: int, charge: int, implied_h: bool) -> Atom:
    from rdkit import Chem

    if not 0 <= number <= 118:  # RDKit itself does not mind
        raise ValueError(f"no element has the number {number}")
    atom = Chem.Atom(number)
    atom.SetFormalCharge(charge)
    atom.SetNoImplicit(not implied_h)
    return atom


@cache
def _bond_types() -> dict:
    from rdkit.Chem import BondType

    return {1: BondType.SINGLE, 2: BondType.DOUBLE, 3: BondType.TRIPLE, 4: BondType.AROMATIC}
