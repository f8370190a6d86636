"""The npz layout of flat arrays, gathered in nameless files until their lengths are known; for clouds of points too."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from molflow.build import UserError
from molflow.chem.arrays import Arrays, arrays_of, offsets_of
from molflow.chem.molecule import given, kekule_says_it, labels_of, number_props
from molflow.chem.read_arrays import LAYOUT, SPLITS, load_npz

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from molflow.batch import Batch

_COLUMNS = {"numbers": "u1", "positions": "<f4", "charges": "i1", "bonds": "<u2"}


class NpzSink:
    def __init__(self, file: IO[bytes], folder: Path):
        self.file = file
        self.columns = {name: tempfile.TemporaryFile(dir=folder) for name in _COLUMNS}  # noqa: SIM115
        self.sizes, self.bond_counts = array("q"), array("q")
        self.props: dict[str, array] = {}
        self.dim = 3
        self.kind: tuple[bool, bool] | None = None  # whether its molecules have elements, and bonds

    def write(self, molecules: Batch | Iterable[Mol | None]) -> int:
        from molflow.batch import Batch
        from molflow.chem.convert import columns

        if not isinstance(molecules, Batch):
            mols = given(molecules)
            self._add_molecules(_arrays(mols), _props(mols))
            return len(mols)
        props = {name: np.array(values) for name, values in columns(molecules).items()}
        if molecules.atom is None:
            points = molecules.pos[molecules.mask].cpu().numpy()
            self._add(molecules.sizes.cpu().numpy(), {"positions": points}, None, props)
        else:
            self._add_molecules(arrays_of(molecules), props)
        return len(molecules)

    def copy(self, part: Path) -> int:
        with np.load(part, allow_pickle=False) as file:
            if "numbers" not in file.files:
                props = {name: file[name] for name in file.files if name not in LAYOUT}
                self._add(np.diff(file["offsets"]), {"positions": file["positions"]}, None, props)
                return len(file["offsets"]) - 1
        arrays = load_npz(part)
        self._add_molecules(arrays, arrays.props)
        return len(arrays)

    def _add_molecules(self, arrays: Arrays, props: Mapping[str, np.ndarray]) -> None:
        columns = {"numbers": arrays.numbers, "positions": arrays.positions}
        columns["charges"] = np.zeros(len(arrays.numbers)) if arrays.charges is None else arrays.charges
        counts = None
        if arrays.bonds is not None and arrays.bond_offsets is not None:
            columns["bonds"], counts = arrays.bonds, np.diff(arrays.bond_offsets)
        self._add(np.diff(arrays.offsets), columns, counts, props)

    def _add(
        self,
        sizes: np.ndarray,
        columns: Mapping[str, np.ndarray],
        bond_counts: np.ndarray | None,
        props: Mapping[str, np.ndarray],
    ) -> None:
        kind = ("numbers" in columns, "bonds" in columns)
        if self.kind not in (None, kind):
            raise UserError("an npz file holds molecules with bonds, molecules without, or bare points: one of them")
        numbers = columns.get("numbers", np.zeros(0, np.int64))
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() <= 255:
            raise UserError("an atomic number is outside 0-255")
        if taken := sorted({*LAYOUT, *SPLITS} & set(props)):
            raise UserError(f"a property cannot be called {taken[0]} in an npz file, where that is another column")
        self.kind, self.dim = kind, columns["positions"].shape[1]
        for name, column in columns.items():
            self.columns[name].write(np.ascontiguousarray(column, dtype=_COLUMNS[name]).tobytes())
        before = len(self.sizes)
        self.sizes.extend(sizes.tolist())
        self.bond_counts.extend([] if bond_counts is None else bond_counts.tolist())
        for name in {*self.props, *props}:
            column = self.props.setdefault(name, array("d", [np.nan]) * before)
            column.extend(props[name].tolist() if name in props else [np.nan] * len(sizes))

    def finish(self) -> None:
        atoms = sum(self.sizes)
        has_elements, has_bonds = self.kind or (True, False)
        spooled = {"numbers": (atoms,), "positions": (atoms, self.dim), "charges": (atoms,)}
        if not has_elements:
            spooled = {"positions": (atoms, self.dim)}
        small = {"offsets": offsets_of(self.sizes)}
        if has_bonds:
            spooled["bonds"] = (sum(self.bond_counts), 3)
            small["bond_offsets"] = offsets_of(self.bond_counts)
        small |= {name: np.frombuffer(column, np.float64) for name, column in sorted(self.props.items())}
        with zipfile.ZipFile(self.file, "w") as archive:
            for name, column in small.items():
                with archive.open(_entry(name), "w", force_zip64=True) as out:
                    np.lib.format.write_array(out, column, allow_pickle=False)  # type: ignore[arg-type]
            for name, shape in spooled.items():
                with archive.open(_entry(name), "w", force_zip64=True) as out:
                    head = {"descr": np.dtype(_COLUMNS[name]).str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(out, head)  # type: ignore[arg-type]
                    self.columns[name].seek(0)
                    shutil.copyfileobj(self.columns[name], out)

    def close(self) -> None:
        for column in self.columns.values():
            column.close()


def _arrays(mols: Sequence[Mol | None]) -> Arrays:
    """With Kekule orders, or where those do not say it with the bonds that are marked aromatic as such."""
    from rdkit import Chem, rdBase

    from molflow.chem.rdkit import checked

    whole = [checked(k, Chem.Mol() if mol is None else mol) for k, mol in enumerate(mols)]
    with rdBase.BlockLogs():
        labels = [labels_of(mol, aromatic=not kekule_says_it(mol)) for mol in whole]
    numbers, charges, bonds = zip(*labels) if labels else ((), (), ())
    return Arrays(
        offsets_of([len(each) for each in numbers]),
        np.array([*chain(*numbers)], np.int64),
        np.concatenate([np.zeros((0, 3)), *(mol.GetConformer().GetPositions() for mol in whole if mol.GetNumAtoms())]),
        np.array([*chain(*charges)], np.int64),
        offsets_of([len(rows) for rows in bonds]),
        np.concatenate([np.zeros((0, 3), np.int64), *bonds]),
    )


def _props(mols: Sequence[Mol | None]) -> dict[str, np.ndarray]:
    found = [{} if mol is None else number_props(mol) for mol in mols]
    names = sorted({name for props in found for name in props})
    return {name: np.array([props.get(name, np.nan) for props in found]) for name in names}


def _entry(name: str) -> zipfile.ZipInfo:
    """A member of the archive with no date and no machine: the same bytes tomorrow and elsewhere."""
    info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
    info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
    return info
