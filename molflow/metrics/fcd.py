"""The Frechet ChemNet distance to training molecules, beside its floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from molflow.metrics.keys import keys_of
from molflow.metrics.measurement import How, Measurement, Reference, lacking
from molflow.metrics.molecules import Molecules


class Fcd(Measurement):
    """FCD (Preuer et al. 2018) of as many molecules on each side; the floor is held-out against training molecules.

    It falls with their number (two halves of one set: 1.90 at 250, 0.16 at 4,000), so only figures of one N compare.
    """

    name = "fcd"
    tier = "fcd"
    section = "fcd"
    needs = ("bonds",)
    library, extra = "fcd_torch", "fcd"
    wants_reference = True
    summary = "Frechet ChemNet distance to training molecules; floor: held-out molecules against the same"
    denominator = "molecules of the subset that sanitise, as many from each side"
    source = "Preuer et al. 2018, doi:10.1021/acs.jcim.8b00234"

    def figures(self, sample: Molecules, reference: Reference | None, how: How) -> dict[str, Any]:
        why = lacking(sample, reference)
        if reference is None or why:
            return {"not_measured": why}
        ours, train, held = (
            [smiles for smiles in molecules.generated.smiles if smiles]
            for molecules in (sample, reference.train, reference.held_out)
        )
        count = min(map(len, (ours, train, held or train)))
        if count < 2:
            return {"not_measured": f"{count} molecules sanitise, and it takes two"}
        return {
            "molecules": count,
            "distance": frechet(_part(ours, count), _part(train, count)),
            "floor": frechet(_part(held, count), _part(train, count)) if held else None,
        }


def _part(smiles: list[str], count: int) -> list[str]:
    """So many of them, the same ones whatever their order."""
    return [smiles[k] for k in np.argsort(keys_of(smiles)[:, 0], kind="stable")[:count]]


def without_hydrogens(smiles: str) -> str:
    """The same molecule with its hydrogens implied: ChemNet has never seen [H], and answers it with a distance of 12.

    >>> without_hydrogens("[H]C([H])([H])O[H]")
    'CO'
    """
    from rdkit import Chem

    return Chem.MolToSmiles(Chem.MolFromSmiles(smiles))


def frechet(smiles: Sequence[str], others: Sequence[str]) -> float:
    """The distance between two lists of valid SMILES."""
    import warnings

    from fcd_torch import FCD

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy's, about names that the package uses
        return float(FCD(device="cpu")([*map(without_hydrogens, smiles)], [*map(without_hydrogens, others)]))
