"""Files of molecules by suffix: SDF, mol, xyz, extended xyz, SMILES, CSV, npz; gzipped or not, as streams.

for record in read("mine.sdf.gz"):
    print(record.index, record.error or record.mol.GetNumAtoms())

with open_writer("molecules.sdf") as out:
    out.write(batch)
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from molflow.build import UserError, no_file
from molflow.chem import read_arrays, read_tables, read_text
from molflow.chem.record import Lines, Record
from molflow.chem.write import Writer

__all__ = [
    "READABLE",
    "WRITABLE",
    "Files",
    "Record",
    "Writer",
    "expand",
    "format_of",
    "open_writer",
    "read",
    "read_all",
]

_READERS = {
    ".sdf": read_text.sdf,
    ".sd": read_text.sdf,
    ".mol": read_text.sdf,
    ".xyz": read_text.xyz,
    ".extxyz": read_text.xyz,
    ".smi": read_tables.smi,
    ".smiles": read_tables.smi,
    ".csv": read_tables.csv,
    ".tsv": read_tables.csv,
    ".npz": read_arrays.npz,
}
Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
READABLE = tuple(_READERS)
WRITABLE = (".sdf", ".xyz", ".extxyz", ".smi", ".npz")


def format_of(path: str | os.PathLike[str], known: Sequence[str] = READABLE) -> str:
    """The suffix that says the format, without ``.gz``; an unknown one is an error that lists the choices."""
    name = Path(path).name.lower()
    bare = name.removesuffix(".gz")
    suffix = Path(bare).suffix
    if suffix not in known or (suffix == ".npz" and bare != name):
        choices = f"choose from {', '.join(known)} (text also with .gz)"
        if not name:
            raise UserError(f"no file was named: {str(path)!r}")
        if Path(path).is_dir():
            raise UserError(f"{path} is a folder: name a file in it; {choices}")
        raise UserError(f"{path}: {f'unknown suffix {suffix!r}' if suffix else 'it has no suffix'}; {choices}")
    return suffix


def read(path: str | os.PathLike[str]) -> Iterator[Record]:
    """The records of a file, one after another, unreadable ones included."""
    reader = _READERS[format_of(path)]
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder: name its files, such as '{path / '*.sdf'}'")
    if not path.exists():
        raise no_file(path)
    if reader is read_arrays.npz:
        return read_arrays.npz(path)
    return reader(Lines(path))


def read_all(patterns: Files) -> Iterator[Record]:
    """The records of files that are named or match a pattern (``'runs/*.sdf'``); all are checked before one is read."""
    files = expand(patterns)
    return (record for file in files for record in read(file))


def matching(pattern: str | os.PathLike[str]) -> list[Path]:
    """The files of a pattern, which may be none; else the one of that name, which may be missing."""
    text = os.fspath(pattern)
    if os.path.exists(text) or not glob.has_magic(text):
        return [Path(text)]
    return [Path(found) for found in sorted(glob.glob(text, recursive=True))]


def named_files(pattern: str | os.PathLike[str]) -> list[Path]:
    """The same, if there are any."""
    if found := matching(pattern):
        return found
    raise UserError(f"{os.fspath(pattern)}: no file has such a name")


def names_of(given: Any) -> Sequence[str | os.PathLike[str]]:
    """The names of files, where that is what was given: one or a list of them.

    >>> names_of("a.sdf"), names_of(["a.sdf", "b.xyz"]), names_of([None])
    (['a.sdf'], ['a.sdf', 'b.xyz'], [])
    """
    named = [given] if isinstance(given, (str, os.PathLike)) else given
    whole = isinstance(named, (list, tuple)) and all(isinstance(name, (str, os.PathLike)) for name in named)
    return named if whole else []


def expand(patterns: Files) -> list[Path]:
    """The files that names and patterns stand for, in order; each must exist and have a suffix that can be read."""
    files: list[Path] = []
    for pattern in [patterns] if isinstance(patterns, (str, os.PathLike)) else patterns:
        files += named_files(pattern)
    if not files:
        raise UserError("no files were named")
    for file in files:
        format_of(file)
        if file.is_dir():
            raise UserError(f"{file} is a folder: name its files, such as '{file / '*.sdf'}'")
        if not file.exists():
            raise no_file(file)
    return files


def verbatim(record: Record, suffix: str) -> str:
    """The text of a record, if a file of that suffix may hold it as it is."""
    own = format_of(record.file)
    return record.text if {".sd": ".sdf", ".mol": ".sdf", ".smiles": ".smi"}.get(own, own) == suffix else ""


def open_writer(path: str | os.PathLike[str], overwrite: bool = False) -> Writer:
    """For a ``with`` block: ``write`` takes batches or lists of molecules; the file appears when the block ends."""
    return Writer(Path(path), format_of(path, WRITABLE), overwrite)
