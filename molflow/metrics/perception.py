"""Bonds for molecules that came without: perceived from coordinates, in processes that can be killed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from molflow.chem.bonds import PerceptionError, perceive
from molflow.metrics.intake import of_mols
from molflow.metrics.molecules import Molecules
from molflow.workers import Failure, map_killable

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_TOGETHER = 20  # molecules that travel to a worker at once


def with_bonds(molecules: Molecules, charges: Sequence[int], workers: int = 1, timeout: float = 30.0) -> Molecules:
    """The same molecules, with RDKit's bonds at these total charges [M] where they had none and RDKit finds some.

    Atoms and coordinates stay as they are. Where no bonds are found, or not in time, ``unbonded`` says so.
    """
    wanted = [k for k, why in enumerate(molecules.bondless) if why and not molecules.faults[k] and molecules.has_pos[k]]
    atoms = [slice(molecules.offsets[k], molecules.offsets[k + 1]) for k in wanted]
    items = [(molecules.numbers[a].tolist(), molecules.pos[a], int(charges[k])) for k, a in zip(wanted, atoms)]
    found: dict[int, Mol] = {}
    unbonded = dict(molecules.unbonded)
    for k, (_, result) in zip(wanted, map_killable(_perceived, items, max(1, workers), timeout, chunk=_TOGETHER)):
        if isinstance(result, Failure):
            unbonded[k] = result.kind
        elif isinstance(result, str):
            unbonded[k] = result
        else:
            found[k] = result
    order = np.arange(len(molecules))
    order[list(found)] = len(molecules) + np.arange(len(found))
    out = Molecules.cat([molecules, of_mols(list(found.values()), has_bonds=[True] * len(found))])[order]
    out.pos[:] = molecules.pos  # RDKit's molecules lose half of their digits on the way between processes
    out.unbonded.clear()
    out.unbonded.update(unbonded)
    return out


def _perceived(item: tuple[list[int], np.ndarray, int]) -> Mol | str:
    numbers, pos, charge = item
    try:
        return perceive(numbers, pos, charge)
    except PerceptionError as error:
        return error.reason
