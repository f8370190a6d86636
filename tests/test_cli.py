"""The command line as a whole: verbs are found, explained and imported late; every mistake has its exit code."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import types

import pytest

from molflow.build import UserError, resolve
from molflow.cli import VERBS, main
from molflow.cli.command import parameters_of, read_docstring


def commands() -> list[tuple[str, ...]]:
    """Every command there is: ``("train",), ("data", "qm9"), ...``."""
    found: list[tuple[str, ...]] = []
    for verb in VERBS:
        below = getattr(importlib.import_module(f"molflow.cli.{verb}"), "VERBS", None)
        found += [(verb,)] if below is None else [(verb, name) for name in below]
    return found


def function_of(command: tuple[str, ...]):
    module = importlib.import_module(f"molflow.cli.{command[0]}")
    return getattr(module, command[0]) if len(command) == 1 else resolve(module.VERBS[command[1]])


@pytest.fixture
def verb(monkeypatch):
    """``verb(function)`` makes the function the verb ``fake``."""

    def register(function):
        module = types.ModuleType("molflow.cli.fake")
        module.fake = function
        monkeypatch.setitem(VERBS, "fake", "a verb for this test")
        monkeypatch.setitem(sys.modules, "molflow.cli.fake", module)

    return register


def test_help_tells_which_words_may_be_left_out(capsys):
    assert main(["info", "--help"]) == 0
    assert "usage: molflow info [TARGET] [options]" in capsys.readouterr().out


def test_a_closed_standard_output_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["completion", "bash"]) == 0


def test_help_lists_every_verb(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text and summary in text for name, summary in VERBS.items())
    assert main([]) == 2, "without a verb the list is shown, but nothing was done"


def test_every_command_explains_itself(capsys):
    for command in commands():
        assert main([*command, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"usage: molflow {' '.join(command)}" in text
        function = function_of(command)
        summary, described, examples = read_docstring(function)
        assert summary, f"{command} has no first sentence"
        assert f"molflow {' '.join(command)}" in examples, f"{command} shows no example"
        assert all(parameter.note for parameter in parameters_of(function)), f"{command}: a parameter without a word"
        known = {
            name for name, given in inspect.signature(function).parameters.items() if given.kind != given.VAR_KEYWORD
        }
        assert set(described) | {"overrides"} == known | {"overrides"}, f"{command}: Args and parameters differ"


def test_verbs_below_a_verb_are_listed(capsys):
    assert main(["data", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text for name in ("qm9", "import", "info", "toy"))
    assert main(["data", "qm8"]) == 2
    assert "unknown verb of `molflow data` 'qm8' (did you mean 'qm9'?)" in capsys.readouterr().err


def test_a_misspelt_verb_is_answered_with_the_nearest(capsys):
    assert main(["sampel"]) == 2
    assert (
        "unknown verb 'sampel' (did you mean 'sample'?); choose from compare, completion, data"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("the file is cut in half"), 2, "error: the file is cut in half"),
        (OSError(28, "No space left on device", "a.sdf"), 2, "error: a.sdf: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_a_person_can_mend_is_said_without_a_traceback(verb, capsys, error, code, message):
    def fail():
        raise error

    verb(fail)
    assert main(["fake"]) == code
    assert capsys.readouterr().err.strip() == message


def test_a_defect_shows_its_traceback_and_debug_shows_all(verb):
    def fail(*, mine: bool = False):
        raise KeyError("bug") if mine else UserError("typo")

    verb(fail)
    with pytest.raises(KeyError):
        main(["fake", "--mine"])
    with pytest.raises(UserError):
        main(["--debug", "fake"])


def test_exit_code_is_what_the_verb_returns(verb):
    verb(lambda: 1)
    assert main(["fake"]) == 1
    verb(lambda: None)
    assert main(["fake"]) == 0


def test_a_reader_that_stops_early_is_no_error():
    script = (
        "import sys, types, molflow.cli as c; m = types.ModuleType('x'); c.VERBS['fake'] = ''\n"
        "m.fake = lambda: print('line\\n' * 100_000); sys.modules['molflow.cli.fake'] = m\n"
        "sys.exit(c.main(['fake']))"
    )
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout and run.stderr
    run.stdout.readline()
    run.stdout.close()
    assert run.stderr.read() == b""
    assert run.wait() == 141


def test_python_m_molflow_is_the_same():
    run = subprocess.run([sys.executable, "-m", "molflow", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("molflow 0.")
