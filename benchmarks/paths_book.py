"""The results file of a comparison, cell by cell: what stands in it is not run again; several processes may write."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import surroundings

Cell = dict[str, Any]


def key(system: str, variant: str, seed: int) -> str:
    return " | ".join([system, variant, str(seed)])


class Book:
    """``{"cells": {"system | variant | seed": {part: figures}}}``, written part by part."""

    def __init__(self, path: Path, protocol: str):
        self.path, self.protocol = path, protocol
        path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> dict[str, Cell]:
        return json.loads(self.path.read_text())["cells"] if self.path.exists() else {}

    def cell(self, system: str, variant: str, seed: int) -> Cell:
        return self.read().get(key(system, variant, seed), {})

    def put(self, system: str, variant: str, seed: int, part: str, figures: Any) -> None:
        """One part of a cell; a dictionary is merged into what is there."""
        with self._alone():
            cells = self.read()
            cell = cells.setdefault(key(system, variant, seed), {"system": system, "variant": variant, "seed": seed})
            old = cell.get(part)
            cell[part] = {**old, **figures} if isinstance(old, dict) and isinstance(figures, dict) else figures
            record = {"name": self.path.stem, "protocol": self.protocol, **surroundings(), "cells": cells}
            temporary = self.path.with_suffix(".part")
            temporary.write_text(compact(record) + "\n")
            os.replace(temporary, self.path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with open(self.path.with_suffix(".lock.part"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def compact(value: Any, indent: int = 0) -> str:
    """JSON with one line for whatever holds no further dictionary: figures stay readable and files short."""
    if isinstance(value, dict) and any(isinstance(inner, (dict, list)) for inner in value.values()):
        pad = " " * (indent + 1)
        lines = [f"{pad}{json.dumps(name)}: {compact(inner, indent + 1)}" for name, inner in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    return json.dumps(value)
