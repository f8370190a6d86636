"""``molflow completion``: what the shell needs to complete verbs, options and their values."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from molflow.build import names, resolve
from molflow.cli.command import parameters_of, read_docstring

FILE = "file"
FILES = {"files", "file", "config", "target", "data", "reference", "conformers", "json", "per_molecule"}
FILES |= {"out", "trajectory", "from_", "uncharacterized"}
MODELS = ("model", "models", "teacher")
CHOICES: dict[str, Callable[[], list[str]]] = {  # by the name of the parameter
    **dict.fromkeys(MODELS, lambda: sorted(path.parent.name for path in _root().glob("pretrained/*/config.json"))),
    "solver": lambda: names("solver", _dict("molflow.solvers:SOLVERS")),
    "grid": lambda: [*_dict("molflow.solvers.schedule:GRIDS"), "learned"],
    "protocol": lambda: names("protocol", _dict("molflow.metrics:PROTOCOLS")),
    "tier": lambda: [*_dict("molflow.metrics:TIERS"), *names("measurement", [])],
    "device": lambda: ["auto", "cpu", "cuda", "mps"],
}


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print a script that lets a shell complete molflow's verbs, options and their values.

    Args:
        shell: bash, zsh or fish

    Examples:
        molflow completion bash >> ~/.bashrc
        molflow completion zsh >> ~/.zshrc
        molflow completion fish > ~/.config/fish/completions/molflow.fish
    """
    print({"bash": bash, "zsh": zsh, "fish": fish}[shell](list(commands())))


@dataclass(frozen=True)
class Command:
    """A verb, or a verb below another, with what may follow."""

    words: str  # "sample", "data import"
    summary: str
    positional: list[str]  # the values of its positionals that are known
    files: bool  # whether its positionals are files
    options: dict[str, list[str] | str | None]  # option -> its values; FILE; "" if any; None if it takes no value


def commands() -> Iterator[Command]:
    """Every command there is, read from the signatures of the verbs."""
    from molflow.cli import VERBS

    for verb in VERBS:
        module = importlib.import_module(f"molflow.cli.{verb}")
        if hasattr(module, "VERBS"):
            for name, function in module.VERBS.items():
                yield _command(f"{verb} {name}", resolve(function))
        else:
            yield _command(verb, getattr(module, verb))


def _command(words: str, function: Callable) -> Command:
    positional: list[str] = []
    files = False
    options: dict[str, list[str] | str | None] = {"--help": None}
    for parameter in parameters_of(function):
        values = _values(words, parameter.name, parameter.hint)
        if not parameter.flags:
            positional += values if isinstance(values, list) else []
            files |= values == FILE or parameter.name in MODELS
            continue
        for flag in parameter.flags:
            options[flag] = values if parameter.takes_value else None
    return Command(words, read_docstring(function)[0].split("\n")[0], positional, files, options)


def _values(words: str, name: str, hint: Any) -> list[str] | str:
    if words == "data toy" and name == "name":
        return names("toy", _dict("molflow.data:TOYS"))
    if get_args(hint) and all(isinstance(choice, str) for choice in get_args(hint)):
        return list(get_args(hint))  # Literal["bash", "zsh", "fish"]
    if name in CHOICES:
        return CHOICES[name]()
    return FILE if name in FILES else ""


def bash(known: list[Command]) -> str:
    """A function for bash's ``complete -F``."""
    below: dict[str, list[str]] = {}
    for command in known:
        verb, *rest = command.words.split()
        below.setdefault(verb, []).extend(rest)
    values, words = [], []
    for command in known:
        for flag, choices in command.options.items():
            if choices is not None:
                values.append(f'        "{command.words} {flag}") {_reply(choices)}; return ;;')
        offered = " ".join([*command.options, *command.positional])
        words.append(f'        "{command.words}") words="{offered}"; files={int(command.files)} ;;')
    groups = [f'        {verb}) words="{" ".join(names)}" ;;' for verb, names in below.items() if names]
    return "\n".join(
        [
            "# molflow's completion for bash",
            "_molflow() {",
            '    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words="" files=0',
            "    local command=${COMP_WORDS[1]}",
            "    COMPREPLY=()",
            f'    if [ "$COMP_CWORD" -eq 1 ]; then words="{" ".join([*below, "--help", "--version", "--debug"])}"; fi',
            '    if [ "$COMP_CWORD" -eq 2 ]; then case "$command" in',
            *groups,
            "    esac; fi",
            f'    case "$command" in {"|".join(v for v, n in below.items() if n)}) '
            '[ "$COMP_CWORD" -gt 2 ] && command="$command ${COMP_WORDS[2]}" ;; esac',
            '    case "$command $previous" in',
            *values,
            "    esac",
            '    [ "$COMP_CWORD" -gt 1 ] && case "$command" in',
            *words,
            "    esac",
            '    COMPREPLY=($(compgen -W "$words" -- "$current"))',
            '    if [ "$files" -eq 1 ] && [[ "$current" != -* ]]; then',
            "        compopt -o filenames 2>/dev/null",
            '        COMPREPLY+=($(compgen -f -- "$current"))',
            "    fi",
            "}",
            "complete -F _molflow molflow",
        ]
    )


def _reply(choices: list[str] | str) -> str:
    if choices == FILE:
        return 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$current"))'
    return f'COMPREPLY=($(compgen -W "{" ".join(choices)}" -- "$current"))'


def zsh(known: list[Command]) -> str:
    """The same function, through zsh's own reader of bash completions."""
    return "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + bash(known)


def fish(known: list[Command]) -> str:
    """A line for each verb and option."""
    from molflow.cli import VERBS

    lines = ["# molflow's completion for fish"]
    lines += [f"complete -c molflow -f -n __fish_use_subcommand -a {v} -d {_quoted(s)}" for v, s in VERBS.items()]
    for command in known:
        verb, *rest = command.words.split()
        seen = " ; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.words.split())
        if rest:
            group = f"__fish_seen_subcommand_from {verb}"
            lines.append(f"complete -c molflow -f -n '{group}' -a {rest[0]} -d {_quoted(command.summary)}")
        if command.positional:
            lines.append(f"complete -c molflow -n '{seen}' -a '{' '.join(command.positional)}'")
        for flag, choices in command.options.items():
            kind = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            takes = "" if choices is None else " -r -F" if choices == FILE else f" -x -a '{' '.join(choices)}'"
            lines.append(f"complete -c molflow -n '{seen}' {kind}{takes}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dict(where: str) -> dict[str, Any]:
    return resolve(where)  # type: ignore[return-value]


def _root() -> Path:
    return Path(__file__).resolve().parent.parent
