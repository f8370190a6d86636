"""Root mean square distance after the best alignment, atoms that look alike being interchangeable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_MATCHES = 10_000  # relabellings tried at most, besides none


def symmetric_rmsd(mol: Mol, pos: np.ndarray, other: np.ndarray) -> float:
    """min over rotations, translations and automorphisms p of sqrt(mean |x_i - y_p(i)|^2), for coordinates [N, 3].

    >>> from rdkit import Chem
    >>> water = Chem.AddHs(Chem.MolFromSmiles("O"))
    >>> pos = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> round(symmetric_rmsd(water, pos, pos[[0, 2, 1]]), 6)  # the hydrogens exchanged
    0.0
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem.rdMolAlign import AlignMol, GetBestRMS

    first, second = _with(mol, pos), _with(mol, other)
    same = [(k, k) for k in range(mol.GetNumAtoms())]
    with rdBase.BlockLogs():  # it warns where there are more relabellings than it may try
        as_given = AlignMol(Chem.Mol(first), second, atomMap=same)
        return min(as_given, GetBestRMS(first, second, maxMatches=_MATCHES))


def _with(mol: Mol, pos: np.ndarray) -> Mol:
    from rdkit import Chem

    out = Chem.Mol(mol)
    out.RemoveAllConformers()
    conformer = Chem.Conformer(out.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(pos, dtype=np.float64))
    out.AddConformer(conformer)
    return out
