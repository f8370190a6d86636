"""What the documents show works: the Python runs, the command lines parse, the worked example passes its contract."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from molflow.build import resolve
from molflow.cli import VERBS, main
from molflow.cli.command import parse

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def command_lines(page: Path) -> list[str]:
    """Every ``molflow VERB ...`` on a line of its own in an indented or fenced block."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = "".join(re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, flags=re.M | re.S))
    lines = re.findall(r"^ {4,}(molflow [a-z]+ .*)$", text, flags=re.M)
    lines += re.findall(r"^(?:\$ )?(molflow [a-z]+ .*)$", fenced, flags=re.M)
    return [re.sub(r"\s#.*", "", line).strip() for line in lines]


LINES = sorted({(page.name, line) for page in PAGES for line in command_lines(page)})


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}: {line}" for page, line in LINES])
def test_command_lines_parse(page, line):
    _, verb, *rest = shlex.split(line)
    assert verb in VERBS
    module = importlib.import_module(f"molflow.cli.{verb}")
    if hasattr(module, "VERBS"):
        below, *rest = rest
        parse(resolve(module.VERBS[below]), rest, f"molflow {verb} {below}")
    else:
        parse(getattr(module, verb), rest, f"molflow {verb}")


def test_the_readme_shows_every_verb():
    shown = {shlex.split(line)[1] for line in command_lines(ROOT / "README.md")}
    assert shown == set(VERBS)


def test_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "README.md", "python")
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["mols"]) == 100
    assert "strict" in capsys.readouterr().out


def test_first_commands_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sample, score, info = command_lines(ROOT / "README.md")[:3]
    assert main([*shlex.split(sample)[1:], "--n", "8", "--steps", "4"]) == 0
    assert main(shlex.split(score)[1:]) == 0
    assert main(shlex.split(info)[1:]) == 0
    assert {"molecules.sdf", "report.json"} <= {path.name for path in tmp_path.iterdir()}


def test_relative_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
