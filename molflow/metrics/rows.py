"""One line a molecule and protocol, spooled to disk while the scores add up, then read, or written to a table."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from molflow.atomic import refuse_existing, replacing
from molflow.build import UserError
from molflow.metrics.keys import KeySet, keys_of
from molflow.metrics.protocol import Verdicts

COLUMNS: dict[str, type] = {
    "index": int,  # of the molecule in the whole input
    "file": str,
    "record": int,  # of the molecule in its file
    "protocol": str,
    "atoms": int,
    "stable_atoms": int,
    "stable": bool,
    "valid": bool,
    "connected": bool,
    "unique": bool,  # valid, and unlike all valid ones before
    "novel": bool,  # valid, and not in the reference; None where there is none, or it is not valid
    "reason": str,
    "smiles": str,
    "identity": str,  # the same of molecules that are alike; empty where it is not valid
}
_SPOOLED = {name: kind for name, kind in COLUMNS.items() if name not in ("unique", "novel")}  # known of it alone
_AT_ONCE = 1 << 20  # characters
_READ = {int: int, str: str, bool: "True".__eq__}


def lines(start: int, places: Sequence[tuple[str, int]], judged: Mapping[str, Verdicts]) -> str:
    """The lines of a block, molecule by molecule; ``start`` is the first index, ``places`` their files and records."""
    columns = [
        zip(
            *(array.tolist() for array in (v.atoms, v.stable_atoms, v.stable, v.valid, v.connected)),
            v.reasons,
            v.smiles,
            [_text(key) if ok else "" for key, ok in zip(keys_of(v.identities).tolist(), v.valid.tolist())],
        )
        for v in judged.values()
    ]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for index, ((file, record), *verdicts) in enumerate(zip(places, *columns), start):
        writer.writerows([(index, file, record, name, *verdict) for name, verdict in zip(judged, verdicts)])
    return text.getvalue()


def _text(key: Sequence[int]) -> str:
    return f"{key[0]:016x}{key[1]:016x}"


def suffix_of(path: str | os.PathLike[str]) -> str:
    """``.csv`` or ``.parquet``; anything else is an error, as is Parquet without its library."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise UserError(f"{path}: the table of molecules is written as .csv or .parquet")
    if suffix == ".parquet":
        _pyarrow()
    return suffix


class Spool:
    """Lines waiting on disk, so that the table of a million molecules takes no memory."""

    def __init__(self) -> None:
        self._file = TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 (it lives as long as this)

    def add(self, text: str) -> None:
        self._file.write(text)

    def rows(self, training: Mapping[str, KeySet | str]) -> Iterator[dict[str, Any]]:
        """``COLUMNS`` of each molecule by these protocols, whose keys of training molecules they are, if there are any.

        In memory are a key for each distinct molecule, and those of the training molecules.
        """
        read = {name: keys.keys().tolist() for name, keys in training.items() if isinstance(keys, KeySet)}
        known = {name: {bytes.fromhex(_text(key)) for key in keys} for name, keys in read.items()}
        seen: dict[str, set[bytes]] = {name: set() for name in training}
        for line in csv.reader(self._lines()):
            row: dict[str, Any] = {name: _READ[kind](text) for (name, kind), text in zip(_SPOOLED.items(), line)}
            name, key = row["protocol"], bytes.fromhex(row["identity"])
            if name not in training:
                continue
            row["unique"] = row["valid"] and key not in seen[name]
            row["novel"] = key not in known[name] if row["valid"] and name in known else None
            if row["unique"]:
                seen[name].add(key)
            yield {name: row[name] for name in COLUMNS}

    def _lines(self) -> Iterator[str]:
        """From the first on, whoever reads them besides."""
        self._file.seek(0, os.SEEK_END)
        place, end = 0, self._file.tell()
        while place < end:
            self._file.seek(place)
            some, size = [], 0
            while size < _AT_ONCE and (line := self._file.readline()):  # readlines() would leave no place to tell
                some.append(line)
                size += len(line)
            place = self._file.tell()
            self._file.seek(0, os.SEEK_END)
            yield from some

    def write(
        self, path: str | os.PathLike[str], training: Mapping[str, KeySet | str], overwrite: bool = False
    ) -> None:
        """The rows to a ``.csv`` or ``.parquet`` file."""
        suffix = suffix_of(path)
        refuse_existing(path, overwrite)
        with replacing(path) as part:
            if suffix == ".csv":
                with open(part, "w", encoding="utf-8", newline="") as file:
                    writer = csv.writer(file, lineterminator="\n")
                    writer.writerow(COLUMNS)
                    writer.writerows(row.values() for row in self.rows(training))
            else:
                _write_parquet(part, self.rows(training))


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    arrow, parquet = _pyarrow()
    types = {int: arrow.int64(), str: arrow.string(), bool: arrow.bool_()}
    schema = arrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    rows = iter(rows)
    with parquet.ParquetWriter(path, schema) as file:
        while chunk := list(islice(rows, 100_000)):
            file.write_table(arrow.Table.from_pylist(chunk, schema=schema))


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError("Parquet needs pyarrow: pip install 'molflow[parquet]', or write .csv") from None
    return pyarrow, pyarrow.parquet
