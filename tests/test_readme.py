"""What the documents show works: the Python runs, the command lines parse, the worked example passes its contract."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

import molflow
from molflow.build import check_keywords, find, resolve
from molflow.cli import VERBS, main
from molflow.cli.command import parse
from molflow.config import parse_config
from molflow.data.store import Store

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def command_lines(page: Path) -> list[str]:
    """Every ``molflow VERB ...`` on a line of its own in an indented or fenced block."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = "".join(re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, flags=re.M | re.S))
    lines = re.findall(r"^ {4,}(molflow [a-z]+ .*)$", text, flags=re.M)
    lines += re.findall(r"^(?:\$ )?(molflow [a-z]+ .*)$", fenced, flags=re.M)
    return [re.sub(r"\s(#|>>?\s|\$).*", "", line).strip() for line in lines]


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


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_python_of_the_first_screen_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = blocks(ROOT / page, "python")
    names: dict = {}
    for block in code:
        exec(compile(block, page, "exec"), names)
    assert "strict" in capsys.readouterr().out
    if page == "README.md":
        assert len(names["mols"]) == 100 and (names["relaxed"].props["energy_drop"] >= 0).all()


LESS = {  # for each command what makes it quick; the last value of an option counts
    "sample": "--n 6 --steps 2 --workers 1 --overwrite",
    "vary": "--steps 4 --device cpu",
    "view": "--no-strain --overwrite",
    "view runs/a": "--samples 2 --overwrite",
    "data qm9": "--from {archive} --uncharacterized {listed} --workers 0",
    "data import": "--workers 0",
    "data toy": "--n 200",
    "train": "train.steps=2 train.epochs=null train.minutes=null train.samples=2 train.validate=1",
    "tune": "--steps 2",
    "tell": "--steps 2 --n 8 --workers 0",
    "straightness": "--n 4",
    "reflow": "--pairs 8 --workers 1",
    "likelihood": "--n 2",
    "distill": "objective.fine=3 data.pairs=1000 train.steps=2 train.minutes=null train.samples=2 train.validate=1",
}
TINY = "data.pairs=1000 network.width=16 network.pair_width=8 network.layers=1 network.heads=2 network.vectors=2"


@pytest.mark.slow
def test_every_command_of_the_readme_runs(tmp_path, monkeypatch, capsys, raw_qm9, few_molecules):
    """In its order, on little data and few steps."""
    pytest.importorskip("chemiscope")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for name in ("mine.sdf", "more.xyz.gz"):
        molflow.write(Store(few_molecules).batch(range(12)), name)
    (tmp_path / "smiles.csv").write_text("smiles\nCCO\nCC\n")
    for line in command_lines(ROOT / "README.md"):
        _, *words = shlex.split(line)
        verb = " ".join(words[: 2 if words[0] == "data" or words[:2] == ["view", "runs/a"] else 1])
        less = LESS.get(verb, "").format(archive=raw_qm9.archive, listed=raw_qm9.uncharacterized)
        if verb == "train" and "moons" not in line:
            less += " " + TINY
        code = main([*words, *shlex.split(less)])
        assert code == 0, f"{line}: {capsys.readouterr().err}"
    wanted = {"molecules.sdf", "report.json", "report.html", "few.xyz", "run.html", "pairs.safetensors"}
    assert wanted <= {path.name for path in tmp_path.iterdir()}


def test_relative_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


FAMILIES = {
    "path": "molflow.paths:PATHS",
    "prior": "molflow.priors:PRIORS",
    "coupling": "molflow.couplings:COUPLINGS",
    "network": "molflow.networks:NETWORKS",
    "times": "molflow.times:TIMES",
    "solver": "molflow.solvers:SOLVERS",
}
PROGRAM = {"field", "channels", "states", "fields", "dim", "centred", "scale"}  # what an experiment supplies


def test_what_migrants_are_told_to_set_exists():
    """Every component that docs/migrating.md names is in its family and takes the keywords shown."""
    text = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
    found = re.findall(r"`(?:sample\.)?(path|prior|coupling|network|times|solver)(?:\.\w+)?=([^`]+)`", text)
    assert len(found) > 20
    for family, text_of in found:
        value = yaml.safe_load(text_of.replace(", ...", ""))
        for spec in value if isinstance(value, list) else [value]:
            name, keywords = (spec, {}) if isinstance(spec, str) else (spec.pop("name"), spec)
            target = find(family, resolve(FAMILIES[family]), name)  # type: ignore[arg-type]
            check_keywords(name, target, keywords, hidden=set() if keywords else PROGRAM)
    keys = re.findall(r"`((?:train|data|loss|sample)\.[a-z_.]+)", text)
    config = parse_config({}).to_dict()
    for key in keys:
        inner = config
        for part in key.rstrip(".").split("."):
            assert part in inner, f"docs/migrating.md: there is no {key}"
            inner = inner[part]
