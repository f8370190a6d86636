"""A grid of molecules in three dimensions, as balls and sticks: PNG or SVG by suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from molflow.atomic import replacing
from molflow.build import UserError

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from molflow.batch import Batch

COLOUR = {  # the usual colours of model kits; other elements are pink
    1: (0.90, 0.90, 0.90),
    5: (0.95, 0.65, 0.60),
    6: (0.35, 0.37, 0.40),
    7: (0.22, 0.38, 0.85),
    8: (0.85, 0.16, 0.16),
    9: (0.35, 0.75, 0.35),
    15: (0.95, 0.55, 0.15),
    16: (0.90, 0.78, 0.15),
    17: (0.20, 0.65, 0.25),
    35: (0.60, 0.22, 0.15),
    53: (0.50, 0.20, 0.60),
}
KINDS = {".png": "MolDraw2DCairo", ".svg": "MolDraw2DSVG"}
OTHER = (0.80, 0.45, 0.70)
STICK = (0.55, 0.57, 0.60)


def grid(mols: Sequence[Mol], path: str | Path, columns: int = 5, cell: int = 240) -> None:
    """Draw molecules with their 3D coordinates, each turned so that its two longest axes lie in the page.

    >>> from rdkit import Chem
    >>> water = Chem.MolFromXYZBlock("3\\n\\nO 0 0 0\\nH 0.76 0.59 0\\nH -0.76 0.59 0")
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     grid([water], f"{folder}/water.svg")
    """
    path = Path(path)
    if path.suffix not in KINDS:
        raise UserError(f"{path}: a picture is written as {' or '.join(KINDS)}")
    made = picture(mols, path.suffix, columns, cell)
    with replacing(path) as temporary:
        temporary.write_bytes(made)


def picture(mols: Sequence[Mol], kind: str = ".png", columns: int = 5, cell: int = 240) -> bytes:
    """The same as the bytes of a file of that kind."""
    from rdkit.Chem.Draw import rdMolDraw2D

    columns = max(1, min(columns, len(mols)))
    rows = max(1, -(-len(mols) // columns))
    canvas = getattr(rdMolDraw2D, KINDS[kind])(columns * cell, rows * cell)
    canvas.ClearDrawing()
    views = [flatten(mol.GetConformer().GetPositions()) for mol in mols]
    reach = max((np.abs(view[:, :2]).max() for view in views), default=1.0) + 0.6  # one scale for all, angstrom
    for k, (mol, view) in enumerate(zip(mols, views)):
        centre = np.array([k % columns + 0.5, k // columns + 0.5]) * cell
        _ball_and_stick(canvas, mol, view, centre, scale=cell / 2 / reach)
    canvas.FinishDrawing()
    made = canvas.GetDrawingText()
    return made if isinstance(made, bytes) else made.encode()


def preview(batch: Batch, most: int = 10) -> str:
    """The first molecules of a batch as HTML for a notebook; its text alone where they cannot be drawn."""
    import base64
    import html

    words = f"<code>{html.escape(repr(batch))}</code>"
    try:
        mols = drawable(batch[:most])
        made = base64.b64encode(picture(mols, cell=150)).decode() if mols else ""
    except (ImportError, UserError):  # no RDKit; points, or classes in place of elements
        return words
    return f'{words}<br><img alt="molecules" src="data:image/png;base64,{made}">' if made else words


def drawable(batch: Batch) -> list[Mol]:
    """Raw molecules, valid or not, with atoms and finite coordinates."""
    import torch

    from molflow.chem.rdkit import to_rdkit

    if batch.bond is None:
        batch = batch.replace(bond=torch.zeros(*batch.mask.shape, batch.mask.shape[1], dtype=torch.long))
    mols = [mol for mol in to_rdkit(batch, sanitize=False) if mol is not None and mol.GetNumAtoms()]
    return [mol for mol in mols if np.isfinite(mol.GetConformer().GetPositions()).all()]


def flatten(pos: np.ndarray) -> np.ndarray:
    """Coordinates [N, 3] about the middle of their extent, the axes in order of length: what lies flat is seen flat."""
    pos = pos - pos.mean(0)
    axes = np.linalg.svd(pos, full_matrices=False)[2] if len(pos) > 2 else np.eye(3)
    if np.linalg.det(axes) < 0:
        axes[2] *= -1  # a rotation: the picture of a molecule must not be its mirror image
    tilt = np.deg2rad(20)  # a little from the side, so that depth shows
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    view = pos @ axes.T @ turn.T
    return view - (view.max(0) + view.min(0)) / 2


def _ball_and_stick(canvas, mol: Mol, view: np.ndarray, centre: np.ndarray, scale: float) -> None:
    from rdkit.Geometry import Point2D

    page = view[:, :2] * (scale, -scale) + centre  # y points down on the page
    depth = view[:, 2]
    canvas.SetFillPolys(True)

    def disc(at: np.ndarray, radius: float, colour: tuple[float, float, float]) -> None:
        canvas.SetColour(colour)
        canvas.DrawEllipse(Point2D(*(at - radius)), Point2D(*(at + radius)), True)

    def ball(atom) -> None:
        i, number = atom.GetIdx(), atom.GetAtomicNum()
        radius = scale * (0.22 if number == 1 else 0.36) * (1 + 0.04 * depth[i])
        colour = np.array(COLOUR.get(number, OTHER))
        canvas.SetLineWidth(1)
        for k in np.linspace(0, 1, 6):  # lighter and smaller towards a light at the upper left
            shade = colour * (0.7 + 0.3 * k) + (1 - colour) * 0.6 * k**3
            disc(page[i] - 0.3 * k * radius, radius * (1 - 0.85 * k), tuple(shade))

    def stick(bond) -> None:
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        along = page[j] - page[i]
        aside = np.array([-along[1], along[0]]) / (np.linalg.norm(along) + 1e-6) * 0.11 * scale
        order = {"DOUBLE": 2, "TRIPLE": 3, "AROMATIC": 2}.get(str(bond.GetBondType()), 1)
        canvas.SetColour(STICK)
        canvas.SetLineWidth(max(1, round(scale * (0.13 if order == 1 else 0.08))))
        for k in range(order):
            shift = aside * (2 * k - order + 1)
            canvas.DrawLine(Point2D(*(page[i] + shift)), Point2D(*(page[j] + shift)), True)

    things = [(depth[atom.GetIdx()], ball, atom) for atom in mol.GetAtoms()]
    things += [(min(depth[b.GetBeginAtomIdx()], depth[b.GetEndAtomIdx()]) - 1e-3, stick, b) for b in mol.GetBonds()]
    for _, draw, thing in sorted(things, key=lambda entry: entry[0]):  # the far ones first
        draw(thing)
