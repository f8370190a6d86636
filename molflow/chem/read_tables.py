"""Files of SMILES, one a line or in a column."""

from __future__ import annotations

import csv as csv_module
from collections.abc import Iterator
from typing import Any

from molflow.build import UserError
from molflow.chem.read_text import told
from molflow.chem.record import Lines, Record


def smi(lines: Lines) -> Iterator[Record]:
    for k, line in enumerate(lines):
        words = line.split()
        if words and not line.startswith("#") and not (k == 0 and "smiles" in words[0].lower()):
            yield lines.record(**_molecule(words[0]), text=f"{line}\n")
    yield from lines.end()


def csv(lines: Lines) -> Iterator[Record]:
    header = next(lines, "")
    delimiter = max(",\t;", key=header.count)
    lines.push(header)
    rows = csv_module.reader((line + "\n" for line in lines), delimiter=delimiter)
    names = [name.strip() for name in next(rows, [])]
    column = _smiles_column(lines.path, names)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv_module.Error as error:
            yield lines.record(error=str(error))
            continue
        if not any(map(str.strip, row)):
            continue
        if len(row) <= column:
            yield lines.record(error=f"the row has {len(row)} of {len(names)} columns")
            continue
        entries = {name: entry.strip() for k, (name, entry) in enumerate(zip(names, row)) if k != column}
        yield lines.record(**_molecule(row[column].strip()), **told(entries))
    yield from lines.end()


def _smiles_column(path: str, names: list[str]) -> int:
    lower = [name.lower() for name in names]
    for wanted in ("smiles", "canonical_smiles", "smi"):
        if wanted in lower:
            return lower.index(wanted)
    for k, name in enumerate(lower):
        if "smiles" in name:
            return k
    if not all(name.isprintable() for name in names):
        raise UserError(f"{path}: this is no table of text")
    raise UserError(f"{path}: no column named 'smiles' among {', '.join(map(repr, names)) or 'none'}")


def _molecule(smiles: str) -> dict[str, Any]:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles, sanitize=False) if smiles else None
    if mol is None:
        return {"error": f"{smiles[:60]!r} is no SMILES", "smiles": smiles}
    return {"mol": mol, "smiles": smiles}
