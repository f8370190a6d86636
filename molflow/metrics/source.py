"""Molecules from lists, batches, data files and files of any format, as blocks of which memory holds a few."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molflow.build import UserError
from molflow.chem.io import expand, format_of, named_files, names_of, read
from molflow.chem.molecule import given
from molflow.chem.note import checksum_of, read_note
from molflow.chem.record import unknown_split
from molflow.metrics.intake import of_arrays, of_batch, of_mols, of_records
from molflow.metrics.molecules import Molecules
from molflow.metrics.perception import with_bonds
from molflow.metrics.shard import Block

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from molflow.batch import Batch
    from molflow.chem.record import Record

BLOCK = 2000  # molecules judged at once
PAIRS = 64**2 * BLOCK  # of atoms, in a block from a data file
STORE = ".safetensors"


@dataclass
class Source:
    """What ``score`` was given. ``opener`` opens a data file, whose molecules come by ``indices`` and ``batch``."""

    molecules: Any
    opener: Callable[[Any], Any]
    split: str = "all"  # train, held_out or all, where the source tells them apart
    perceive: bool = False  # bonds where there are none
    workers: int = 1
    timeout: float = 30.0  # seconds for one molecule's bonds

    def __post_init__(self):
        self.files = self._expanded(names_of(self.molecules))
        self.total = None if self.files else _count(self.molecules)
        self._digest = hashlib.sha256()
        self._perceived = 0

    def _expanded(self, patterns: Sequence[str | os.PathLike[str]]) -> list[Path]:
        files: list[Path] = []
        for pattern in patterns:
            if os.fspath(pattern).endswith(STORE):
                files += self._stores(pattern)
            else:
                files += expand(pattern)
        for file in files:
            if not file.is_file():  # it is read more than once
                raise UserError(f"{file} is a pipe or a device: save what it gives to a file first")
        return files

    def _stores(self, pattern: str | os.PathLike[str]) -> list[Path]:
        """The data files of a name or pattern, each known to be one."""
        files = named_files(pattern)
        for file in files:
            self.opener(file)
        return files

    def blocks(self) -> Iterator[Block]:
        """In order; a molecule's number counts all that came before, readable or not."""
        start = 0
        for path in self.files or [None]:
            record = 0
            for part in self._memory() if path is None else self._file(path):
                yield Block(part, start, [(_text(path), record + k) for k in range(len(part))])
                start += len(part)
                record += len(part)

    def _memory(self) -> Iterator[Molecules]:
        if hasattr(self.molecules, "indices"):
            yield from self._store(self.molecules)
            return
        for part in self._given():
            for array in (part.numbers, part.charges, part.pos, part.bonds):
                self._digest.update(array.tobytes())
            yield self._bonded(part, part.per_molecule_sum(part.charges)) if self.perceive else part

    def _given(self) -> Iterator[Molecules]:
        whole = [self.molecules] if is_batch(self.molecules) else self.molecules
        if not isinstance(whole, Iterable):
            given(whole)  # says what is wrong with it
        bonded = isinstance(whole, Sequence) and any(map(_has_bonds, whole))  # of an iterator, each block says so
        mols: list[Mol | None] = []
        for k, item in enumerate(whole):
            if is_batch(item):
                yield from (of_batch(item[low : low + BLOCK]) for low in range(0, len(item), BLOCK))
                continue
            mols += given([item], k)
            if len(mols) == BLOCK:
                yield of_mols(mols, has_bonds=[True] * BLOCK if bonded else None)
                mols = []
        if mols:
            yield of_mols(mols, has_bonds=[True] * len(mols) if bonded else None)

    def _file(self, path: Path) -> Iterator[Molecules]:
        if path.suffix == STORE:
            yield from self._store(self.opener(path))
        elif format_of(path) == ".npz":
            from molflow.chem.read_arrays import load_npz

            arrays = load_npz(path)
            split = np.zeros(len(arrays)) if arrays.split is None else arrays.split
            wanted = np.flatnonzero(self._in_split(split))
            for low in range(0, len(arrays), BLOCK):
                high = min(low + BLOCK, len(arrays))
                part = of_arrays(arrays, low, high)
                if self.split != "all":
                    part = part[wanted[(wanted >= low) & (wanted < high)] - low]
                yield self._bonded(part, part.per_molecule_sum(part.charges)) if self.perceive else part
        else:
            has_bonds = bonds_in(path)
            records = (record for record in read(path) if self.split == "all" or self._in_split(_split(record)))
            while chunk := list(islice(records, BLOCK)):
                part = of_records([hydrogenated(r) for r in chunk], has_bonds)
                yield self._bonded(part, np.array([r.total_charge for r in chunk])) if self.perceive else part

    def _in_split(self, split):
        return split >= 0 if self.split == "all" else (split == 0) == (self.split == "train")

    def _bonded(self, molecules: Molecules, charges: np.ndarray) -> Molecules:
        out = with_bonds(molecules, charges.tolist(), self.workers, self.timeout)
        self._perceived += int((out.has_bonds & ~molecules.has_bonds).sum())
        return out

    def _store(self, store: Any) -> Iterator[Molecules]:
        wanted = np.flatnonzero(self._in_split(store.split))
        fields = [name for name in store.fields if name in ("pos", "atom", "charge", "bond")]
        for low, high in _spans(store.sizes[wanted]):
            part = of_batch(store.batch(wanted[low:high], fields=fields))
            yield self._bonded(part, part.per_molecule_sum(part.charges)) if self.perceive else part

    def described(self) -> tuple[dict[str, Any], ...]:
        """What was read, with checksums."""
        how = (
            {"bonds": f"perceived by RDKit from coordinates, of {self._perceived:,} molecules"} if self.perceive else {}
        )
        if self.files:
            return tuple({**_file_of(path), **how} for path in self.files)
        if hasattr(self.molecules, "checksum"):
            return ({"file": str(self.molecules.path), "checksum": self.molecules.checksum, **how},)
        return ({"checksum": f"sha256:{self._digest.hexdigest()}", **how},)


def _text(path: Path | None) -> str:
    """A file's name as text, whatever its bytes are."""
    return "" if path is None else str(path).encode(errors="replace").decode()


def _spans(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Blocks of molecules, fewer where they are large: a batch holds the square of the largest for each."""
    low = 0
    while low < len(sizes):
        high = min(low + BLOCK, len(sizes))
        while high - low > 1 and (high - low) * int(sizes[low:high].max()) ** 2 > PAIRS:
            high = low + (high - low) // 2
        yield low, high
        low = high


def is_batch(item: Any) -> bool:
    """Whether it is one; a table's column has a ``mask``, too."""
    from molflow.batch import Batch

    return isinstance(item, Batch)


def _count(given: Any) -> int | None:
    """Molecules of what lies in memory, batches among them or not."""
    if not hasattr(given, "__len__"):
        return None
    if isinstance(given, (list, tuple)):
        return sum(len(item) if is_batch(item) else 1 for item in given)
    return len(given)


def _has_bonds(item: Mol | Batch | None) -> bool:
    """Whether an RDKit molecule has any; a batch says so of its own molecules alone."""
    return hasattr(item, "GetNumBonds") and item.GetNumBonds() > 0  # type: ignore[union-attr]


def bonds_in(path: Path) -> bool:
    """Whether one of the file's molecules has bonds, as of a list; its format may have a place for them or not."""
    for record in read(path):
        if not record.has_bonds:
            return False
        if record.mol is not None and (record.mol.GetNumBonds() or _is_smiles(record)):
            return True
    return False


def _split(record: Record) -> int:
    """Without a word it is training; a word that names none is no guess."""
    if record.bad_split:
        raise UserError(f"{record}: {unknown_split(record.bad_split)}")
    return record.split or 0


def hydrogenated(record: Record) -> Record:
    """With the hydrogens that its SMILES states by leaving them out, and otherwise as it is written."""
    from rdkit import Chem, rdBase

    if record.mol is None or not _is_smiles(record):
        return record
    with rdBase.BlockLogs():
        mol = Chem.Mol(record.mol)
        mol.UpdatePropertyCache(strict=False)
        record.mol = Chem.AddHs(mol)
    return record


def _is_smiles(record: Record) -> bool:
    """Whether its molecule was made of a SMILES, which tells all bonds, those to hydrogens by leaving them out."""
    return bool(record.smiles) and record.mol is not None and not record.mol.GetNumConformers()


def _file_of(path: Path) -> dict[str, Any]:
    checksum = checksum_of(path)
    left = read_note(path, checksum).get("left")  # of molecules that were picked, after each condition
    of = left.get("read") if isinstance(left, dict) else None
    told = {"picked of": of} if isinstance(of, int) else {}
    return {"file": str(path), "bytes": path.stat().st_size, "checksum": checksum, **told}
