"""The 3D viewer and map of chemiscope: its bundled script, the data it draws, and its licence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from molflow.build import UserError
from molflow.viewer.figures import Figure

_FIRST = (("logP", "QED"), ("atoms", "stable atoms"))  # axes in order of preference
_WEBGL, _SVG = '?"scatter3d":"scattergl"', '?"scatter3d":"scatter"'
_COLOURS = ("strain", "similarity", "SA", "atoms")


def folder() -> Path:
    spec = find_spec("chemiscope")
    if spec is None or spec.origin is None:
        raise UserError("the page needs chemiscope: pip install 'molflow[view]'")
    return Path(spec.origin).parent


def script() -> str:
    """Plain JavaScript that defines ``Chemiscope``, its map drawn as SVG.

    Plotly's WebGL scatter compiles its drawing code as it runs, which a policy without ``unsafe-eval`` forbids; its SVG
    scatter takes the same data.
    """
    path = folder() / "sphinx" / "static" / "chemiscope.min.js"
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    if source.count(_WEBGL) != 1:
        raise UserError(
            f"chemiscope {version('chemiscope')} is not built as the page expects: pip install 'chemiscope==1.1.0'"
        )
    return source.replace(_WEBGL, _SVG)


def notice() -> str:
    """Chemiscope's licence, and those of the libraries in its bundle."""
    texts = [f"chemiscope {version('chemiscope')}, https://chemiscope.org (BSD 3-Clause)"]
    for file in distribution("chemiscope").files or ():
        if file.name.startswith("LICENSE") and "licenses" in file.parts:
            texts.append(file.read_text(encoding="utf-8"))
    bundled = folder() / "static" / "chemiscope-widget.mjs.LICENSE.txt"
    if bundled.exists():
        texts += ["Libraries in its bundle:", bundled.read_text(encoding="utf-8")]
    return "\n\n".join(text.strip() for text in texts)


def dataset(structures: Sequence[dict[str, Any]], figures: Sequence[Figure], name: str = "molecules") -> dict[str, Any]:
    """What chemiscope draws. A missing value is None here, and no number by the time it is drawn."""
    properties = {}
    for figure in figures:
        entry = {"target": "structure", "values": figure.values, "description": figure.about}
        properties[safe(figure.name)] = entry | ({"units": figure.unit} if figure.unit else {})
    return {
        "meta": {"name": name},
        "structures": list(structures),
        "properties": properties,
        "settings": settings(list(properties)),
    }


def settings(names: Sequence[str]) -> dict[str, Any]:
    """Two telling figures on the axes, a third as colour."""
    x, y = next((pair for pair in _FIRST if set(pair) <= set(names)), (*names, *names)[:2])
    colour = next((name for name in _COLOURS if name in names and name not in (x, y)), "")
    shown: dict[str, Any] = {
        "x": {"property": x},
        "y": {"property": y},
        "color": {"property": colour, "palette": "viridis"} if colour else {"property": ""},
    }
    return {
        "target": "structure",
        "map": shown,
        "structure": [{"bonds": True, "spaceFilling": False, "keepOrientation": False}],
    }


def safe(name: str) -> str:
    """A property's name with nothing in it that markup or Plotly's own tags are made of.

    >>> safe("</script><img onerror=x>")
    'script img onerror x'
    """
    return " ".join(re.findall(r"[\w.,:+()/%-]+", name.replace("</", " ")))[:40] or "value"
