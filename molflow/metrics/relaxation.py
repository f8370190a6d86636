"""How far each molecule is from a minimum of an energy: energy drop, symmetric RMSD, changes of bonds and angles."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from molflow.chem.molecule import build_mol
from molflow.metrics.internal import change, internals
from molflow.metrics.mean import Mean
from molflow.metrics.measurement import How, Measurement, Reference
from molflow.metrics.molecules import AROMATIC, Molecules
from molflow.metrics.protocol import first_of, where
from molflow.metrics.rate import Rate
from molflow.metrics.reading import rows
from molflow.metrics.rmsd import symmetric_rmsd


@dataclass(frozen=True)
class Molecule:
    """What travels to a worker."""

    numbers: list[int]
    charges: list[int]
    bonds: list[tuple[int, ...]]
    pos: np.ndarray  # [N, 3]

    def to_rdkit(self):
        """A sanitised molecule of its own: nothing that a force field does to it reaches the caller."""
        from rdkit import Chem

        mol = build_mol(self.numbers, self.charges, self.bonds, self.pos)
        Chem.SanitizeMol(mol)
        return mol


@dataclass(frozen=True)
class Relaxed:
    """A molecule at its minimum."""

    pos: np.ndarray  # [N, 3]
    drop: float  # energy before minus energy after, kcal/mol
    rmsd: float  # angstrom


def sanitisable(molecules: Molecules) -> tuple[dict[int, Molecule], dict[int, str]]:
    """Those that sanitise, and have coordinates of all their atoms; and why the others cannot be relaxed."""
    at = molecules.offsets
    unusable = first_of(
        molecules.generated.unusable,
        where(~molecules.has_pos, "no_coordinates"),
        where(molecules.hidden_h, "implicit_hydrogen"),
    )
    items = {
        k: Molecule(*row, molecules.pos[at[k] : at[k + 1]]) for k, row in enumerate(rows(molecules)) if not unusable[k]
    }
    return items, {k: why for k, why in enumerate(unusable) if why}


class Relaxation(Measurement):
    """Energy drop E(x) - E(x*) and the way from x to x*, x* the nearest minimum of an energy E.

    Measured are molecules that sanitise, imply no hydrogen, have parameters, and converge; all others are counted by
    reason.
    """

    section = "energy"
    method: ClassVar[str]
    denominator = "molecules of the subset, failed ones too; means are over the measured ones, counted beside them"
    source = "GEOM-Drugs revisited (2025)"

    @staticmethod
    @abstractmethod
    def minimise(molecule: Molecule) -> tuple[np.ndarray, float] | str:
        """Coordinates [N, 3] of the minimum and the energy drop (kcal/mol), or why there are none."""

    def figures(self, sample: Molecules, reference: Reference | None, how: How) -> dict[str, Any]:
        items, failed = sanitisable(sample)
        results = dict(zip(items, how.each(partial(relaxed, self.minimise), list(items.values()), self.name)))
        failed |= {k: result for k, result in results.items() if isinstance(result, str)}
        done = {k: result for k, result in results.items() if isinstance(result, Relaxed)}
        reasons, of = Counter(failed.values()) + Counter({"failed": how.failed}), len(sample) + how.failed
        measured = sample[list(done)]
        after = np.concatenate([np.zeros((0, 3)), *(relaxed.pos for relaxed in done.values())])
        moved = topology_changed(measured, after)
        return {
            "method": self.method,
            "molecules": len(sample),
            "energy_drop": Mean.of_values([r.drop for r in done.values()], of, reasons),
            "rmsd": Mean.of_values([r.rmsd for r in done.values()], of, reasons),
            **_changes(sample, measured, list(done), after),
            "converged": Rate(len(done), of),
            "topology_changed": Rate(int(moved.sum()), len(done)),
        }


def relaxed(minimise, molecule: Molecule) -> Relaxed | str:
    """A molecule at its minimum, or why there is none."""
    found = minimise(molecule)
    if isinstance(found, str):
        return found
    pos, drop = found
    if not (np.isfinite(pos).all() and np.isfinite(drop)):
        return "non_finite"
    return Relaxed(pos, drop, symmetric_rmsd(molecule.to_rdkit(), molecule.pos, pos))


def _changes(sample: Molecules, measured: Molecules, which: list[int], after: np.ndarray) -> dict[str, Any]:
    """For each kind the mean |change| over each type, then over types by count, which is the mean over all."""
    bonds = measured.bonds.copy()
    bonds[:, 2] = np.concatenate([np.zeros(0, np.int64), *(perceived_orders(sample, k) for k in which)])
    bonds[:, :2] += measured.offsets[measured.bond_owner][:, None]
    out = {}
    for kind, internal in internals(measured.numbers, bonds).items():
        delta = change(kind, internal.values(measured.pos), internal.values(after))
        _, type_of = np.unique(internal.types, return_inverse=True)
        count = np.bincount(type_of)
        mean = np.bincount(type_of, weights=delta) / np.maximum(count, 1)
        total = float((mean * count).sum() / count.sum()) if len(delta) else None
        out[f"{kind}_change"] = {"mean": total, "types": len(count), "count": len(delta)}
    return out


def perceived_orders(molecules: Molecules, k: int) -> np.ndarray:
    """The orders of a molecule's bonds as RDKit perceives them, aromatic ones as such, [E]: one name for one bond."""
    own = slice(molecules.bond_offsets[k], molecules.bond_offsets[k + 1])
    mol = molecules.generated.mols[k]
    if mol is None:
        return molecules.bonds[own, 2]
    orders = [mol.GetBondWithIdx(b).GetBondTypeAsDouble() for b in range(mol.GetNumBonds())]
    return np.array([AROMATIC if order == 1.5 else int(order) for order in orders], np.int64)


def topology_changed(molecules: Molecules, pos: np.ndarray) -> np.ndarray:
    """Whether a bond is longer than 1.3 times its covalent radii, or atoms without one are closer than 1.15 times, [M].

    Between the two lies what strained cages do: 1.87 angstrom across bicyclo[1.1.1]pentane is 1.23 times.
    """
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    radius = np.array([table.GetRcovalent(z) for z in range(119)])[molecules.numbers]
    out = np.zeros(len(molecules), bool)
    for k in range(len(molecules)):
        atoms = slice(molecules.offsets[k], molecules.offsets[k + 1])
        x, r = pos[atoms], radius[atoms]
        stretch = np.linalg.norm(x[:, None] - x[None], axis=-1) / (r[:, None] + r[None])  # [n, n]
        np.fill_diagonal(stretch, np.inf)
        i, j, _ = molecules.bonds[molecules.bond_offsets[k] : molecules.bond_offsets[k + 1]].T
        broken = (stretch[i, j] > 1.3).any()
        stretch[i, j] = stretch[j, i] = np.inf
        out[k] = broken or (stretch < 1.15).any()
    return out
