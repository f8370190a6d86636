"""The command line: one file a verb, imported when that verb runs."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from molflow.build import UserError, resolve, unknown
from molflow.cli.command import call, read_docstring

VERBS = {  # molflow/cli/<verb>.py holds a function of that name, or VERBS with the verbs below it
    "data": "make, import and inspect data sets",
    "train": "train a flow as a configuration file says",
    "sample": "generate molecules with a trained or shipped model",
    "vary": "make molecules like those of a file",
    "score": "judge a file of molecules",
    "compare": "score files of molecules side by side",
    "pick": "keep the molecules of a file that are valid, unique, new, or of a formula",
    "view": "make an HTML page of molecules or of a run, to look at offline",
    "likelihood": "tell how probable a model of coordinates finds molecules",
    "straightness": "measure how straight a model's ways from noise to molecule are",
    "reflow": "make pairs of noise and sample that a straighter model is trained on",
    "distill": "train a student of few steps from a teacher of many",
    "relay": "join models into one, each for a stretch of the way",
    "tune": "learn a model's best time grids from its own molecules",
    "tell": "learn what to tell a model, that its molecules have what the data have",
    "info": "show what is installed, or what a run, a model or a data set holds",
    "completion": "print what a shell needs to complete all of this",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 2 for a mistake that its message explains, or 130 for Ctrl-C.

    ``--debug``, wherever it stands, shows where in the program a mistake was found.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    end = argv.index("--") if "--" in argv else len(argv)
    debug = "--debug" in argv[:end]
    argv = [token for token in argv[:end] if token != "--debug"] + argv[end:]
    try:
        with _ended_in_order():
            code = _run(argv)
        if sys.stdout:  # which there is not where it was closed, `>&-`
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # `molflow ... | head`: nobody reads on; Python must not try to flush again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except SystemExit as done:  # argparse, after --help
        return int(done.code or 0)
    except (UserError, OSError) as error:  # OSError: a file that is not there, a disk that is full
        if debug:
            raise
        print(f"error: {_words(error)}", file=sys.stderr)
        return 2
    except MemoryError as error:
        if debug:
            raise
        print(f"error: this machine has too little memory for that ({error}): ask for less", file=sys.stderr)
        return 2


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Within it SIGTERM, too, ends a command through its ``finally``s: its workers and temporary files go with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(argv: list[str]) -> int:
    if argv[:1] == ["help"]:  # `molflow help sample`
        argv = [*argv[1:], "--help"]
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview("molflow", VERBS, "3D molecules and point clouds by flow matching."))
        print("`molflow --version` says which this is; --debug, with any verb, where an error was found.")
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        from molflow import __version__

        print(f"molflow {__version__}")
        return 0
    if argv[0].startswith("-"):
        raise unknown("option of `molflow`", argv[0], ("--help", "--version", "--debug"))
    if argv[0] not in VERBS:
        raise unknown("verb", argv[0], VERBS)
    verb, *rest = argv
    module = importlib.import_module(f"molflow.cli.{verb}")
    if hasattr(module, "VERBS"):
        return _below(f"molflow {verb}", module.VERBS, VERBS[verb], rest)
    return call(getattr(module, verb), rest, f"molflow {verb}") or 0


def _words(error: UserError | OSError) -> str:
    """What the system says of a file, in the order of our own messages, and what may be done."""
    if not isinstance(error, OSError) or error.filename is None:
        return str(error)
    advice = ": you may not; choose another place, or ask for the right" if isinstance(error, PermissionError) else ""
    return f"{error.filename}: {error.strerror}{advice}"


def _below(prog: str, verbs: Mapping[str, Callable | str], summary: str, argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        lines = {name: read_docstring(resolve(function))[0].split("\n")[0] for name, function in verbs.items()}
        print(_overview(prog, lines, f"{summary[0].upper()}{summary[1:]}."))
        return 0 if argv else 2
    if argv[0] not in verbs:
        raise unknown(f"verb of `{prog}`", argv[0], verbs)
    return call(resolve(verbs[argv[0]]), argv[1:], f"{prog} {argv[0]}") or 0


def _overview(prog: str, verbs: Mapping[str, str], summary: str) -> str:
    width = max(map(len, verbs))
    table = "\n".join(f"  {name:<{width}}  {text}" for name, text in verbs.items())
    return f"usage: {prog} VERB ...\n\n{summary}\n\n{table}\n\n`{prog} VERB --help` explains a verb."
