"""The npz layout straight into a data file: RDKit reads each molecule once, for its SMILES, in blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from molflow.build import UserError
from molflow.chem.arrays import Arrays, offsets_of
from molflow.chem.molecule import NO_HYDROGENS, build_mol, canonical_smiles, lacks_hydrogens
from molflow.data.checks import impossible
from molflow.workers import Failure, map_killable

_BLOCK = 200  # molecules a worker takes at a time


@dataclass
class Ready:
    """Arrays fit for the writer, and which molecule of the file each is."""

    arrays: Arrays
    kept: np.ndarray  # [M] numbers in the file
    refused: dict[int, str]  # number in the file -> why
    others: int = 0  # left out, as they have other elements than those to keep


def ready(
    arrays: Arrays,
    aromatic: bool = False,
    workers: int | None = None,
    timeout: float | None = 60.0,
    elements: frozenset[int] = frozenset(),
) -> Ready:
    """Refuse what no data file takes, make the bonds Kekule (or aromatic) where they are not, and read their SMILES.

    Molecules of other elements than these, if there are any, are left out before.
    """
    assert arrays.bonds is not None and arrays.bond_offsets is not None
    strange = ~np.isin(arrays.numbers, list(elements)) if elements else np.zeros(len(arrays.numbers), bool)
    owner = np.repeat(np.arange(len(arrays)), np.diff(arrays.offsets))
    others = np.bincount(owner[strange], minlength=len(arrays)) > 0
    refused = {k: why for k, why in _impossible(arrays).items() if not others[k]}
    bonds = arrays.bonds.astype(np.int64)
    charges = np.zeros(len(arrays.numbers), np.int64) if arrays.charges is None else arrays.charges.astype(np.int64)
    counts = np.diff(arrays.bond_offsets)
    marked = np.zeros(len(arrays), bool)
    marked[np.repeat(np.arange(len(arrays)), counts)[bonds[:, 2] == 4]] = True
    todo = np.full(len(arrays), True)
    todo[list(refused)] = False
    todo[others] = False
    smiles = np.full(len(arrays), b"", object)
    which = np.flatnonzero(todo)
    blocks = [which[k : k + _BLOCK] for k in range(0, len(which), _BLOCK)]
    items = ([arrays.labels(int(k)) for k in block] for block in blocks)
    answers = map_killable(partial(_rework, aromatic=aromatic), items, workers if blocks else 0, timeout)
    for block, (_, answer) in zip(blocks, answers):
        if isinstance(answer, Failure):  # one of them hangs or crashes: each by itself
            singles = ([arrays.labels(int(k))] for k in block)
            apart = map_killable(partial(_rework, aromatic=aromatic), singles, max(1, workers or 1), timeout)
            answer = [one.message if isinstance(one, Failure) else one[0] for _, one in apart]
        for found, k in zip(answer, block.tolist()):
            if isinstance(found, str):
                refused[k] = found
                continue
            orders, charged, smiles[k] = found
            atoms = slice(arrays.offsets[k], arrays.offsets[k + 1])
            mended = charged != charges[atoms].tolist()  # as in a nitro group that was given none
            if marked[k] or aromatic or mended:
                bonds[arrays.bond_offsets[k] : arrays.bond_offsets[k + 1], 2] = orders
                charges[atoms] = charged
    keep = ~others
    keep[list(refused)] = False
    whole = replace(arrays, charges=charges, bonds=bonds, smiles=smiles)
    return Ready(_only(whole, keep), np.flatnonzero(keep), dict(sorted(refused.items())), int(others.sum()))


def _impossible(arrays: Arrays) -> dict[int, str]:
    """{molecule: why} for what no data file takes."""
    assert arrays.bonds is not None and arrays.bond_offsets is not None
    columns = {"positions": arrays.positions, "numbers": arrays.numbers.astype(np.int64), "bonds": arrays.bonds}
    if arrays.charges is not None:
        columns["charges"] = arrays.charges
    split = np.zeros(len(arrays), np.int64) if arrays.split is None else arrays.split.astype(np.int64)
    return dict(impossible(np.diff(arrays.offsets), columns, np.diff(arrays.bond_offsets), split))


def _rework(molecules: list[tuple], aromatic: bool) -> list[tuple[list[int], list[int], bytes] | str]:
    """The orders of each molecule's bonds, Kekule or aromatic, its charges, which sanitising may mend, and its SMILES;
    or why not."""
    from rdkit import rdBase

    with rdBase.BlockLogs():
        return [_reworked(molecule, aromatic) for molecule in molecules]


def _reworked(molecule: tuple, aromatic: bool) -> tuple[list[int], list[int], bytes] | str:
    from rdkit import Chem

    numbers, charges, bonds = molecule
    mol = build_mol(numbers, charges, bonds, np.zeros((len(numbers), 3)))
    if mol is None:
        return "its elements or bonds are not ones that RDKit can hold"
    try:
        Chem.SanitizeMol(mol)
        if lacks_hydrogens(mol):
            return NO_HYDROGENS
        smiles = canonical_smiles(mol).encode()
        if not aromatic:
            Chem.Kekulize(mol, clearAromaticFlags=True)
    except (ValueError, UserError) as error:
        return f"it does not sanitise: {str(error).strip()}"
    orders = [bond.GetBondTypeAsDouble() for bond in mol.GetBonds()]
    charged = [atom.GetFormalCharge() for atom in mol.GetAtoms()]
    return [4 if order == 1.5 else int(order) for order in orders], charged, smiles


def _only(arrays: Arrays, keep: np.ndarray) -> Arrays:
    """Those molecules [M] alone."""
    assert arrays.charges is not None and arrays.bonds is not None and arrays.smiles is not None
    assert arrays.bond_offsets is not None
    sizes, counts = np.diff(arrays.offsets), np.diff(arrays.bond_offsets)
    atoms, edges = np.repeat(keep, sizes), np.repeat(keep, counts)

    return Arrays(
        offsets=offsets_of(sizes[keep]),
        numbers=arrays.numbers[atoms],
        positions=arrays.positions[atoms],
        charges=arrays.charges[atoms],
        bond_offsets=offsets_of(counts[keep]),
        bonds=arrays.bonds[edges],
        smiles=arrays.smiles[keep],
        split=None if arrays.split is None else arrays.split[keep],
        props={name: column[keep] for name, column in arrays.props.items()},
    )
