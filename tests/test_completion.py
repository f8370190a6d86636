"""The shell completes verbs, options and their values: the printed function is run by bash itself."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from molflow.cli import VERBS, main
from molflow.cli.completion import commands
from molflow.solvers import SOLVERS


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert main(["completion", "bash"]) == 0
    path = tmp_path_factory.mktemp("completion") / "molflow.bash"
    path.write_text(text.getvalue())
    return path


@pytest.fixture
def complete(script, tmp_path):
    """What bash offers at the end of a line."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    for name in ("mine.sdf", "mine.yaml"):
        (tmp_path / name).touch()

    def ask(line: str) -> set[str]:
        words = line.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        program = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _molflow; "
        program += "printf '%s\\n' \"${COMPREPLY[@]}\""
        run = subprocess.run(
            ["bash", "--norc", "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        assert not run.stderr, run.stderr
        return set(run.stdout.split())

    return ask


def test_verbs_and_verbs_below_them(complete):
    assert set(VERBS) <= complete("molflow ")
    assert complete("molflow sa") == {"sample"}
    assert complete("molflow data ") == {"qm9", "import", "info", "toy"}
    assert complete("molflow data im") == {"import"}


def test_options_of_the_verb_alone(complete):
    assert complete("molflow sample small --st") == {"--steps"}
    assert {"--json", "--no-perceive", "--perceive"} <= complete("molflow score --")
    assert "--json" not in complete("molflow sample --")
    assert complete("molflow data toy moons --poi") == {"--points"}


def test_values_come_from_the_families(complete):
    assert complete("molflow sample small --solver ") == set(SOLVERS)
    assert complete("molflow sample small --solver mid") == {"midpoint"}
    assert complete("molflow score --protocol ed") == {"edm", "edm_geom"}
    assert complete("molflow data toy mo") == {"moons"}
    assert complete("molflow completion z") == {"zsh"}
    assert complete("molflow sample sm") == {"small"}


def test_files_where_files_are_wanted(complete):
    assert complete("molflow score mi") == {"mine.sdf", "mine.yaml"}
    assert complete("molflow score mine.sdf --json mine.y") == {"mine.yaml"}
    assert complete("molflow train ") >= {"mine.yaml"}
    assert complete("molflow sample small --n ") == set()


def test_every_command_is_known_and_the_other_shells_get_a_script(capsys):
    found = {command.words: command for command in commands()}
    assert {words.split()[0] for words in found} == set(VERBS)
    assert found["sample"].options["--overwrite"] is None and found["sample"].options["--steps"] == ""
    assert main(["completion", "zsh"]) == 0
    assert "bashcompinit" in capsys.readouterr().out
    assert main(["completion", "fish"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "complete -c molflow -n '__fish_seen_subcommand_from sample' -l trajectory -r -F" in lines
    assert main(["completion", "tcsh"]) == 2
