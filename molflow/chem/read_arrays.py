"""The npz layout of flat arrays, read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from molflow.build import UserError
from molflow.chem.arrays import Arrays
from molflow.chem.molecule import build_mol
from molflow.chem.record import Record, named_split, unknown_split

_WHOLE = ("offsets", "numbers", "charges", "bond_offsets", "bonds")
LAYOUT = ("offsets", "numbers", "positions", "charges", "bond_offsets", "bonds", "smiles", "split")
SPLITS = ("split", "edm_split")


def load_npz(path: Path) -> Arrays:
    """Read and check the columns; any other column of one number a molecule is a property."""
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        why = "" if "pickle" in str(error) else f" ({error})"  # numpy would advise to load it unsafely
        raise UserError(f"{path}: not a whole npz file of plain arrays{why}") from None
    missing = [name for name in ("offsets", "numbers", "positions") if name not in columns]
    if missing:
        found = ", ".join(columns) or "nothing"
        if missing == ["numbers"]:
            raise UserError(f"{path} holds points, which have no elements: they are no molecules to read")
        raise UserError(f"{path}: no array {', '.join(missing)}, only {found}; docs/data-format.md has the layout")
    for name in (*_WHOLE, "positions"):
        if name in columns:
            columns[name] = _numbers(path, name, columns[name])
    splits = [name for name in SPLITS if name in columns]
    if splits and "split" not in columns:
        columns["split"] = columns.pop(splits[0])
    if splits and columns["split"].dtype.kind in "SU":
        columns["split"] = _split_numbers(path, columns["split"])
    if splits and not np.isin(columns["split"], range(256)).all():
        raise UserError(f"{path}: split has entries that are no number of a part; 0 is training, others are held out")
    count = len(columns["offsets"]) - 1
    props = {
        name: column.astype(np.float64)
        for name, column in columns.items()
        if name not in LAYOUT and column.shape == (count,) and column.dtype.kind in "biuf"
    }
    optional = {name: columns.get(name) for name in LAYOUT[3:]}
    arrays = Arrays(columns["offsets"], columns["numbers"], columns["positions"], **optional, props=props)
    _check(path, arrays)
    return arrays


def _numbers(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    """The column as numbers with as many axes as the layout says, whole ones where it counts or names something."""
    axes = 2 if name in ("positions", "bonds") else 1
    if column.dtype.kind not in "biuf" or column.ndim != axes:
        raise UserError(f"{path}: {name} is not an array of numbers with {axes} {'axis' if axes == 1 else 'axes'}")
    if column.dtype.kind == "f" and name in _WHOLE:
        if not (np.isfinite(column) & (column == np.floor(column))).all():
            raise UserError(f"{path}: {name} has entries that are not whole numbers")
        return column.astype(np.int64)
    return column


def _split_numbers(path: Path, names: np.ndarray) -> np.ndarray:
    found = {name: named_split(name) for name in np.unique(names.astype(str)).tolist()}
    for name, fields in found.items():
        if "split" not in fields:
            raise UserError(f"{path}: {unknown_split(name)}")
    return np.array([found[name]["split"] for name in names.astype(str).ravel().tolist()], np.uint8)


def _check(path: Path, arrays: Arrays) -> None:
    def whole(offsets: np.ndarray, rows: int) -> bool:
        return len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == rows and bool((np.diff(offsets) >= 0).all())

    atoms = len(arrays.numbers)
    if arrays.positions.shape != (atoms, 3) or not whole(arrays.offsets, atoms):
        raise UserError(f"{path}: offsets, numbers and positions do not fit one another")
    if arrays.charges is not None and arrays.charges.shape != (atoms,):
        raise UserError(f"{path}: {len(arrays.charges)} charges for {atoms} atoms")
    if (arrays.bonds is None) != (arrays.bond_offsets is None):
        raise UserError(f"{path}: of bonds and bond_offsets one is missing")
    if arrays.bonds is not None and arrays.bond_offsets is not None:
        fits = arrays.bonds.ndim == 2 and arrays.bonds.shape[1] == 3 and len(arrays.bond_offsets) == len(arrays) + 1
        if not fits or not whole(arrays.bond_offsets, len(arrays.bonds)):
            raise UserError(f"{path}: bonds and bond_offsets do not fit one another")
    for name in ("smiles", "split"):
        column = getattr(arrays, name)
        if column is not None and column.shape != (len(arrays),):
            raise UserError(f"{path}: {len(column)} entries in {name} for {len(arrays)} molecules")


def npz(path: Path) -> Iterator[Record]:
    arrays = load_npz(path)
    for k in range(len(arrays)):
        numbers, charges, bonds = arrays.labels(k)
        mol = build_mol(numbers, charges, bonds, arrays.places(k))
        smiles = "" if arrays.smiles is None else arrays.smiles[k]
        yield Record(
            str(path),
            k,
            mol,
            props={name: float(column[k]) for name, column in arrays.props.items()},
            error="" if mol is not None else "its elements or bonds are not ones that RDKit can hold",
            reason="" if mol is not None else "unreadable",
            has_bonds=arrays.bonds is not None,
            smiles=smiles.decode(errors="replace") if isinstance(smiles, bytes) else str(smiles),
            split=None if arrays.split is None else int(arrays.split[k]),
        )
