"""Examples in docstrings stand between blank lines; on the site they are blocks of code."""

from __future__ import annotations

import re

from griffe import Extension

_BLOCK = re.compile(r"^>>>.*(?:\n(?!\s*$).*)*", re.M)


class Examples(Extension):
    def on_object(self, *, obj, **kwargs) -> None:
        if obj.docstring:
            obj.docstring.value = _BLOCK.sub(lambda block: f"```pycon\n{block[0]}\n```", obj.docstring.value)
