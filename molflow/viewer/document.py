"""One HTML file that needs nothing else: scripts allowed by their hash, data as JSON, every text escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from molflow.atomic import finite, replacing


@dataclass
class Page:
    """What a page holds. ``body`` is markup: texts from outside go into it through ``text`` alone.

    >>> page = Page("Three < four", body=["<p>hello</p>"], scripts=["document.title"])
    >>> "script-src 'sha256-" in page.html(), "Three &lt; four" in page.html()
    (True, True)
    """

    title: str
    body: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)  # {id: what a script reads by that id}
    scripts: list[str] = field(default_factory=list)
    styled_by_scripts: bool = False  # a script adds styles as it runs

    def policy(self) -> str:
        """The content security policy: nothing is loaded, and nothing runs but the scripts inlined here."""
        scripts = " ".join(map(_hash, self.scripts)) or "'none'"
        styles = "'unsafe-inline'" if self.styled_by_scripts else _hash(_style())
        return (
            f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        )

    def html(self) -> str:
        lines = [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{self.policy()}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{text(self.title)}</title>",
            f"<style>{_style()}</style>",
            "</head>",
            "<body>",
            *self.body,
            *(_data(key, value) for key, value in self.data.items()),
            *(f"<script>{script}</script>" for script in self.scripts),
            "</body>",
            "</html>",
        ]
        return "\n".join(lines) + "\n"

    def write(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        with replacing(path, overwrite) as part:
            part.write_bytes(self.html().encode("utf-8", "replace"))


def text(value: object) -> str:
    """A text as markup that shows it, whatever it holds.

    >>> text("</script><img src=x onerror='f()'>")
    '&lt;/script&gt;&lt;img src=x onerror=&#x27;f()&#x27;&gt;'
    """
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in str(value))
    return html.escape(shown)


def embed(value: Any) -> str:
    """JSON that no HTML parser sees anything in; what is no finite number is null.

    >>> embed({"a": "</script>", "b": float("nan")})
    '{"a":"\\\\u003c/script\\\\u003e","b":null}'
    """
    plain = json.dumps(finite(value), allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return plain


def static(name: str) -> str:
    """A file of this folder's ``static``."""
    return (files("molflow.viewer") / "static" / name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    if "</script" in source.lower() or "\r" in source:
        raise ValueError("a script that holds its own end, or a carriage return, cannot be inlined")
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _data(key: str, value: Any) -> str:
    return f'<script type="application/json" id="{text(key)}">{embed(value)}</script>'


@cache
def _style() -> str:
    return static("page.css")
