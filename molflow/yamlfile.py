"""A YAML file of nested keys, and the line of each key, so that a mistake is told where it was written."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from molflow.build import UserError

Keys = tuple[str, ...]


def read_text(path: Path) -> str:
    """What is in a text file, or a UserError that says why not."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text file, so no configuration") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a file; a key given twice is an error, for YAML itself would drop the first."""
    text = read_text(path)
    try:
        lines_of(path, text)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        why = ", ".join(filter(None, [error.problem, error.context])) or "it cannot be read"
        hint = ": indent with blanks" if "\\t" in why else ""
        raise UserError(f"{path}{where}: this is not valid YAML ({why}){hint}") from None
    except UserError:
        raise
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # as a date that there is not
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values, such as `seed: 0`; configs/ has examples")
    return values


def lines_of(path: Path, text: str) -> dict[Keys, int]:
    """The line of every key: {("train", "lr"): 7}."""
    found: dict[Keys, int] = {}

    def walk(node: yaml.Node | None, keys: Keys) -> None:
        if isinstance(node, yaml.SequenceNode):
            for k, entry in enumerate(node.value):
                found[(*keys, str(k))] = entry.start_mark.line + 1
                walk(entry, (*keys, str(k)))
        elif isinstance(node, yaml.MappingNode):
            own: dict[str, int] = {}
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in own:
                    raise UserError(f"{path}, line {line}: {name} was given in line {own[name]} already; keep one")
                own[name] = found[(*keys, name)] = line
                walk(value, (*keys, name))

    walk(yaml.compose(text, Loader=yaml.SafeLoader), ())
    return found


@contextlib.contextmanager
def told_by_line(path: str | Path, given: Collection[str] = ()) -> Iterator[None]:
    """A mistake in a key of the file is told with its line; those of the keys ``given`` beside the file are not its."""
    try:
        yield
    except UserError as error:
        keys = tuple(map(str, error.keys))
        if not keys or any(_overlap(tuple(key.split(".")), keys) for key in given):
            raise
        lines = lines_of(Path(path), read_text(Path(path)))
        known = next((keys[:n] for n in range(len(keys), 0, -1) if keys[:n] in lines), None)
        if known is None:
            raise
        words = str(error).replace(f"{path}: ", "", 1).replace(f" of {path} ", " ", 1)
        raise UserError(f"{path}, line {lines[known]}: {words}") from error


def _overlap(a: Keys, b: Keys) -> bool:
    """Whether one of them lies within the other."""
    shared = min(len(a), len(b))
    return a[:shared] == b[:shared]
