"""The documentation site holds every page, builds without a warning, and asks nothing of a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import molflow
from molflow.cli import VERBS

ROOT = Path(__file__).resolve().parent.parent


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = set(re.findall(r"([\w/-]+\.md)", nav))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= listed, f"not in mkdocs.yml: {pages - listed}"


def test_every_public_name_and_family_is_in_the_reference():
    text = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    for name, target in molflow._LAZY.items():
        assert target.replace(":", ".") in text, f"molflow.{name} has no place in docs/reference"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        pytest.skip("mkdocs is not installed: make docs installs it")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return folder


def test_the_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"', text)
        assert not [url for url in loaded if "canonical" not in url], f"{page.name} loads {loaded}"
        assert "cdnjs" not in text and "unpkg" not in text, page.name


def test_the_commands_tell_their_own_help(site):
    text = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    assert all(f"molflow {verb}" in text for verb in VERBS)
    batch = (site / "reference" / "batch.html").read_text(encoding="utf-8")
    assert '<span class="gp">&gt;&gt;&gt; </span>' in batch, "examples are blocks of code"
