"""A name and keywords -> an object, typed from the constructor's signature, with errors that list the choices."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union

from molflow.plugins import installed, load


class UserError(ValueError):
    """A mistake that the person at the keyboard can mend; the command line prints it and exits with 2."""

    keys: tuple[str | int, ...] = ()  # of a configuration, outermost first, where the mistake is in one


@contextlib.contextmanager
def at(*keys: str | int) -> Iterator[None]:
    """A mistake met inside belongs to these keys of a configuration.

    >>> try:
    ...     with at("path"), at("pos"):
    ...         raise UserError("no such path")
    ... except UserError as error:
    ...     print(error.keys)
    ('path', 'pos')
    """
    try:
        yield
    except UserError as error:
        error.keys = (*keys, *error.keys)
        raise


def unknown(what: str, given: object, choices: typing.Iterable[str]) -> UserError:
    """``unknown path 'slerp'; choose from cosine, linear`` with the nearest choice first in mind."""
    choices = sorted({*choices, *installed(what)})
    near = difflib.get_close_matches(str(given), choices, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UserError(f"unknown {what} {given!r}{hint}; choose from {', '.join(choices) or 'nothing'}")


def no_file(path: str | os.PathLike[str], advice: str = "") -> UserError:
    """``mine.sfd: no such file (did you mean 'mine.sdf'?)``: the nearest name in the same folder, if one is near."""
    path = Path(path)
    folder = path.parent
    if not str(path) or not folder.is_dir():
        return UserError(f"{path}: no such file{advice}; there is no folder {folder}")
    near = difflib.get_close_matches(path.name, [entry.name for entry in folder.iterdir()], n=1, cutoff=0.8)
    hint = f" (did you mean {str(folder / near[0])!r}?)" if near else ""
    return UserError(f"{path}: no such file{hint}{advice}")


def resolve(target: str | Callable) -> Callable:
    """``"molflow.paths.linear:Linear"`` -> the class, imported only now."""
    if callable(target):
        return target
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def find(what: str, choices: Mapping[str, str | Callable], name: object) -> Callable:
    """The member of a family by its name: from the family's dict, or from a package that brings it (``plugins``)."""
    if isinstance(name, str):
        if name in choices:
            return resolve(choices[name])
        part = load(what, name)
        if part is not None:
            return part
    raise unknown(what, name, choices)


def names(what: str, choices: typing.Iterable[str]) -> list[str]:
    """Every name that ``find`` knows: the family's own in their order, then those of installed packages."""
    own = list(choices)
    return own + sorted(set(installed(what)) - set(own))


def build(what: str, choices: Mapping[str, str | Callable], spec: str | Mapping[str, Any], **given: Any) -> Any:
    """Build ``spec`` (a name, or ``{name: ..., keyword: ...}``) from a family's dict of choices.

    ``given`` are values the program supplies, such as the number of classes; a constructor takes those it names.

    >>> build("number", {"complex": complex}, {"name": "complex", "real": 1.0, "imag": 2.0})
    (1+2j)
    """
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping) or "name" not in spec:
        raise UserError(f"{what}: expected a name, or a mapping with 'name' and its keywords, not {spec!r}")
    keywords = {key: value for key, value in spec.items() if key != "name"}
    target = find(what, choices, spec["name"])
    where = f"{what} {spec['name']!r}"
    accepted = _parameters(target)
    if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        given = {key: value for key, value in given.items() if key in accepted}
    for key in keywords:
        if key in given:
            raise UserError(f"{where}: {key!r} is set by the program, not by the configuration")
    return target(**given, **check_keywords(where, target, keywords, hidden=set(given)))


def check_keywords(
    where: str, target: Callable, keywords: Mapping[str, Any], hidden: typing.Collection[str] = ()
) -> dict[str, Any]:
    """The keywords with their values coerced to the annotated types; unknown, missing or ill-typed ones are errors."""
    accepted = _parameters(target)
    if not accepted:
        if keywords:
            raise UserError(f"{where} takes no keywords, but {', '.join(map(repr, keywords))} was given")
        return {}
    if any(p.kind is p.VAR_KEYWORD or p.annotation is p.empty for p in accepted.values()):
        return dict(keywords)  # a callable without types, as a test's lambda: Python itself will complain
    hints = _hints(target)
    open_to_user = [key for key in accepted if key not in hidden]
    out = {}
    for key, value in keywords.items():
        with at(key):
            if key not in open_to_user:
                raise unknown(f"key of {where}", key, open_to_user)
            out[key] = coerce(value, hints[key], f"{where}: {key}")
    missing = [k for k in open_to_user if k not in out and accepted[k].default is inspect.Parameter.empty]
    if missing:
        raise UserError(f"{where} needs {', '.join(missing)}")
    return out


def from_mapping(cls: type, values: Mapping[str, Any] | None, where: str = "") -> Any:
    """A (nested) dataclass from a (nested) mapping, every key and type checked.

    >>> @dataclasses.dataclass
    ... class Train:
    ...     lr: float = 1e-3
    >>> from_mapping(Train, {"lr": "2e-3"})
    Train(lr=0.002)
    """
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise UserError(f"{where or cls.__name__}: expected keys and values, not {values!r}")
    return cls(**check_keywords(where or "the configuration", cls, values))


def coerce(value: Any, hint: Any, where: str) -> Any:
    """``value`` as the annotated type says, or an error that names what was expected and what was found."""
    expected = typing.get_origin(hint) or hint
    if hint is Any:
        return value
    if expected in (Union, types.UnionType):
        if value is None and type(None) in typing.get_args(hint):
            return None
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        for option in options:
            try:
                return coerce(value, option, where)
            except UserError:
                if len(options) == 1:
                    raise  # its own words say more: a key or an entry within
        raise _wrong(where, hint, value)
    if expected is Literal:
        for choice in typing.get_args(hint):
            if value == choice or value == str(choice):
                return choice
        raise unknown(f"value for {where}", value, map(str, typing.get_args(hint)))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_mapping(hint, value, where)
    if expected is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise _wrong(where, hint, value)
    if expected in (int, float):
        return _number(value, expected, where, hint)
    if expected is Path and isinstance(value, (str, Path)):
        return Path(value)
    if expected is str:
        if isinstance(value, str):
            return value
        raise _wrong(where, hint, value)
    if isinstance(expected, type) and issubclass(expected, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, hint, value)
        _, item = typing.get_args(hint) or (Any, Any)
        entries = {}
        for key, entry in value.items():
            with at(key):
                entries[key] = coerce(entry, item, f"{where}.{key}")
        return entries
    if isinstance(expected, type) and issubclass(expected, (list, tuple, typing.Sequence)):  # type: ignore[arg-type]
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, hint, value)
        kinds = typing.get_args(hint) or (Any,)
        if expected is tuple and kinds[1:] != (...,) and kinds != (Any,):
            if len(value) != len(kinds):
                raise _wrong(where, hint, value)
        else:
            kinds = [kinds[0]] * len(value)
        items = []
        for i, (entry, kind) in enumerate(zip(value, kinds)):
            with at(i):
                items.append(coerce(entry, kind, f"{where}[{i}]"))
        return tuple(items) if expected is tuple else items
    return value


def _number(value: Any, kind: type, where: str, hint: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _wrong(where, hint, value)
    try:
        number = float(value)
    except ValueError:
        raise _wrong(where, hint, value) from None
    if number != number:
        raise _wrong(where, hint, value)
    if kind is int:
        if not number.is_integer():
            raise _wrong(where, hint, value)
        return int(value) if isinstance(value, (int, str)) and str(value).lstrip("+-").isdigit() else int(number)
    return number


def _wrong(where: str, hint: Any, value: Any) -> UserError:
    name = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
    return UserError(f"{where}: expected {name}, not {value!r}")


def _parameters(target: Callable) -> dict[str, inspect.Parameter]:
    try:
        return {k: p for k, p in inspect.signature(target).parameters.items() if p.kind is not p.VAR_POSITIONAL}
    except ValueError:  # a builtin without a signature
        return {"keywords": inspect.Parameter("keywords", inspect.Parameter.VAR_KEYWORD)}


def _hints(target: Callable) -> dict[str, Any]:
    function = target.__init__ if isinstance(target, type) and not dataclasses.is_dataclass(target) else target
    return typing.get_type_hints(function)
