"""Versions of what figures, files and runs were made with."""

from __future__ import annotations

import platform
from importlib.metadata import version

from molflow import __version__


def versions(*packages: str) -> dict[str, str]:
    """Of molflow, of Python and of these packages.

    >>> list(versions("numpy"))
    ['molflow', 'python', 'numpy']
    """
    return {"molflow": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}}
