"""Users' files -> a data file: SDF, mol, xyz, extended xyz, SMILES, CSV, npz; a bad record never stops the rest."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from molflow.build import UserError, unknown
from molflow.chem.elements import elements_of
from molflow.chem.formula import formula_of
from molflow.chem.io import expand, format_of, read
from molflow.chem.read_arrays import load_npz
from molflow.chem.record import Record, unknown_split
from molflow.data.flat import ready
from molflow.data.prepare import Prepared, prepare
from molflow.data.writer import StoreWriter
from molflow.workers import Failure, map_killable

Splitting = Literal["given", "random", "train"]
_CHUNK = 16  # records that travel to a worker together


@dataclass
class Summary:
    """What became of the files."""

    path: Path
    records: int = 0  # met
    molecules: int = 0  # written: several for a record where several conformers were asked
    others: int = 0  # left out, as they have other elements than those to keep
    failures: list[tuple[str, int, str]] = field(default_factory=list)  # (file, index of the record, why)
    props: tuple[str, ...] = ()  # the properties kept

    def lines(self, most: int = 10) -> Iterator[str]:
        """The summary for people."""
        yield f"{self.path}: {self.molecules:,} molecules of {self.records:,} records"
        if self.others:
            yield f"{self.others:,} of other elements left out"
        if self.props:
            yield f"properties: {', '.join(self.props)}"
        if self.failures:
            plural = "s" * (len(self.failures) > 1)
            yield f"{len(self.failures):,} record{plural} could not be taken:"
            yield from (f"  {file}, record {index}: {why}" for file, index, why in self.failures[:most])
        if len(self.failures) > most:
            yield f"  and {len(self.failures) - most:,} more"


def import_files(
    patterns: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    split: Splitting = "given",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    conformers: int = 1,
    props: Sequence[str] | None = None,
    elements: Sequence[str] = (),
    aromatic: bool = False,
    workers: int | None = None,
    timeout: float | None = 60.0,
    strict: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Summary:
    """Write the molecules of the files into the data file ``out``.

    SMILES are embedded (``conformers`` each), xyz get their bonds and charges by perception, SDF and npz keep theirs;
    bonds are Kekule unless ``aromatic``. ``split`` is ``given``: as the file says, and random where it does not;
    ``random``: by ``fractions``, equal molecules and conformers always together; or ``train``: not split. ``props``
    names the properties to keep, by default all that are numbers, ``elements`` those that molecules are made of, if
    others are to be left out. With ``strict`` the first bad record is an error;
    otherwise all are listed in the summary. ``timeout`` is seconds for one molecule.
    """
    files = expand(patterns)
    if split not in ("given", "random", "train"):
        raise unknown("split", split, ("given", "random", "train"))
    if len(fractions) != 3 or min(fractions) < 0 or not abs(sum(fractions) - 1) <= 1e-6:
        raise UserError(
            f"fractions of train, validation and test must be three that add up to 1, not {list(fractions)}"
        )
    if conformers < 1:
        raise UserError(f"conformers: expected at least 1, not {conformers}")
    meta = {"bonds": "aromatic" if aromatic else "kekule", "split": split, "seed": str(seed), "units": json.dumps({})}
    with StoreWriter(out, source=", ".join(file.name for file in files), overwrite=overwrite, meta=meta) as writer:
        allowed = elements_of(elements)
        task = _Import(writer, Summary(Path(out)), split, tuple(fractions), seed, props, allowed, strict)
        for file in files:
            if format_of(file) == ".npz" and (arrays := load_npz(file)).bonds is not None:
                task.take_arrays(str(file), ready(arrays, aromatic, workers, timeout, allowed))
            else:
                function = partial(prepare, conformers=conformers, seed=seed, aromatic=aromatic)
                task.take_records(read(file), function, workers, timeout, progress)
        return task.finish()


@dataclass
class _Import:
    writer: StoreWriter
    summary: Summary
    split: Splitting
    fractions: tuple[float, ...]
    seed: int
    wanted: Sequence[str] | None  # properties
    elements: frozenset[int]  # none: all
    strict: bool
    seen: set[str] = field(default_factory=set)  # properties met

    def take_records(self, records: Iterator[Record], function, workers, timeout, progress: bool) -> None:
        from tqdm import tqdm

        waiting: deque[Record] = deque()

        def readable() -> Iterator[Record]:
            for record in records:
                self.summary.records += 1
                if record.mol is None:
                    self._fail(record.file, record.index, record.error)
                elif self.elements and not set(+formula_of(record.mol)) <= self.elements:
                    self.summary.others += 1
                elif record.bad_split and self.split == "given":
                    why = f"{unknown_split(record.bad_split)}; --split random draws them all"
                    self._fail(record.file, record.index, why)
                else:
                    waiting.append(Record(record.file, record.index, props=record.props, split=record.split))
                    yield record

        results = map_killable(function, readable(), workers, timeout, _CHUNK)
        for _, result in tqdm(results, unit="molecule", unit_scale=True, disable=not progress):
            record = waiting.popleft()
            if isinstance(result, (str, Failure)):
                self._fail(record.file, record.index, result if isinstance(result, str) else result.message)
                continue
            try:
                self._add(result, record)
            except UserError as error:
                self._fail(record.file, record.index, str(error))

    def _add(self, molecule: Prepared, record: Record) -> None:
        for pos in molecule.conformers:
            self.writer.add(
                molecule.numbers,
                pos,
                molecule.charges,
                molecule.bonds,
                split=int(self._splits(np.array([record.split]), [molecule.smiles.encode()])[0]),
                smiles=molecule.smiles,
                props=self._props(record.props),
            )

    def take_arrays(self, file: str, found) -> None:
        arrays = found.arrays
        self.summary.records += len(arrays) + len(found.refused) + found.others
        self.summary.others += found.others
        for k, why in found.refused.items():
            self._fail(file, k, why)
        assert arrays.charges is not None and arrays.bond_offsets is not None and arrays.smiles is not None
        self.writer.add_arrays(
            arrays.positions,
            np.diff(arrays.offsets),
            numbers=arrays.numbers,
            charges=arrays.charges,
            bonds=arrays.bonds,
            bond_counts=np.diff(arrays.bond_offsets),
            split=self._splits(np.full(len(arrays), None) if arrays.split is None else arrays.split, arrays.smiles),
            smiles=arrays.smiles.tolist(),
            props=self._props(arrays.props),
        )

    def _splits(self, given: np.ndarray, smiles) -> np.ndarray:
        if self.split == "train":
            return np.zeros(len(given), np.uint8)
        keep = given if self.split == "given" else np.full(len(given), None)
        edges = np.cumsum(self.fractions)[:2]
        drawn = (_draw(self.seed, bytes(text)) if old is None else 0.0 for old, text in zip(keep, smiles))
        return np.array(
            [int(np.searchsorted(edges, x, "right")) if old is None else int(old) for old, x in zip(keep, drawn)],
            np.uint8,
        )

    def _props(self, found: dict) -> dict:
        self.seen |= found.keys()
        return {name: value for name, value in found.items() if self.wanted is None or name in self.wanted}

    def _fail(self, file: str, index: int, why: str) -> None:
        if self.strict:
            raise UserError(f"{file}, record {index}: {why}")
        self.summary.failures.append((file, index, why))

    def finish(self) -> Summary:
        self.summary.molecules = len(self.writer)
        self.summary.props = tuple(sorted(self.seen if self.wanted is None else self.wanted))
        if not self.summary.molecules:
            if not self.summary.records:
                raise UserError("there are no records in the files: they are empty")
            first = self.summary.failures[0] if self.summary.failures else None
            others = f"; {self.summary.others:,} have other elements" * (self.summary.others > 0)
            detail = f"; the first: {first[0]}, record {first[1]}: {first[2]}" if first else ""
            raise UserError(f"none of the {self.summary.records} records is a molecule to keep{others}{detail}")
        for name in self.wanted or ():
            if name not in self.seen:
                raise unknown("property", name, self.seen)
        return self.summary


def _draw(seed: int, text: bytes) -> float:
    """A number in [0, 1) for a molecule: the same wherever and however often it occurs."""
    digest = hashlib.blake2b(text, digest_size=8, salt=seed.to_bytes(8, "little", signed=True)).digest()
    return int.from_bytes(digest, "little") / 2**64
