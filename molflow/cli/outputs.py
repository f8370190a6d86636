"""What a verb writes is told apart from what it reads, before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from molflow.atomic import refuse_existing
from molflow.build import UserError
from molflow.chem.io import matching

PATH = str | os.PathLike[str]


def check_outputs(outputs: Mapping[str, PATH | None], inputs: Iterable[PATH | None], overwrite: bool) -> None:
    """Outputs {option: file} are neither inputs (by name or pattern) nor one another, and replace nothing unasked."""
    read = {file.resolve() for name in inputs if name for file in matching(name)}
    written: dict[Path, str] = {}
    for option, name in outputs.items():
        if name is None:
            continue
        file = Path(name).resolve()
        if file in read:
            raise UserError(f"{option} {name} would replace what is read: give it another name")
        if file in written:
            raise UserError(f"{written[file]} and {option} are both {name}: give one of them another name")
        refuse_existing(name, overwrite)
        written[file] = option


def check_suffix(name: PATH, suffix: str, what: str) -> None:
    """A file is named after what it is, by which it is later read."""
    if Path(name).suffix != suffix:
        raise UserError(f"{name}: this writes {what}; name it {suffix}")


def check_data_file(name: PATH, inputs: Iterable[PATH | None], overwrite: bool) -> None:
    """That ``--out`` may become a data file."""
    check_outputs({"--out": name}, inputs, overwrite)
    check_suffix(name, ".safetensors", "a data file")


def model_files(model: str) -> list[Path]:
    """The files that hold a model."""
    from molflow.checkpoint import CONFIG, WEIGHTS, locate

    return [locate(model) / name for name in (CONFIG, WEIGHTS)]
