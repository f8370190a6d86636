"""What readers yield, and the lines they read from."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molflow.build import UserError, unknown

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclass
class Record:
    """One molecule of a file, or the reason why it is not one."""

    file: str
    index: int  # in its file, from 0; unreadable records count too
    mol: Mol | None = None  # raw: bonds, charges, hydrogens and coordinates as the file has them; None if unreadable
    props: dict[str, float] = field(default_factory=dict)
    error: str = ""
    reason: str = ""  # of the error: unreadable, unknown_element
    has_bonds: bool = True  # False for xyz: the molecule has atoms and coordinates alone
    texts: dict[str, str] = field(default_factory=dict)  # properties that are no numbers
    charge: int = 0  # of the whole molecule, beside that of its atoms, where it has no bonds
    smiles: str = ""  # as written, where the file has it
    text: str = ""  # all of it as its file has it, of SDF, xyz and SMILES
    split: int | None = None  # 0 train, 1 validation, 2 test, where the file says
    bad_split: str = ""  # what the file says instead, where that names no split

    @property
    def total_charge(self) -> int:
        """Of the file's word for the molecule, and of its atoms."""
        return self.charge + (0 if self.mol is None else sum(atom.GetFormalCharge() for atom in self.mol.GetAtoms()))

    def __str__(self) -> str:
        return f"{self.file}, record {self.index}"


_GZIP = b"\x1f\x8b"  # how a gzipped file begins
_SPLITS = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "0": 0, "1": 1, "2": 2}


def named_split(text: str) -> dict[str, Any]:
    """The fields of a ``Record`` for what a file says of its split.

    >>> named_split("Val"), named_split("trian"), named_split("")
    ({'split': 1}, {'bad_split': 'trian'}, {})
    """
    name = text.strip()
    if name.lower() in _SPLITS:
        return {"split": _SPLITS[name.lower()]}
    return {"bad_split": name} if name else {}


def unknown_split(name: str) -> UserError:
    """What to say of a split that has no such name."""
    return unknown("split", name, ("train", "val", "test"))


def _decoded(line: str) -> str:
    """A line whose bytes are characters as UTF-8, without its mark; one that is no UTF-8 as Latin-1.

    >>> _decoded("caf\xc3\xa9"), _decoded("caf\xe9")
    ('café', 'café')
    """
    if line.isascii():
        return line
    try:
        return line.encode("latin-1").decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return line


class Lines:
    """The lines of a text file, gzipped or not, without their ends; a damaged archive ends them with ``error`` set."""

    def __init__(self, path: Path):
        self.path = str(path)
        self.error = ""
        self._count = 0
        self._back: list[str] = []
        self._lines = self._read()

    def _read(self) -> Iterator[str]:
        zipped = self.path.lower().endswith(".gz")
        try:
            self._check_name(zipped)
            with (gzip.open if zipped else open)(self.path, "rt", encoding="latin-1") as file:
                for line in file:
                    yield _decoded(line.rstrip("\n"))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.error = f"the gzipped file is cut or damaged here ({error})"
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def _check_name(self, zipped: bool) -> None:
        if not os.path.isfile(self.path):  # of a pipe nothing can be read twice
            return
        with open(self.path, "rb") as file:
            start = file.read(len(_GZIP))
        if start and (start == _GZIP) != zipped:
            told = "is not gzipped, and its name ends" if zipped else "is gzipped, and its name does not end"
            raise UserError(f"{self.path} {told} in .gz: rename it")

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        return self._back.pop() if self._back else next(self._lines)

    def push(self, line: str) -> None:
        """Put a line back, to be read next."""
        self._back.append(line)

    def record(self, **content) -> Record:
        """The file's next record."""
        self._count += 1
        if content.get("error"):
            content.setdefault("reason", "unreadable")
        return Record(self.path, self._count - 1, **content)

    def end(self) -> Iterator[Record]:
        """What is left to say when there are no more lines."""
        if self.error:
            yield self.record(error=self.error)
