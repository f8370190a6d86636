"""EDM's protocol (Hoogeboom et al. 2022): coordinates and elements alone, bonds from a table of distances."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from molflow.chem.bonds import EDM_VALENCE, edm_pairs
from molflow.chem.molecule import build_mol
from molflow.metrics.gate import LARGEST
from molflow.metrics.graph import fragments, sum_at_atoms
from molflow.metrics.molecules import Molecules
from molflow.metrics.protocol import Protocol, Verdicts, first_of, where
from molflow.metrics.reading import bonds_of, largest_fragments, sanitise


class Edm(Protocol):
    """Order 1 if d < s1 + 10 pm, 2 if d < s2 + 5, 3 if d < s3 + 3; stable atoms have an allowed sum of orders.

    Valid: the molecule of those orders, uncharged and with hydrogens implied where they lack, sanitises.
    """

    name = "edm"
    needs = ("coordinates",)
    summary = "bonds by a table of distances; valid: sanitises, hydrogens added"
    source = "Hoogeboom et al. 2022, arXiv:2203.17003"
    defect = "sulphur is stable with valence 4 alone; RDKit adds missing hydrogens in silence; no charges"
    rule: ClassVar[Literal["qm9", "geom"]] = "qm9"  # of the molecule that is built for validity; stability is the same

    def bonds(self, molecules: Molecules) -> tuple[np.ndarray, np.ndarray]:
        return edm_bonds(molecules)

    def judge(self, molecules: Molecules) -> Verdicts:
        """A verdict on each molecule; without coordinates it is ``no_coordinates``."""
        bonds, owner = self.bonds(molecules)
        gate = first_of(molecules.faults, where(~molecules.has_pos, "no_coordinates"))
        passed = np.array([not reason for reason in gate], bool)
        counted = np.array([reason in ("", "overlap") for reason in gate], bool)
        strange = molecules.per_molecule(~np.isin(molecules.numbers, list(EDM_VALENCE))) > 0
        pieces = fragments(molecules, bonds, owner)
        stable_atoms = np.where(counted, molecules.per_molecule(allowed_atoms(molecules, bonds, owner)), 0)
        stable = passed & (stable_atoms == molecules.sizes)
        if self.rule == "geom":
            bonds = np.minimum(bonds, [LARGEST, LARGEST, 1])
        problems, smiles, identities = self._read(molecules, bonds, owner, pieces, passed & ~strange)
        wrong = first_of(gate, where(strange, "unknown_element"), problems)
        return Verdicts(
            atoms=molecules.sizes,
            stable_atoms=stable_atoms,
            stable=stable,
            valid=np.array([not reason for reason in wrong], bool),
            connected=passed & (pieces == 1),
            reasons=first_of(wrong, where(pieces > 1, "not_connected"), where(~stable, "valence")),
            smiles=smiles,
            identities=identities,
        )

    def _read(
        self, molecules: Molecules, bonds: np.ndarray, owner: np.ndarray, pieces: np.ndarray, which: np.ndarray
    ) -> tuple[list[str], list[str], list[str]]:
        """Why it does not sanitise, its SMILES (largest fragment, hydrogens written, no stereo), and its identity."""
        from rdkit import Chem, rdBase

        problems, smiles, identities = ([""] * len(molecules) for _ in range(3))
        starts, numbers = molecules.offsets.tolist(), molecules.numbers.tolist()
        each = bonds_of(bonds, np.searchsorted(owner, np.arange(len(molecules) + 1)))
        with rdBase.BlockLogs():
            for k, (judged, own) in enumerate(zip(which.tolist(), each)):
                if not judged:
                    continue
                atoms = numbers[starts[k] : starts[k + 1]]
                mol = build_mol(atoms, [0] * len(atoms), own, implied_h=True)
                problems[k] = sanitise(mol)
                if mol is None or problems[k]:
                    continue
                parts = [mol] if pieces[k] == 1 else largest_fragments(mol)
                texts = [Chem.MolToSmiles(part, isomericSmiles=False) for part in parts]
                smiles[k], identities[k] = texts[0], min(texts)
        return problems, smiles, identities


class EdmGeom(Edm):
    """EDM's rule for GEOM: every bond of the molecule built for validity is single, so that nearly all are valid."""

    name = "edm_geom"
    summary = "as edm, but valid with single bonds alone: nearly always true"
    defect = "single bonds never exceed a valence: its validity says next to nothing"
    rule = "geom"


def edm_bonds(molecules: Molecules) -> tuple[np.ndarray, np.ndarray]:
    """Bonds [E, 3] (i, j, order) by the table, i < j, and the molecule of each [E], in order."""
    bonds, owners = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    for rows, atoms in molecules.by_size():
        if atoms.shape[1] > LARGEST:
            continue
        keep = molecules.has_pos[rows]
        rows, atoms = rows[keep], atoms[keep]
        molecule, i, j, order = edm_pairs(molecules.pos[atoms], molecules.numbers[atoms])
        bonds.append(np.stack([i, j, order], 1))
        owners.append(rows[molecule])
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(bonds)[order], owner[order]


def allowed_atoms(molecules: Molecules, bonds: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Whether EDM's table allows the valence of each atom, [A]."""
    table = np.zeros((120, 16), bool)
    for number, allowed in EDM_VALENCE.items():
        table[number, list(allowed)] = True
    valence = sum_at_atoms(molecules, bonds, owner, bonds[:, 2])
    return table[np.clip(molecules.numbers, 0, 119), np.minimum(valence, 15).astype(np.int64)]
