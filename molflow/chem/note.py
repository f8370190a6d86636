"""The note beside a file of molecules: a JSON file that tells how it was made, and of which bytes it speaks."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molflow.atomic import write_json


def note_of(path: str | os.PathLike[str]) -> Path:
    """The file beside ``path`` that tells where it comes from.

    >>> note_of("made/molecules.sdf.gz").name
    'molecules.sdf.gz.json'
    """
    return Path(path).with_name(Path(path).name + ".json")


def checksum_of(path: str | os.PathLike[str]) -> str:
    """By which a note is known to mean this file."""
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def write_note(path: str | os.PathLike[str], facts: Mapping[str, Any]) -> None:
    """What is told of a file that is there."""
    write_json(note_of(path), {"file": Path(path).name, "checksum": checksum_of(path), **facts})


def read_note(path: str | os.PathLike[str], checksum: str) -> dict[str, Any]:
    """What the note beside a file with this checksum tells; nothing if there is none, or it means another."""
    try:
        told = json.loads(note_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) and told.get("checksum") == checksum else {}
