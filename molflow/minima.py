"""Molecules carried to the nearest minimum of an energy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from molflow.batch import Batch
from molflow.build import UserError, unknown
from molflow.chem.molecule import given
from molflow.evaluate import measurement_of
from molflow.metrics.intake import of_batch, of_mols
from molflow.metrics.measurement import How
from molflow.metrics.relaxation import Relaxation, Relaxed, relaxed, sanitisable

if TYPE_CHECKING:
    from rdkit.Chem import Mol

METHODS = {"MMFF94s": "forcefield", "GFN2": "xtb"}  # -> the measurement that knows how


@dataclass(frozen=True)
class Minima:
    """The molecules at their minima, and what the way there says of them; molecule k keeps its place."""

    molecules: Batch | list[Mol | None]
    drop: np.ndarray  # [M] energy before minus energy after, kcal/mol; NaN where there is no minimum
    rmsd: np.ndarray  # [M] angstrom, after the best of all alignments and of the molecule's symmetries
    failed: dict[int, str]  # {molecule: why it was not relaxed}


def relax(
    molecules: Batch | Iterable[Mol | None],
    method: str = "MMFF94s",
    *,
    workers: int = 0,
    timeout: float = 30.0,
    progress: bool = False,
) -> Minima:
    """The nearest minima by a force field (``MMFF94s``) or by semi-empirical quantum chemistry (``GFN2``).

    What cannot be relaxed (no parameters, not converged, hydrogens implied, no molecule) is named in ``failed``; of a
    batch it keeps its coordinates, in a list it is None. Nothing given is changed.

    >>> from rdkit import Chem
    >>> from rdkit.Chem.rdDistGeom import EmbedMolecule
    >>> water = Chem.AddHs(Chem.MolFromSmiles("O"))
    >>> _ = EmbedMolecule(water, randomSeed=1)
    >>> found = relax([water, None])
    >>> bool(found.drop[0] > 0), found.molecules[1], found.failed
    (True, None, {1: 'failed'})
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    measurement = measurement_of(METHODS[method])
    assert isinstance(measurement, Relaxation)
    molecules = molecules if isinstance(molecules, Batch) else given(molecules)
    flat = of_batch(molecules) if isinstance(molecules, Batch) else of_mols(molecules)
    if len(flat) and not flat.has_bonds.any():
        raise UserError("relax needs bonds, which tell like atoms apart, and these molecules have none")
    items, failed = sanitisable(flat)
    results = How(workers, timeout, progress).each(partial(relaxed, measurement.minimise), list(items.values()), method)
    found = dict(zip(items, results))
    done = {k: result for k, result in found.items() if isinstance(result, Relaxed)}
    failed |= {k: result for k, result in found.items() if isinstance(result, str)}
    drop, rmsd = np.full((2, len(flat)), np.nan)
    for k, result in done.items():
        drop[k], rmsd[k] = result.drop, result.rmsd
    moved = _moved_batch if isinstance(molecules, Batch) else _moved_mols
    return Minima(moved(molecules, done), drop, rmsd, dict(sorted(failed.items())))  # type: ignore[arg-type]


def _moved_batch(batch: Batch, done: dict[int, Relaxed]) -> Batch:
    pos = batch.pos.clone()
    for k, result in done.items():
        pos[k, batch.mask[k]] = torch.as_tensor(result.pos, dtype=pos.dtype, device=pos.device)[:, : pos.shape[-1]]
    return batch.replace(pos=pos)


def _moved_mols(mols: Sequence[Mol | None], done: dict[int, Relaxed]) -> list[Mol | None]:
    from rdkit import Chem

    out: list[Mol | None] = []
    for k, mol in enumerate(mols):
        if mol is None or k not in done:
            out.append(None)
            continue
        copy = Chem.Mol(mol, confId=-1)
        copy.GetConformer().SetPositions(done[k].pos.astype(np.float64))
        copy.SetDoubleProp("energy_drop", done[k].drop)
        out.append(copy)
    return out
