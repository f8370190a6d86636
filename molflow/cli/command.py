"""A typed function -> a command: positionals, options, help and errors all read from its signature and docstring."""

from __future__ import annotations

import argparse
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, Union

from molflow.build import UserError, coerce, unknown

_OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")
_NUMBER = re.compile(r"-\.?\d")
_SHORT = {"out": "-o", "n": "-n"}
_SECTION = re.compile(r"(Args|Examples?|Returns|Raises):$")


def call(function: Callable, argv: Sequence[str], prog: str) -> Any:
    """Call ``function`` as the command line says.

    Parameters without a default are positional, a list of them takes several values, and none at all if it may be None;
    the others are options, and keyword-only ones without a default are required options; several commands share those
    of a TypedDict, ``**how: Unpack[Way]``. Only what was typed is passed: the defaults are Python's.
    A parameter ``overrides`` receives the tokens ``a.b=c`` and ``--a.b c`` as ``{"a.b": "c"}``.

    >>> def power(base: float, *, exponent: int = 2) -> float:
    ...     return base**exponent
    >>> call(power, ["--exponent", "3", "2"], "power")
    8.0
    """
    return function(**parse(function, argv, prog))


def parse(function: Callable, argv: Sequence[str], prog: str) -> dict[str, Any]:
    """The keywords that a command line stands for, with the types of the signature."""
    parser = parser_of(function, prog)
    parameters = {parameter.name: parameter for parameter in parameters_of(function)}
    options, positionals, overrides = _sort(parser, argv, takes_overrides=_takes_overrides(function))
    typed = vars(parser.parse_args([*options, "--", *positionals] if positionals else options))
    left_out = [parameter for parameter in parameters.values() if parameter.positional and _may_be_none(parameter.hint)]
    keywords: dict[str, Any] = {parameter.name: None for parameter in left_out}
    for name, value in typed.items():
        positional = parameters[name].positional
        if isinstance(value, list) and not positional:  # --protocol edm,strict --protocol jodo
            value = [part for text in value for part in text.split(",")]
        flag = name.upper() if positional else _flag(name)
        if "" in (value if isinstance(value, list) else [value]):
            raise UserError(f"{flag}: an empty text says nothing (an unset variable?)")
        keywords[name] = coerce(value, parameters[name].hint, flag)
    if _takes_overrides(function):
        keywords["overrides"] = overrides
    return keywords


def _usage(parameter: Parameter) -> str:
    name = parameter.name.upper()
    text = f"{name} [{name} ...]" if _is_list(parameter.hint) else name
    return f"[{text}]" if _may_be_none(parameter.hint) else text


def parser_of(function: Callable, prog: str) -> argparse.ArgumentParser:
    """The argument parser of a function; values stay text, ``call`` gives them their types."""
    text, _, examples = read_docstring(function)
    parameters = parameters_of(function)
    shown = [_usage(parameter) for parameter in parameters if parameter.positional]
    if _takes_overrides(function):
        shown.append("[key=value ...]")
    parser = _Parser(
        prog=prog,
        usage=" ".join([prog, *shown, "[options]"]),
        description=text,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for parameter in parameters:
        hint, note = parameter.hint, parameter.note.replace("%", "%%")
        if parameter.positional:
            several, one = ("*", "?") if _may_be_none(hint) else ("+", None)
            nargs = several if _is_list(hint) else one
            parser.add_argument(parameter.name, metavar=parameter.name.upper(), nargs=nargs, help=note)
            continue
        if parameter.group not in groups:
            groups[parameter.group] = parser.add_argument_group(parameter.group)
        group, required = groups[parameter.group], parameter.default is inspect.Parameter.empty
        common: dict[str, Any] = {"dest": parameter.name, "required": required}
        common["help"] = note + _default(parameter.default)
        if not parameter.takes_value:
            group.add_argument(_flag(parameter.name), action=argparse.BooleanOptionalAction, **common)
        else:
            action = "append" if _is_list(hint) else "store"
            group.add_argument(*parameter.flags, action=action, metavar=_metavar(hint), **common)
    return parser


@dataclass(frozen=True)
class Parameter:
    """A parameter of a command, as its signature and docstring have it."""

    name: str
    hint: Any
    default: Any
    note: str
    positional: bool
    group: str = ""  # the heading that it stands under

    @property
    def takes_value(self) -> bool:
        return self.positional or bool not in _options(self.hint)

    @property
    def flags(self) -> tuple[str, ...]:
        """How it is typed as an option; not at all if it is positional."""
        if self.positional:
            return ()
        flag = _flag(self.name)
        if not self.takes_value:
            return flag, "--no-" + flag[2:]
        return flag, *filter(None, [_SHORT.get(self.name)])


def parameters_of(function: Callable) -> list[Parameter]:
    """What may be typed after a command, in the order of its signature.

    ``**how: Unpack[Way]`` stands for the keys of the TypedDict, each an option that may be left out; its docstring
    describes them, under its first line.
    """
    out = []
    hints, described = typing.get_type_hints(function), read_docstring(function)[1]
    for name, given in inspect.signature(function).parameters.items():
        if given.kind is given.VAR_KEYWORD:
            (keys,) = typing.get_args(hints[name])
            heading, notes, _ = read_docstring(keys)
            group = heading.split("\n")[0].rstrip(".")
            out += [
                Parameter(key, hint, None, notes.get(key, ""), False, group)
                for key, hint in typing.get_type_hints(keys).items()
            ]
        elif name != "overrides":
            positional = given.kind is given.POSITIONAL_OR_KEYWORD and given.default is given.empty
            out.append(Parameter(name, hints[name], given.default, described.get(name, ""), positional))
    return out


def read_docstring(function: Callable) -> tuple[str, dict[str, str], str]:
    """The text, the ``Args:`` by name, and the examples as they stand."""
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in (inspect.getdoc(function) or "").splitlines():
        if _SECTION.match(line):
            current = line
            sections[current] = []
        else:
            sections[current].append(line)
    described: dict[str, str] = {}
    name = ""
    for line in sections.get("Args:", []):
        start = re.match(r"    (\w+): *(.*)", line)
        if start:
            name, described[start[1]] = start[1], start[2]
        elif line.strip():
            described[name] += " " + line.strip()
    examples = ["\n".join([title, *lines]).rstrip() for title, lines in sections.items() if title.startswith("Example")]
    return "\n".join(sections[""]).strip(), described, "\n\n".join(examples)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        missing = message.removeprefix("the following arguments are required: ")
        if missing != message:
            message = f"`{self.prog}` needs {re.sub('/-[a-z]', '', missing)}"
        extra = message.removeprefix("unrecognized arguments: ")
        if extra != message:
            setting = f": to set a key, say {extra}=VALUE" if "." in extra and "key=value" in str(self.usage) else ""
            message = f"`{self.prog}` does not know what to do with {extra!r}{setting}"
        raise UserError(f"{message} (see `{self.prog} --help`)")


def _sort(
    parser: argparse.ArgumentParser, argv: Sequence[str], takes_overrides: bool
) -> tuple[list[str], list[str], dict[str, str]]:
    """Options with their values, the rest, and ``key=value`` tokens; an option that nobody knows is an error."""
    known = parser._option_string_actions
    options: list[str] = []
    positionals: list[str] = []
    overrides: dict[str, str] = {}
    tokens = list(argv)
    while tokens:
        token = tokens.pop(0)
        if token == "--":
            positionals += tokens
            break
        if not token.startswith("-") or token == "-" or _NUMBER.match(token):
            if takes_overrides and _OVERRIDE.match(token):
                key, _, value = token.partition("=")
                overrides[key] = value
            else:
                positionals.append(token)
            continue
        flag, equals, value = token.partition("=")
        if flag not in known:
            flag = flag.replace("_", "-")
        is_override = flag not in known and takes_overrides and "." in token.partition("=")[0]
        if flag not in known and not is_override:
            raise unknown(f"option of `{parser.prog}`", token.partition("=")[0], _visible(known))
        if not is_override and known[flag].nargs == 0:
            if equals:
                raise UserError(f"{flag} takes no value: say {' or '.join(known[flag].option_strings)}, not {token}")
            options.append(flag)
            continue
        if not equals:
            if not tokens or tokens[0].startswith("--"):
                raise UserError(f"{flag} needs a value (see `{parser.prog} --help`)")
            value = tokens.pop(0)
        if is_override:
            overrides[token.partition("=")[0].lstrip("-")] = value
        else:
            options.append(f"{flag}={value}")
    return options, positionals, overrides


def _visible(known: Mapping[str, argparse.Action]) -> list[str]:
    return [flag for flag, action in known.items() if flag == action.option_strings[0] and flag != "-h"] + ["--help"]


def _takes_overrides(function: Callable) -> bool:
    return "overrides" in inspect.signature(function).parameters


def _flag(name: str) -> str:
    return "--" + name.rstrip("_").replace("_", "-")


def _options(hint: Any) -> list[Any]:
    """The members of a union, without None."""
    members = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    return [member for member in members if member is not type(None)]


def _may_be_none(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _is_list(hint: Any) -> bool:
    origins = [typing.get_origin(member) or member for member in _options(hint)]
    return any(isinstance(o, type) and issubclass(o, Sequence) and not issubclass(o, (str, bytes)) for o in origins)


def _metavar(hint: Any) -> str:
    for member in _options(hint):
        if typing.get_origin(member) is Literal:
            return "{" + ",".join(map(str, typing.get_args(member))) + "}"
    if _is_list(hint):
        (item,) = (typing.get_args(_options(hint)[0]) or (str,))[:1]
        return f"{_metavar(item)}[,...]"
    return " | ".join("TEXT" if member is str else member.__name__.upper() for member in _options(hint))


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return " (required)"
    if value is None or value is False or value in ("", ()):
        return ""
    if value is True:
        return " (default: on)"
    shown = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
    return f" (default: {shown})".replace("%", "%%")
