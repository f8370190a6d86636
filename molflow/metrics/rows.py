"""One line a molecule and protocol, spooled to disk while the scores add up, then written as CSV or Parquet."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from io import StringIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile

from molflow.atomic import refuse_existing, replacing
from molflow.build import UserError
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
    "reason": str,
    "smiles": str,
}


def lines(start: int, places: Sequence[tuple[str, int]], judged: Mapping[str, Verdicts]) -> str:
    """The lines of a block, molecule by molecule; ``start`` is the first index, ``places`` their files and records."""
    columns = [
        zip(
            *(array.tolist() for array in (v.atoms, v.stable_atoms, v.stable, v.valid, v.connected)),
            v.reasons,
            v.smiles,
        )
        for v in judged.values()
    ]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for index, ((file, record), *verdicts) in enumerate(zip(places, *columns), start):
        writer.writerows([(index, file, record, name, *verdict) for name, verdict in zip(judged, verdicts)])
    return text.getvalue()


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

    def read(self) -> Iterator[dict[str, str]]:
        """The lines by column; to be read to the end before more are added."""
        self._file.seek(0)
        yield from csv.DictReader(self._file, list(COLUMNS))
        self._file.seek(0, os.SEEK_END)

    def write(self, path: str | os.PathLike[str], protocols: Collection[str], overwrite: bool = False) -> None:
        """The lines of these protocols to a ``.csv`` or ``.parquet`` file."""
        suffix = suffix_of(path)
        refuse_existing(path, overwrite)
        self._file.seek(0)
        kept = (row for row in csv.reader(self._file) if row[3] in protocols)
        with replacing(path) as part:
            if suffix == ".csv":
                with open(part, "w", encoding="utf-8", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows([list(COLUMNS)])
                    csv.writer(file, lineterminator="\n").writerows(kept)
            else:
                _write_parquet(part, kept)
        self._file.seek(0, os.SEEK_END)


def _write_parquet(path: Path, rows: Iterable[list[str]]) -> None:
    arrow, parquet = _pyarrow()
    types = {int: arrow.int64(), str: arrow.string(), bool: arrow.bool_()}
    schema = arrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    read = {int: int, str: str, bool: "True".__eq__}
    rows = iter(rows)
    with parquet.ParquetWriter(path, schema) as file:
        while chunk := list(islice(rows, 100_000)):
            columns = [[read[kind](text) for text in column] for kind, column in zip(COLUMNS.values(), zip(*chunk))]
            file.write_table(arrow.table(columns, schema=schema))


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError("Parquet needs pyarrow: pip install 'molflow[parquet]', or write .csv") from None
    return pyarrow, pyarrow.parquet
