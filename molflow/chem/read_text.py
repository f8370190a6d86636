"""SDF and mol files; xyz files, plain, extended and as QM9 has them; a damaged record never hides the next."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from molflow.chem.elements import NUMBER
from molflow.chem.molecule import build_mol
from molflow.chem.record import Lines, Record, named_split

_COUNTS = re.compile(r"[ \d]{6}.*V[23]000\s*$")
_FIELD = re.compile(r">.*<(.+)>")
_EXPONENT = re.compile(r"\*\^|(?<=\d)[dD](?=[-+\d])|(?<=\.)[dD](?=[-+\d])")  # as Mathematica or Fortran writes it
_NUMBER_OF = {**{symbol.upper(): number for symbol, number in NUMBER.items() if number}, "D": 1, "T": 1}
_PAIR = re.compile(r"""([\w.-]+)=(?:"([^"]*)"|(\S+))""")
_TABLE = "species:S:1:pos:R:3"
_LONGEST = 10  # digits of a number of atoms that is one


def number_or_none(text: str) -> float | None:
    try:
        return number_of(text)
    except ValueError:
        return None


def number_of(text: str) -> float:
    """As files write one: an identifier such as 2020_12, which Python takes for a number, is none."""
    if "_" in text:
        raise ValueError(text)
    return float(text)


def told(fields: dict[str, str]) -> dict[str, Any]:
    """The properties, numbers and texts, and the split."""
    splits = [fields.pop(name) for name in list(fields) if name.lower() == "split"]
    props = {name: value for name, text in fields.items() if (value := number_or_none(text)) is not None}
    texts = {name: text for name, text in fields.items() if name not in props}
    return {"props": props, "texts": texts, **named_split(splits[0] if splits else "")}


# -- SDF


def sdf(lines: Lines) -> Iterator[Record]:
    block: list[str] = []
    for line in lines:
        if line.startswith("$$$$"):
            yield from _records(lines, block)
            block = []
        else:
            block.append(line)
    if any(map(str.strip, block)):
        yield from _records(lines, block)
    yield from lines.end()


def _records(lines: Lines, block: list[str]) -> Iterator[Record]:
    """Usually one: but where a truncated record lacks its ``$$$$``, the next stands in the same block."""
    counts = [k for k, line in enumerate(block) if _COUNTS.match(line)]
    starts = [max(0, k - 3) for k in counts] or [0]
    for start, stop in zip(starts, [*starts[1:], len(block)]):
        text = "\n".join([*block[start:stop], "$$$$\n"])
        yield lines.record(**_molecule(block[start:stop]), text=text)


def _molecule(block: list[str]) -> dict[str, Any]:
    from rdkit import Chem, rdBase

    ends = [k for k, line in enumerate(block) if line.startswith("M  END")]
    if not ends:
        return {"error": "the record is cut short: it has no 'M  END'"}
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock("\n".join(block[: ends[0] + 1]), sanitize=False, removeHs=False)
    if mol is None:
        return _why(block)
    return {"mol": mol, **told(_fields(block[ends[0] + 1 :]))}


def _fields(block: list[str]) -> dict[str, str]:
    """The properties below a mol block, each until an empty line or the next."""
    fields: dict[str, list[str]] = {}
    rows: list[str] | None = None  # of the field that goes on
    for line in block:
        if found := _FIELD.match(line):
            rows = fields[found[1]] = []
        elif not line.strip():
            rows = None
        elif rows is not None:
            rows.append(line)
    return {name: "\n".join(lines) for name, lines in fields.items()}


def _why(block: list[str]) -> dict[str, Any]:
    counts = block[3] if len(block) > 3 else ""
    atoms = int(counts[:3]) if counts[:3].strip().isdigit() else 0
    symbols = [line[31:34].strip() for line in block[4 : 4 + atoms] if re.match(r"(\s*-?\d+\.\d+){3} ", line)]
    for symbol in symbols:
        if len(symbols) == atoms and symbol.upper() not in _NUMBER_OF:
            return {"error": f"{symbol!r} is no element", "reason": "unknown_element"}
    return {"error": "it is not a mol block that RDKit can read"}


# -- xyz


def xyz(lines: Lines) -> Iterator[Record]:
    tail = False  # may other lines follow? QM9's frequencies, SMILES and InChI, or what is left of a damaged frame
    for line in lines:
        count = line.strip()
        if not count:
            continue
        if count.isdecimal() and len(count) < _LONGEST:
            comment = next(lines, "")
            frame = _frame(lines, int(count), comment)
            yield lines.record(**frame)
            tail = "error" in frame or comment.startswith("gdb ")
        elif not tail:
            for junk in lines:  # to the next line that can begin a frame
                if junk.strip().isdecimal():
                    lines.push(junk)
                    break
            yield lines.record(error=f"expected a number of atoms, found {count[:40]!r}")
    yield from lines.end()


def _frame(lines: Lines, count: int, comment: str) -> dict[str, Any]:
    pairs = {name: quoted or bare for name, quoted, bare in _PAIR.findall(comment)}
    element, first = _columns(pairs.pop("Properties", _TABLE))
    numbers: list[int] = []
    positions: list[list[float]] = []
    unknown = ""
    taken = [comment]
    while len(numbers) < count:
        line = next(lines, None)
        if line is None:
            _give_back(lines, taken)
            return {"error": f"the file ends after {len(numbers)} of {count} atoms"}
        taken.append(line)
        row = line.split()
        try:
            numbers.append(_element(row[element]))
            positions.append([_coordinate(entry) for entry in row[first : first + 3]])
        except (ValueError, IndexError):
            positions.append([])
        if len(positions[-1]) != 3:
            _give_back(lines, taken)
            return {"error": f"atom {len(positions)} of {count} is {line.strip()[:40]!r}"}
        if not numbers[-1]:
            unknown = unknown or row[element]
    if unknown:
        return {"error": f"{unknown!r} is no element", "reason": "unknown_element"}
    known = told(pairs)
    charge = known["props"].pop("charge", 0.0)
    mol = build_mol(numbers, [0] * count, [], np.array(positions, dtype=np.float64).reshape(-1, 3))
    charged = {"charge": round(charge) if math.isfinite(charge) else 0}
    return {"mol": mol, **known, "has_bonds": False, **charged, "text": "\n".join([str(count), *taken, ""])}


def _coordinate(text: str) -> float:
    try:
        return number_of(text)
    except ValueError:
        return number_of(_EXPONENT.sub("e", text))


def _give_back(lines: Lines, taken: list[str]) -> None:
    """Of the lines of a damaged frame, those from the first that can begin another."""
    begin = next((k for k, line in enumerate(taken) if line.strip().isdecimal()), len(taken))
    for line in reversed(taken[begin:]):
        lines.push(line)


def _element(text: str) -> int:
    """Its atomic number, or 0 for a word that is no element, and for a dummy atom."""
    if text.isdecimal():
        return int(text) if int(text) < 119 else 0
    if not text[0].isalpha() and text != "*":
        raise ValueError(text)
    return _NUMBER_OF.get(text.upper(), 0)


def _columns(table: str) -> tuple[int, int]:
    """Where a row has its element and its coordinates, from an entry such as ``species:S:1:pos:R:3:forces:R:3``."""
    parts = table.split(":")
    at, places = 0, {}
    for name, width in zip(parts[::3], parts[2::3]):
        places[name] = at
        at += int(width) if width.isdecimal() else 1
    element = next((places[name] for name in ("species", "element", "Z", "numbers") if name in places), 0)
    return element, next((places[name] for name in ("pos", "positions") if name in places), 1)
