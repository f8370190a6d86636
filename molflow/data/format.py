"""The bytes of a data file: a safetensors header, then flat arrays (docs/data-format.md).

Read and written here rather than by the safetensors package, so that opening costs one page of the file whatever its
size, and so that writing needs no more memory than one molecule.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molflow.build import UserError, no_file

FORMAT, VERSION = "molflow.store", 1
SPLITS = ("train", "val", "test")  # by the number in the column `split`
BOND_ORDERS = (1, 2, 3, 4)  # 4 = aromatic
PROPERTY = "props."

CODES = {
    "F64": "<f8",
    "F32": "<f4",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
_CODE_OF = {np.dtype(numpy): code for code, numpy in CODES.items()}
_LONGEST_HEADER = 100_000_000  # as the safetensors package has it


def header_bytes(columns: dict[str, tuple[np.dtype, tuple[int, ...]]], meta: dict[str, str]) -> bytes:
    """The file's start for columns in their order of writing, filled with blanks so that the arrays start aligned."""
    entries: dict[str, object] = {"__metadata__": dict(sorted(meta.items()))}
    at = 0
    for name, (dtype, shape) in columns.items():
        end = at + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        entries[name] = {"dtype": _CODE_OF[dtype], "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def open_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a data file, mapped into memory and not yet read, and its metadata."""
    path = Path(path)
    advice = (
        ". If it holds molecules (SDF, xyz, SMILES, CSV, npz), convert it:\n"
        f"  molflow data import {path} --out {path.name.split('.')[0] or 'molecules'}.safetensors"
    )
    foreign = UserError(f"{path} is not a molflow data file{'' if path.suffix == '.safetensors' else advice}")
    try:
        with open(path, "rb") as file:
            total = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= _LONGEST_HEADER else b""
    except FileNotFoundError:
        raise no_file(path, ". Make one with `molflow data qm9` or `molflow data import`, or check the path") from None
    except IsADirectoryError:
        raise UserError(
            f"{path} is a folder; a data file is one file, such as {path / 'mine.safetensors'}"
            if path != Path()
            else "no data file was named: give data.path, or make one with `molflow data qm9` or `molflow data import`"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not text.startswith(b"{"):
        raise foreign if total else cut(path, total)
    try:
        entries = json.loads(text)
        meta = dict(entries.pop("__metadata__", {}))
        start, end = 8 + length, 8 + length + max((e["data_offsets"][1] for e in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise (foreign if total >= 8 + length else cut(path, total)) from None
    check_format(path, meta)
    if total < end:
        raise cut(path, total, end)
    data = np.memmap(path, np.uint8, mode="c")  # copy on write: torch takes no read-only arrays, and nobody writes
    arrays = {}
    for name, entry in entries.items():
        low, high = entry["data_offsets"]
        try:
            arrays[name] = data[start + low : start + high].view(CODES[entry["dtype"]]).reshape(entry["shape"])
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged: array {name!r} does not fit its entry in the header") from error
    return arrays, meta


def check_format(path: Path, meta: dict[str, str]) -> None:
    if meta.get("format") != FORMAT:
        raise UserError(f"{path} is a safetensors file, but not one of molecules (model weights, perhaps)")
    version = str(meta.get("version"))
    if version != str(VERSION):
        newer = version.isdigit() and int(version) > VERSION
        cure = "update molflow, or make the file again with this one" if newer else "make the file again"
        raise UserError(f"{path} has data format version {version}; this molflow reads version {VERSION}: {cure}")


def cut(path: Path, have: int, want: int | None = None) -> UserError:
    of = f" of {want:,}" if want else ""
    return UserError(f"{path} is cut short ({have:,}{of} bytes): copy it or make it again")


def check_shapes(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """The columns fit one another: what can be told without reading them."""

    def damaged(why: str) -> UserError:
        return UserError(f"{path} is damaged: {why}; make it again")

    for name in ("positions", "offsets"):
        if name not in arrays:
            raise damaged(f"it has no array {name!r}")
    if arrays["positions"].ndim != 2:
        raise damaged("positions is not [atoms, dimensions]")
    atoms, molecules = len(arrays["positions"]), len(arrays["offsets"]) - 1
    spans = {"offsets": atoms}
    for name, whole in (("bond_offsets", "bonds"), ("smiles_offsets", "smiles")):
        if (name in arrays) != (whole in arrays):
            raise damaged(f"of {name!r} and {whole!r} one is missing")
        if whole in arrays:
            spans[name] = len(arrays[whole])
    for name, count in spans.items():
        if len(arrays[name]) != molecules + 1 or molecules < 0:
            raise damaged(f"{name} has {len(arrays[name])} entries for {molecules} molecules")
        if arrays[name][0] != 0 or arrays[name][-1] != count:
            raise damaged(f"{name} does not span {count} rows")
    for name, array in arrays.items():
        want = atoms if name in ("numbers", "charges") else molecules
        if (name in ("numbers", "charges", "split") or name.startswith(PROPERTY)) and array.shape != (want,):
            raise damaged(f"{name} has shape {list(array.shape)} for {want} entries")
    if "bonds" in arrays and arrays["bonds"].shape[1:] != (3,):
        raise damaged("bonds is not [bonds, 3]")


def content_checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """Of names, types, shapes and bytes, in the order of the names."""
    return checksum({name: (a.dtype, a.shape, iter([a.reshape(-1).view(np.uint8).data])) for name, a in arrays.items()})


def checksum(columns: Mapping[str, tuple[np.dtype, tuple[int, ...], Iterator[Any]]]) -> str:
    """The same of arrays that come in pieces: {name: (type, shape, pieces)}."""
    digest = hashlib.sha256()
    for name in sorted(columns):
        dtype, shape, pieces = columns[name]
        digest.update(f"{name} {dtype.str[1:]} {list(shape)}\n".encode())
        for piece in pieces:
            digest.update(piece)
    return "sha256:" + digest.hexdigest()
