"""Files to RDKit molecules and back, in one call each."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from molflow.chem.bonds import PerceptionError, perceive
from molflow.chem.io import Files, open_writer, read_all
from molflow.chem.molecule import lacks_hydrogens, sanitised
from molflow.chem.record import Record

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from molflow.batch import Batch


def read(files: Files, *, sanitize: bool = True) -> list[Mol | None]:
    """The molecules of files of any format, named or by pattern; None for one that is unreadable or, with
    ``sanitize``, that RDKit refuses.

    Nothing is mended, and no hydrogen is added or taken away. xyz files have no bonds: they are perceived, unless
    ``sanitize`` is off; None where hydrogens are missing, without which no bond order can be told.

    >>> import tempfile
    >>> from rdkit import Chem
    >>> path = f"{tempfile.mkdtemp()}/ethanol.smi"
    >>> write([Chem.MolFromSmiles("CCO")], path)
    >>> [Chem.MolToSmiles(mol) for mol in read(path)]
    ['CCO']
    """
    from rdkit import rdBase

    with rdBase.BlockLogs():
        return [molecule_of(record, sanitize) for record in read_all(files)]


def write(molecules: Batch | Iterable[Mol | None], path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Molecules to a file of the format that its suffix names (.sdf, .xyz, .extxyz, .smi, also with .gz; .npz)."""
    with open_writer(path, overwrite) as out:
        out.write(molecules)


def molecule_of(record: Record, sanitize: bool) -> Mol | None:
    """One of them, as ``read`` gives it."""
    mol = record.mol
    if mol is None:
        return None
    if sanitize and not record.has_bonds:
        numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
        try:
            mol = perceive(numbers, mol.GetConformer().GetPositions(), record.total_charge)
        except PerceptionError:
            return None
        if lacks_hydrogens(mol):
            return None
    elif sanitize:
        mol = sanitised(mol)
    if mol is not None:
        for name, text in record.texts.items():
            mol.SetProp(name, text)
        for name, value in record.props.items():
            mol.SetDoubleProp(name, value)
    return mol
