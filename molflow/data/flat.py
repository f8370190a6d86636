"""The npz layout straight into a data file: no Python object a molecule, but for those whose bonds need RDKit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from molflow.build import UserError
from molflow.chem.molecule import build_mol, canonical_smiles
from molflow.chem.read_arrays import Arrays
from molflow.data.format import BOND_ORDERS, SPLITS
from molflow.workers import Failure, map_killable

_BLOCK = 200  # molecules a worker takes at a time


@dataclass
class Ready:
    """Arrays fit for the writer, and which molecule of the file each is."""

    arrays: Arrays
    kept: np.ndarray  # [M] numbers in the file
    refused: dict[int, str]  # number in the file -> why


def ready(arrays: Arrays, aromatic: bool = False, workers: int | None = None, timeout: float | None = 60.0) -> Ready:
    """Refuse what no data file takes; make the bonds Kekule (or aromatic) and find the SMILES that are missing."""
    assert arrays.bonds is not None and arrays.bond_offsets is not None
    refused = dict(_impossible(arrays))
    bonds = arrays.bonds.astype(np.int64)
    counts = np.diff(arrays.bond_offsets)
    marked = np.zeros(len(arrays), bool)
    marked[np.repeat(np.arange(len(arrays)), counts)[bonds[:, 2] == 4]] = True
    todo = np.full(len(arrays), True) if arrays.smiles is None else marked != aromatic
    todo[list(refused)] = False
    smiles = np.full(len(arrays), b"", object) if arrays.smiles is None else arrays.smiles
    which = np.flatnonzero(todo)
    blocks = [which[k : k + _BLOCK] for k in range(0, len(which), _BLOCK)]
    items = ([_molecule(arrays, int(k)) for k in block] for block in blocks)
    answers = map_killable(partial(_rework, aromatic=aromatic), items, workers if blocks else 0, timeout)
    for block, (_, answer) in zip(blocks, answers):
        for place, k in enumerate(block.tolist()):
            found = answer.message if isinstance(answer, Failure) else answer[place]
            if isinstance(found, str):
                refused[k] = found
                continue
            orders, text = found
            bonds[arrays.bond_offsets[k] : arrays.bond_offsets[k + 1], 2] = orders
            if arrays.smiles is None:
                smiles[k] = text
    keep = np.full(len(arrays), True)
    keep[list(refused)] = False
    return Ready(_only(arrays, keep, bonds, smiles), np.flatnonzero(keep), dict(sorted(refused.items())))


def _impossible(arrays: Arrays) -> Iterator[tuple[int, str]]:
    """(molecule, why) for what cannot be a molecule."""
    assert arrays.bonds is not None and arrays.bond_offsets is not None
    sizes = np.diff(arrays.offsets)
    atom_owner = np.repeat(np.arange(len(arrays)), sizes)
    bond_owner = np.repeat(np.arange(len(arrays)), np.diff(arrays.bond_offsets))
    i, j, order = arrays.bonds.astype(np.int64).T
    pair = (bond_owner << 40) + (np.minimum(i, j) << 20) + np.maximum(i, j)
    again = np.ones(len(pair), bool)
    again[np.unique(pair, return_index=True)[1]] = False
    numbers = arrays.numbers.astype(np.int64)
    yield from ((int(k), "a molecule without atoms") for k in np.flatnonzero(sizes == 0))
    for bad, owner, why in (
        (~np.isfinite(arrays.positions).all(1), atom_owner, "a coordinate is not a finite number"),
        ((numbers < 1) | (numbers > 118), atom_owner, "an atomic number outside 1-118"),
        (np.maximum(i, j) >= sizes[bond_owner], bond_owner, "a bond to an atom that is not there"),
        ((i == j) | again, bond_owner, "a bond of an atom with itself, or a second bond between two atoms"),
        (~np.isin(order, BOND_ORDERS), bond_owner, "a bond order that is not 1, 2, 3 or 4 (aromatic)"),
    ):
        yield from ((int(k), why) for k in np.unique(owner[bad]))
    if arrays.split is not None:
        wrong = ~np.isin(arrays.split, range(len(SPLITS)))
        yield from ((int(k), "split is not 0 (train), 1 (validation) or 2 (test)") for k in np.flatnonzero(wrong))


def _molecule(arrays: Arrays, k: int) -> tuple[list[int], list[int], list[list[int]]]:
    assert arrays.bonds is not None and arrays.bond_offsets is not None
    atoms = slice(arrays.offsets[k], arrays.offsets[k + 1])
    numbers = arrays.numbers[atoms].tolist()
    charges = [0] * len(numbers) if arrays.charges is None else arrays.charges[atoms].tolist()
    return numbers, charges, arrays.bonds[arrays.bond_offsets[k] : arrays.bond_offsets[k + 1]].tolist()


def _rework(molecules: list[tuple], aromatic: bool) -> list[tuple[list[int], bytes] | str]:
    """The orders of each molecule's bonds, Kekule or aromatic, and its SMILES; or why not."""
    from rdkit import rdBase

    with rdBase.BlockLogs():
        return [_reworked(molecule, aromatic) for molecule in molecules]


def _reworked(molecule: tuple, aromatic: bool) -> tuple[list[int], bytes] | str:
    from rdkit import Chem

    numbers, charges, bonds = molecule
    mol = build_mol(numbers, charges, bonds, np.zeros((len(numbers), 3)))
    if mol is None:
        return "its elements or bonds are not ones that RDKit can hold"
    try:
        Chem.SanitizeMol(mol)
        smiles = canonical_smiles(mol).encode()
        if not aromatic:
            Chem.Kekulize(mol, clearAromaticFlags=True)
    except (ValueError, UserError) as error:
        return f"it does not sanitise: {str(error).strip()}"
    orders = [bond.GetBondTypeAsDouble() for bond in mol.GetBonds()]
    return [4 if order == 1.5 else int(order) for order in orders], smiles


def _only(arrays: Arrays, keep: np.ndarray, bonds: np.ndarray, smiles: np.ndarray) -> Arrays:
    assert arrays.bond_offsets is not None
    sizes, counts = np.diff(arrays.offsets), np.diff(arrays.bond_offsets)
    atoms, edges = np.repeat(keep, sizes), np.repeat(keep, counts)

    def offsets(lengths: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(lengths[keep])])

    return Arrays(
        offsets=offsets(sizes),
        numbers=arrays.numbers[atoms],
        positions=arrays.positions[atoms],
        charges=np.zeros(int(atoms.sum()), np.int8) if arrays.charges is None else arrays.charges[atoms],
        bond_offsets=offsets(counts),
        bonds=bonds[edges],
        smiles=smiles[keep],
        split=None if arrays.split is None else arrays.split[keep],
        props={name: column[keep] for name, column in arrays.props.items()},
    )
