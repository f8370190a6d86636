"""Conformers of given molecules: how many of the reference's are found, and how many of ours are right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from molflow.build import UserError
from molflow.chem.molecule import build_mol
from molflow.metrics.inventory import Inventory
from molflow.metrics.mean import Mean
from molflow.metrics.measurement import How, Measurement, Reference
from molflow.metrics.molecules import Molecules
from molflow.metrics.rate import Rate
from molflow.metrics.reading import rows

if TYPE_CHECKING:
    from rdkit.Chem import Mol

THRESHOLDS = (0.5, 0.75)  # angstrom: usual for QM9, and for drug-like molecules
_MATCHES = 10_000  # relabellings of a molecule's atoms tried at most


class Conformers(Measurement):
    """COV-R = mean_i [min_j R_ij < t], MAT-R = mean_i min_j R_ij, for reference conformers i and generated ones j.

    R is the symmetric RMSD of heavy atoms. COV-P and MAT-P exchange the axes; the figures are means over molecules.
    A molecule without a generated conformer counts with 0 in COV-R and COV-P; one of ours that failed, or that has no
    coordinates, covers nothing.
    """

    name = "conformers"
    tier = "conformers"
    section = "conformers"
    summary = "COV-R, COV-P, MAT-R, MAT-P against reference conformers, by symmetric RMSD of heavy atoms"
    denominator = "COV: molecules of the reference, failed ones included; MAT: those with a figure, counted beside it"
    source = "Ganea et al. 2021 (GeoMol), arXiv:2106.07802"

    def __init__(self, thresholds: Sequence[float] = THRESHOLDS):
        if not thresholds or not all(0 < length < float("inf") for length in thresholds):
            raise UserError(f"thresholds {', '.join(map(str, thresholds))}: expected lengths in angstrom, above 0")
        self.thresholds = tuple(thresholds)

    def figures(self, sample: Molecules, reference: Reference | None, how: How) -> dict[str, Any]:
        if reference is None or not len(reference.train):
            return {"not_measured": "no reference conformers were given"}
        if not reference.train.has_pos.any():
            return {"not_measured": "no reference conformer has coordinates"}
        if Inventory.of(reference.train).lack():  # asked for nothing more, it speaks of hydrogens alone
            return {"not_measured": "the reference conformers have no explicit hydrogens: molecules are told by them"}
        theirs, ours = by_graph(reference.train), by_graph(sample)
        targets = [(name, mol) for name, mols in theirs.items() for mol in mols if mol is not None]
        items = [(mol, ours.get(name, [])) for name, mol in targets]
        found: dict[str, list[list[float]]] = defaultdict(list)
        lost = 0
        for (name, _), row in zip(targets, how.each(_distances, items, self.name)):
            lost += isinstance(row, str)
            found[name].append([np.inf] * len(ours.get(name, [])) if isinstance(row, str) else row)
        matrices = [np.array(matrix).reshape(len(matrix), -1) for matrix in found.values()]  # each [ref, gen]
        matched = sum(matrix.shape[1] for matrix in matrices)
        out: dict[str, Any] = {
            "molecules": len(matrices),
            "without_conformers": sum(matrix.shape[1] == 0 for matrix in matrices),
            "reference_conformers": len(targets),
            "generated": len(sample),
            "generated_per_reference": len(sample) / len(targets) if targets else None,  # 2 is usual
            "unmatched": len(sample) - matched,  # unreadable, or of no molecule of the reference
            "not_compared": lost,
            "mat_r": _mean([mat(matrix) for matrix in matrices]),
            "mat_p": _mean([mat(matrix.T) for matrix in matrices]),
        }
        for t in self.thresholds:
            hits = sum(int((matrix.min(0, initial=np.inf) < t).sum()) for matrix in matrices)
            out[f"cov@{t:g}"] = {
                "cov_r": _mean([cov(matrix, t) for matrix in matrices]),
                "cov_p": _mean([cov(matrix.T, t) for matrix in matrices]),
                "precise": Rate(hits, len(sample)),
            }
        return out


def cov(rmsd: np.ndarray, threshold: float) -> float:
    """Share of rows with an entry below the threshold; 0 where there are no columns.

    >>> cov(np.array([[0.1, 0.9], [0.8, 0.7]]), 0.5)
    0.5
    """
    return float((rmsd.min(1, initial=np.inf) < threshold).mean()) if len(rmsd) else 0.0


def mat(rmsd: np.ndarray) -> float | None:
    """Mean over rows of the smallest entry, over the rows that have a finite one.

    >>> round(mat(np.array([[0.1, 0.9], [0.8, 0.7]])), 3)
    0.4
    """
    best = rmsd.min(1, initial=np.inf)
    return fmean(best[np.isfinite(best)].tolist()) if np.isfinite(best).any() else None


def _mean(values: Sequence[float | None]) -> Mean:
    known = [value for value in values if value is not None]
    missing = len(values) - len(known)
    return Mean.of_values(known, len(values), {"no_conformer": missing} if missing else {})


def by_graph(molecules: Molecules) -> dict[str, list[Mol | None]]:
    """Heavy atoms of each conformer by its molecule's SMILES; None where the graph is whole and the geometry is not."""
    from rdkit import Chem, rdBase

    out: dict[str, list[Mol | None]] = defaultdict(list)
    read, at = molecules.generated, molecules.offsets
    with rdBase.BlockLogs():
        for k, row in enumerate(rows(molecules)):
            pos, fault = molecules.pos[at[k] : at[k + 1]], molecules.faults[k]
            if read.mols[k] is None and fault != "non_finite":
                continue
            mol = build_mol(*row, np.nan_to_num(pos))
            if mol is None or Chem.SanitizeMol(mol, catchErrors=True):
                continue
            heavy = Chem.RemoveHs(mol)
            name = Chem.MolToSmiles(heavy, isomericSmiles=False)
            out[name].append(None if fault or not molecules.has_pos[k] else heavy)
    return dict(out)


def _distances(item: tuple[Mol, list[Mol | None]]) -> list[float]:
    """From one reference conformer to each of ours."""
    from rdkit import Chem
    from rdkit.Chem.rdMolAlign import GetBestRMS

    target, ours = item
    best = partial(GetBestRMS, maxMatches=_MATCHES)
    return [np.inf if mol is None else float(best(Chem.Mol(mol), target)) for mol in ours]
