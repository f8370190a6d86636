"""What a verb writes is told apart from what it reads, before any work."""

from __future__ import annotations

import filecmp
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


def check_model(out: PATH, models: Iterable[str], overwrite: bool) -> None:
    """That the folder ``--out`` may take a model made of others."""
    from molflow.checkpoint import CONFIG, WEIGHTS
    from molflow.run import Run

    if Run(Path(out)).checkpoint.exists():
        raise UserError(f"{out} is a training run, which --resume would go on with: name another folder")
    if Path(out).is_dir():
        read = [file for model in models for file in model_files(model)]
        check_outputs({"--out": Path(out) / WEIGHTS, "its card": Path(out) / CONFIG}, read, overwrite)


def to_change(model: str, out: str | None, overwrite: bool) -> tuple[Path, Path]:
    """The folder of a model whose card may change, and the one to read it from before ``copied`` makes them one.

    It is the model's own, unless the model ships, or ``out``, whose model is a copy, or will be. A copy that is there
    goes on with what it has learned.
    """
    from molflow.checkpoint import CONFIG, WEIGHTS, locate, pretrained
    from molflow.run import Run

    folder = locate(model)
    if out is None:
        if folder == pretrained().get(model):
            raise UserError(f"{model} ships with molflow and stays as it is: say --out FOLDER for a copy that changes")
        return folder, folder
    copy, run = Path(out), Run(out)
    if copy.is_file():
        raise UserError(f"{copy} is a file: name a folder")
    whole = (copy / WEIGHTS).exists() and (copy / CONFIG).exists()
    if whole and filecmp.cmp(folder / WEIGHTS, copy / WEIGHTS, shallow=False):
        return copy, copy
    if run.checkpoint.exists() or run.metrics.exists():
        raise UserError(f"{copy} is a training run of another model: name another folder")
    check_model(copy, [model], overwrite)
    return copy, folder
