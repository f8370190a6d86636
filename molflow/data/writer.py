"""Molecules -> a data file, in the memory of one molecule, complete or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from molflow import __version__
from molflow.atomic import clear_errors, refuse_existing, replacing
from molflow.build import UserError
from molflow.chem.arrays import offsets_of
from molflow.data.checks import check_molecules
from molflow.data.format import FORMAT, PROPERTY, SPLITS, VERSION, checksum, header_bytes

_CHUNK = 1 << 22
_SPOOLED = {  # columns with a row an atom or a bond wait in nameless files beside the target
    "positions": np.dtype("<f4"),
    "numbers": np.dtype("u1"),
    "charges": np.dtype("i1"),
    "bonds": np.dtype("<u2"),
    "smiles": np.dtype("u1"),
}


class StoreWriter:
    """Writes a data file: ``with StoreWriter(path, source="mine.sdf") as out: out.add(numbers, positions, ...)``.

    The first molecule says which fields there are. The file appears when the block ends without an error. A molecule
    that is refused (a ``UserError``) leaves no trace, and the next may follow.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        source: str,
        overwrite: bool = False,
        meta: Mapping[str, str] | None = None,
    ):
        self.path = Path(path)
        refuse_existing(self.path, overwrite)
        self.meta = {**(meta or {}), "source": source}
        self.fields: frozenset[str] | None = None
        self.dim = 0
        self._files: dict[str, IO[bytes]] = {}
        self._failure: UserError | None = None
        self._sizes, self._bond_counts, self._smiles_lengths = array("q"), array("q"), array("q")
        self._split = bytearray()
        self._props: dict[str, array] = {}
        self._seen_numbers, self._seen_orders = np.zeros(256, bool), np.zeros(256, bool)

    def __len__(self) -> int:
        return len(self._sizes)

    def __enter__(self) -> StoreWriter:
        with clear_errors(self.path):
            self._files = {name: tempfile.TemporaryFile(dir=self.path.parent) for name in _SPOOLED}  # noqa: SIM115
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with clear_errors(self.path):
                    self._finish()
        finally:
            for file in self._files.values():
                with contextlib.suppress(OSError):  # a full disk refuses the last bytes of a file nobody will read
                    file.close()

    # -- taking molecules

    def add(
        self,
        numbers: Any,
        positions: Any,
        charges: Any = None,
        bonds: Any = None,
        split: int = 0,
        smiles: str = "",
        props: Mapping[str, float] | None = None,
    ) -> None:
        """One molecule: atomic numbers [N] (None for a bare cloud), positions [N, D], charges [N], bonds [E, 3]."""
        if bonds is not None:
            bonds = np.asarray(bonds, np.int64).reshape(-1, 3)
        self.add_arrays(
            np.asarray(positions),
            [len(positions)],
            numbers=numbers,
            charges=charges,
            bonds=bonds,
            bond_counts=None if bonds is None else [len(bonds)],
            split=[split],
            smiles=[smiles],
            props={name: [value] for name, value in (props or {}).items()},
        )

    def add_arrays(
        self,
        positions: Any,
        sizes: Any,
        *,
        numbers: Any = None,
        charges: Any = None,
        bonds: Any = None,
        bond_counts: Any = None,
        split: Any = 0,
        smiles: Sequence[str | bytes] | None = None,
        props: Mapping[str, Any] | None = None,
    ) -> None:
        """M molecules as flat arrays: positions [A, D], sizes [M], numbers and charges [A], bonds [E, 3] with the atoms
        numbered within their molecule, bond_counts [M], and split, smiles and each property [M]."""
        sizes = np.asarray(sizes, np.int64)
        count = len(sizes)
        with np.errstate(over="ignore", invalid="ignore"):
            columns = {"positions": np.asarray(positions).astype("<f4")}
        given = {"numbers": numbers, "charges": charges, "bonds": bonds}
        columns |= {name: np.array(value, np.int64) for name, value in given.items() if value is not None}
        if bonds is not None:
            columns["bonds"] = columns["bonds"].reshape(-1, 3)
        bond_counts = np.asarray(bond_counts if bonds is not None else np.zeros(count), np.int64)
        split = np.broadcast_to(np.asarray(split), (count,))
        texts = [
            t.encode() if isinstance(t, str) else bytes(t) for t in (smiles if smiles is not None else [""] * count)
        ]
        values = {name: np.asarray(value, np.float64) for name, value in (props or {}).items()}
        self._check_shapes(count, columns, smiles=texts, bond_counts=bond_counts, **values)
        check_molecules(sizes, columns, bond_counts, split, first=len(self))

        if self.fields is None:
            self.fields, self.dim = frozenset(columns), columns["positions"].shape[1]
        if "bonds" in columns:
            columns["bonds"][:, :2].sort(axis=1)
            self._seen_orders[columns["bonds"][:, 2]] = True
        if "numbers" in columns:
            self._seen_numbers[columns["numbers"]] = True
        try:
            with clear_errors(self.path):
                for name, column in columns.items():
                    self._files[name].write(column.astype(_SPOOLED[name]).tobytes())
                self._files["smiles"].write(b"".join(texts))
        except UserError as error:
            self._failure = error  # the columns do not fit one another any more
            raise
        before = len(self)
        self._sizes.extend(sizes.tolist())
        self._bond_counts.extend(bond_counts.tolist())  # zeros where there are no bonds at all
        self._smiles_lengths.extend(map(len, texts))
        self._split += split.astype(np.uint8).tobytes()
        for name in {*self._props, *values}:
            column = self._props.setdefault(name, array("d", [np.nan]) * before)
            column.extend(values[name].tolist() if name in values else [np.nan] * count)

    def set_splits(self, split: Any) -> None:
        """The split [M] of all molecules added so far, for sources whose number is known only at their end."""
        split = np.asarray(split)
        if split.shape != (len(self),) or not np.isin(split, range(len(SPLITS))).all():
            raise UserError(f"expected {len(self)} splits, each 0 (train), 1 (validation) or 2 (test)")
        self._split = bytearray(split.astype(np.uint8).tobytes())

    def _check_shapes(self, count: int, columns: Mapping[str, np.ndarray], **per_molecule: Any) -> None:
        """The columns fit one another and the molecules before."""
        where, pos = f"molecule {len(self)}", columns["positions"]
        if pos.ndim != 2 or not pos.shape[1] or pos.shape[1] != (self.dim or pos.shape[1]):
            raise UserError(f"{where}: positions of shape {list(pos.shape)}, not [atoms, {self.dim or 3}]")
        if self.fields is not None and frozenset(columns) != self.fields:
            now, then = sorted(columns), sorted(self.fields)
            raise UserError(f"{where} has {', '.join(now)}, but those before it {', '.join(then)}")
        for name, value in per_molecule.items():
            if len(value) != count:
                raise UserError(f"{where}: {len(value)} {name} for {count} molecules")

    # -- the file

    def _finish(self) -> None:
        if self._failure:
            raise self._failure
        if not len(self) or self.fields is None:
            raise UserError(f"no molecules to write: {self.path} was not made")
        columns = self._columns(self.fields)
        meta = {
            **self.meta,
            "format": FORMAT,
            "version": str(VERSION),
            "created_by": f"molflow {__version__}",
            "elements": json.dumps(np.flatnonzero(self._seen_numbers).tolist()),
            "bond_orders": json.dumps(np.flatnonzero(self._seen_orders).tolist()),
            "checksum": checksum({n: (d, s, self._pieces(n, d, whole)) for n, (d, s, whole) in columns.items()}),
        }
        with replacing(self.path) as part, open(part, "wb") as file:
            file.write(header_bytes({n: (d, s) for n, (d, s, _) in columns.items()}, meta))
            for name, (dtype, _, whole) in columns.items():
                for piece in self._pieces(name, dtype, whole):
                    file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def _columns(self, fields: frozenset[str]) -> dict[str, tuple[np.dtype, tuple[int, ...], np.ndarray | None]]:
        """{name: (dtype, shape, the array unless it waits in a file)}, wide types first so that all lie aligned."""
        molecules, atoms = len(self), sum(self._sizes)

        ready = {"offsets": offsets_of(self._sizes), "split": np.frombuffer(bytes(self._split), np.uint8)}
        ready |= {PROPERTY + name: np.frombuffer(column, np.float64) for name, column in self._props.items()}
        rows = {"positions": (atoms, self.dim), "numbers": (atoms,), "charges": (atoms,)}
        if "bonds" in fields:
            ready["bond_offsets"] = offsets_of(self._bond_counts)
            rows["bonds"] = (sum(self._bond_counts), 3)
        types = dict(_SPOOLED)
        if max(self._sizes) <= 255:
            types["bonds"] = np.dtype("u1")
        if any(self._smiles_lengths):
            ready["smiles_offsets"] = offsets_of(self._smiles_lengths)
            rows["smiles"] = (sum(self._smiles_lengths),)
        waiting = [name for name in rows if name in fields or name == "smiles"]
        columns = {name: (types[name], rows[name], None) for name in waiting}
        columns |= {name: (column.dtype, (len(column),), column) for name, column in ready.items()}
        assert all(column is None or len(column) in (molecules, molecules + 1) for _, _, column in columns.values())
        return dict(sorted(columns.items(), key=lambda item: (-item[1][0].itemsize, item[0])))

    def _pieces(self, name: str, dtype: np.dtype, whole: np.ndarray | None) -> Iterator[bytes | memoryview]:
        if whole is not None:
            yield whole.data.cast("B")
            return
        file = self._files[name]
        file.seek(0)
        while piece := file.read(_CHUNK):
            yield piece if dtype == _SPOOLED[name] else np.frombuffer(piece, _SPOOLED[name]).astype(dtype).tobytes()
