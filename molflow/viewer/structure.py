"""A molecule for a page: the dictionary that chemiscope draws in three dimensions, and a flat drawing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from molflow.chem.elements import SYMBOL
from molflow.chem.molecule import build_mol
from molflow.metrics.reading import rows

if TYPE_CHECKING:
    from rdkit.Chem import Mol, RWMol

    from molflow.metrics.molecules import Molecules


def structures(molecules: Molecules) -> list[dict[str, Any] | None]:
    """Each as chemiscope takes it; None for one that cannot be drawn: no atoms, or no finite coordinates."""
    at = molecules.offsets.tolist()
    out: list[dict[str, Any] | None] = []
    for k, (numbers, _, bonds) in enumerate(rows(molecules)):
        pos = molecules.pos[at[k] : at[k + 1]]
        drawable = numbers and molecules.has_pos[k] and np.isfinite(pos).all() and all(0 <= z <= 118 for z in numbers)
        out.append(structure(numbers, pos, bonds if molecules.has_bonds[k] else None) if drawable else None)
    return out


def structure(numbers, pos: np.ndarray, bonds=None) -> dict[str, Any]:
    """Without ``bonds`` chemiscope joins what is near."""
    pos = np.round(pos - pos.mean(0), 3)
    out: dict[str, Any] = {"size": len(pos), "names": [SYMBOL[z] if z else "X" for z in numbers]}
    out |= {axis: pos[:, k].tolist() for k, axis in enumerate("xyz")}
    if bonds is not None:
        out["bonds"] = [[int(i), int(j), int(order) if 1 <= order <= 3 else 1] for i, j, order in bonds]
    return out


def raw_mols(molecules: Molecules) -> list[RWMol | None]:
    """From numbers, charges and bonds alone, so that no text of the source, not even an atom's label, comes along."""
    return [build_mol(*row) for row in rows(molecules)]


def smiles_of(mol: Mol | None) -> str:
    """A SMILES of the molecule as it is, valid or not; an empty text where RDKit has none."""
    from rdkit import Chem, rdBase

    if mol is None:
        return ""
    with rdBase.BlockLogs():
        try:
            return Chem.MolToSmiles(_bare(mol))
        except (ValueError, RuntimeError):
            return ""


def _bare(mol: Mol) -> Mol:
    """Without hydrogens, but for those that something else than a single bond holds; nothing is sanitised."""
    from rdkit import Chem

    marked, marks = Chem.Mol(mol), Chem.RemoveHsParameters()
    marks.removeMapped = False
    for bond in marked.GetBonds():
        for atom in (bond.GetBeginAtom(), bond.GetEndAtom()):
            if atom.GetAtomicNum() == 1 and bond.GetBondType() != Chem.BondType.SINGLE:
                atom.SetAtomMapNum(1)
    bare = Chem.RemoveHs(marked, marks, sanitize=False)
    for atom in bare.GetAtoms():
        if atom.GetAtomicNum() == 1:
            atom.SetAtomMapNum(0)
    return bare


def drawing(mol: Mol | None, width: int = 150, height: int = 110) -> str:
    """The formula as SVG markup in the page's colour: valid or not, hydrogens left out where they say nothing."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDepictor
    from rdkit.Chem.Draw import rdMolDraw2D

    if mol is None or not mol.GetNumAtoms():
        return ""
    with rdBase.BlockLogs():
        try:
            flat = _bare(mol)
            flat.UpdatePropertyCache(strict=False)
            Chem.FastFindRings(flat)
            rdDepictor.Compute2DCoords(flat)
            canvas = rdMolDraw2D.MolDraw2DSVG(width, height)
            options = canvas.drawOptions()
            options.useBWAtomPalette()
            options.clearBackground = False
            options.prepareMolsBeforeDrawing = False
            options.bondLineWidth = 1
            canvas.DrawMolecule(flat)
            canvas.FinishDrawing()
            svg = canvas.GetDrawingText()
        except (ValueError, RuntimeError):
            return ""
    shapes = re.findall(r"<(?:path|ellipse|polygon|text)\b[^>]*?(?:/>|>[^<]*</text>)", svg)
    drawn = "".join(re.sub(r"\s*(class|style)='([^']*)'", _as_attributes, shape) for shape in shapes)
    drawn = drawn.replace("#000000", "currentColor")
    return f'<svg class="formula" viewBox="0 0 {width} {height}" role="img" aria-label="formula">{drawn}</svg>'


def _as_attributes(match: re.Match[str]) -> str:
    """A style as attributes, which a strict policy allows."""
    if match[1] == "class":
        return ""
    pairs = [pair.split(":", 1) for pair in match[2].split(";") if ":" in pair]
    return "".join(f' {name.strip()}="{value.strip()}"' for name, value in pairs)
