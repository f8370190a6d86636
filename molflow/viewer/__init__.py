"""Molecules and runs to look at: one HTML file that works offline, a widget in notebooks, pictures anywhere.

view(batch)                                                     # in a notebook
page("molecules.sdf", reference="qm9.safetensors").write("report.html")
page("runs/a").write("run.html")
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molflow.build import UserError

if TYPE_CHECKING:
    from molflow.viewer.document import Page


def is_run(target: Any) -> bool:
    """Whether it names a folder, alone."""
    if isinstance(target, (list, tuple)) and len(target) == 1:
        target = target[0]
    return isinstance(target, (str, os.PathLike)) and Path(target).is_dir()


def page(target: Any, **options: Any) -> Page:
    """One HTML page: of molecules (all that ``molflow.score`` takes), or of a run folder. ``write`` makes it a file."""
    if isinstance(target, list) and len(target) > 1 and any(map(is_run, target)):
        raise UserError("a page shows molecules, or one run folder: name the folder alone")
    if is_run(target):
        from molflow.viewer.run import run_page

        folder: Any = target if isinstance(target, (str, os.PathLike)) else next(iter(target))
        return run_page(folder, **options)
    from molflow.viewer.report import report_page

    return report_page(target, **options)


def view(molecules: Any, *, limit: int = 100, seed: int = 0, path: bool = False, widget: bool | None = None) -> Any:
    """Show molecules in a notebook: chemiscope's map and 3D viewer, or where it cannot be, a grid of pictures.

    Takes a batch, RDKit molecules, a data file, or files by name or pattern; of more than ``limit`` some are drawn with
    the seed. ``path`` plays them as the states of one molecule. ``widget`` asks for the one or the other.

    >>> from rdkit import Chem
    >>> water = Chem.MolFromXYZBlock("3\\n\\nO 0 0 0\\nH 0.76 0.59 0\\nH -0.76 0.59 0")
    >>> view([water], widget=False)
    Pictures(1 of 1 molecules)
    """
    from molflow.viewer.notebook import shown

    return shown(molecules, limit, seed, path, widget)


__all__: Sequence[str] = ["is_run", "page", "view"]
