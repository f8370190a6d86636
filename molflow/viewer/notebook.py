"""Molecules in a notebook: chemiscope's widget where it can be shown, else pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molflow.atomic import replacing
from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.draw import KINDS, picture
from molflow.data.store import Store
from molflow.metrics.source import Source
from molflow.viewer.gather import Gathered, chosen, gather

if TYPE_CHECKING:
    from rdkit.Chem import Mol

PICTURES = 30  # molecules of a grid


class Pictures:
    """Molecules as balls and sticks, for notebooks and papers: ``save("grid.png")`` or ``.svg``."""

    def __init__(self, mols: Sequence[Mol], of: int, columns: int = 6):
        self.mols, self.of, self.columns = list(mols), of, columns

    def __repr__(self) -> str:
        return f"Pictures({len(self.mols)} of {self.of:,} molecules)"

    def _repr_png_(self) -> bytes:
        return picture(self.mols, ".png", self.columns, cell=160)

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        suffix = Path(path).suffix
        if suffix not in KINDS:
            raise UserError(f"{path}: a picture is written as {' or '.join(KINDS)}")
        with replacing(path, overwrite) as part:
            part.write_bytes(picture(self.mols, suffix, self.columns))


def shown(molecules: Any, limit: int, seed: int, path: bool, widget: bool | None) -> Any:
    """A widget, or pictures. ``widget`` None is: as this Python can."""
    if limit < 1:
        raise UserError(f"the number of molecules to show must be at least 1, not {limit}")
    if isinstance(molecules, Batch) and molecules.atom is None:
        raise UserError("these points carry no elements: plot batch.pos, such as with matplotlib")
    if not isinstance(molecules, (str, os.PathLike, Batch, Store)):
        molecules = list(molecules)
    source = Source(molecules, Store)
    count = source.total if source.total is not None else sum(len(block.molecules) for block in source.blocks())
    wanted = list(range(count)) if path else chosen(count, limit, seed)
    if widget is None:
        widget = in_notebook()
    if not widget:
        wanted = wanted[:: max(1, -(-len(wanted) // PICTURES))]
    gathered = gather(molecules, wanted)
    return _widget(gathered, path) if widget else Pictures(_mols(gathered), count)


def in_notebook() -> bool:
    """Whether a kernel runs this, and the widget is installed."""
    from importlib.util import find_spec

    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel") and all(find_spec(name) for name in ("chemiscope", "anywidget"))


def _widget(gathered: Gathered, path: bool) -> Any:
    from molflow.viewer.structure import structures

    try:
        import chemiscope
    except ImportError:
        raise UserError("the widget needs chemiscope: pip install 'molflow[view]'") from None
    shapes = structures(gathered.molecules)
    drawn = [k for k, shape in enumerate(shapes) if shape is not None]
    if not drawn:
        raise UserError("no molecule has coordinates to draw")
    frames = [shapes[k] for k in drawn]
    if path:
        settings = {"structure": [{"bonds": True, "keepOrientation": True, "playbackDelay": 100}]}
        return chemiscope.show(structures=frames, settings=settings, mode="structure")
    from molflow.viewer.chemiscope import dataset
    from molflow.viewer.figures import figures

    part = Gathered(
        [gathered.index[k] for k in drawn],
        gathered.molecules[drawn],
        [gathered.titles[k] for k in drawn],
        [gathered.props[k] for k in drawn],
    )
    data = dataset(
        [frame for frame in frames if frame], figures(part, "strict" if part.molecules.has_bonds.any() else "edm")
    )
    nan = float("nan")
    for entry in data["properties"].values():
        entry["values"] = [nan if value is None else value for value in entry["values"]]
    return chemiscope.show(structures=data["structures"], properties=data["properties"], settings=data["settings"])


def _mols(gathered: Gathered) -> list[Mol]:
    from molflow.chem.molecule import build_mol
    from molflow.metrics.reading import rows
    from molflow.viewer.structure import structures

    molecules, at = gathered.molecules, gathered.molecules.offsets
    fit = [shape is not None for shape in structures(molecules)]
    made = [build_mol(*row, molecules.pos[at[k] : at[k + 1]]) for k, row in enumerate(rows(molecules)) if fit[k]]
    return [mol for mol in made if mol is not None]
