"""For the site, besides mkdocs.yml: which pages are there, the notebooks, links out of docs/, the help of commands."""

from __future__ import annotations

import importlib
import posixpath
import re
import shutil
import sys
from html import unescape
from pathlib import Path

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "https://github.com/molflow/molflow/blob/main/"
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config):
    """Leave out of the navigation what is not written, and put the notebooks into it."""
    if config.nav:
        config.nav = [entry for entry in (_present(entry) for entry in config.nav) if entry]
    return config


def _present(entry):
    title, target = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
    if isinstance(target, list):
        inner = [found for found in map(_present, target) if found]
        return {title: inner} if inner else None
    if target == "tutorials/*":
        found = [{_title(path): f"tutorials/{path.name}"} for path in notebooks()]
        return {title: found} if found else None
    return entry if "://" in target or (ROOT / "docs" / target).exists() else None


def notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def _title(path: Path) -> str:
    words = re.sub(r"^\d+_", "", path.stem).replace("_", " ")
    return words[:1].upper() + words[1:]


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files, config):
    stage = ROOT / "build" / "pages"
    (stage / "tutorials").mkdir(parents=True, exist_ok=True)
    for path in notebooks():
        shutil.copy(path, stage / "tutorials")
        files.append(File(f"tutorials/{path.name}", str(stage), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown, page, config, files):
    if page.file.src_uri == "reference/command-line.md":
        markdown += "\n".join(commands())
    return LINK.sub(lambda match: _link(match, page.file.src_uri), markdown)


def _link(match: re.Match, src_uri: str) -> str:
    """A link that leaves docs/ leads to the repository on the web."""
    target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(src_uri), match[1]))
    if target.startswith("docs/") or not (ROOT / target).exists():
        return match[0]
    return f"]({SOURCE}{target}{match[2] or ''})"


def commands() -> list[str]:
    """The help of every verb, as the verb prints it."""
    sys.path.insert(0, str(ROOT))
    from molflow.build import resolve
    from molflow.cli import VERBS
    from molflow.cli.command import parser_of

    out = []
    for verb, summary in VERBS.items():
        module = importlib.import_module(f"molflow.cli.{verb}")
        below = getattr(module, "VERBS", {"": getattr(module, verb, None)})
        out += ["", f"## molflow {verb}", "", f"{summary[:1].upper()}{summary[1:]}."]
        for name, function in below.items():
            prog = f"molflow {verb} {name}".strip()
            out += ["", f"### {prog}"] if name else []
            out += ["", "```text", parser_of(resolve(function), prog).format_help().rstrip(), "```"]
    return out


def on_post_page(output, page, config):
    """Formulas of the notebooks as MathML, which browsers draw themselves; and nothing that is fetched.

    The notebooks' template would fetch a library for diagrams, if there were diagrams.
    """
    if not page.file.src_uri.endswith(".ipynb"):
        return output
    output = re.sub(r"<script type=\"module\">(?:(?!</script>).)*mermaid.*?</script>", "", output, flags=re.S)
    return re.sub(r"<(p|li)>.*?</\1>", lambda part: formulas(part[0]), output, flags=re.S)


def formulas(html: str) -> str:
    """``$x_t$`` in a paragraph, but not in its code, as MathML."""
    from latex2mathml.converter import convert

    def drawn(match: re.Match) -> str:
        if match["code"]:
            return match[0]
        block, inline = match["block"], match["inline"]
        return convert(unescape(block or inline), display="block" if block else "inline")

    pattern = r"(?P<code><code.*?</code>)|\$\$(?P<block>[^$]+)\$\$|\$(?P<inline>[^$]+)\$"
    return re.sub(pattern, drawn, html, flags=re.S)
