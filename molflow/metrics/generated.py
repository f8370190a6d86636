"""The molecules as RDKit reads them from the bonds and charges given, no hydrogen added."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from molflow.chem.molecule import build_mol
from molflow.metrics.graph import fragments
from molflow.metrics.reading import largest_fragments, radical_atoms, rows, sanitise

if TYPE_CHECKING:
    from rdkit.Chem import RWMol

    from molflow.metrics.molecules import Molecules


class Generated:
    """One reading of each molecule that passed the gate; ``mols[k]`` is None where it did not sanitise.

    SMILES are of the largest fragment (hydrogens counted; the first of several as large), without hydrogens and stereo.
    """

    def __init__(self, molecules: Molecules):
        from rdkit import Chem, rdBase

        count = len(molecules)
        self._faults = molecules.faults
        self.mols: list[RWMol | None] = [None] * count
        self.problems = [""] * count  # why it did not sanitise
        self.smiles = [""] * count
        self.identities = [""] * count  # as the SMILES, but the same whichever of several largest fragments comes first
        self.pieces = fragments(molecules, molecules.bonds, molecules.bond_owner)  # [M]
        self.radicals = np.zeros(count, bool)  # an atom has unpaired electrons, [M]
        self.rewritten = np.zeros(count, bool)  # sanitising changed a bond order, [M]
        self.sound = np.zeros(count, np.int64)  # atoms without radical, chemistry problem or rewritten bond, [M]
        bare = Chem.RemoveHsParameters()
        with rdBase.BlockLogs():
            for k, (numbers, charges, bonds) in enumerate(rows(molecules)):
                if molecules.faults[k] not in ("", "overlap"):
                    continue
                if molecules.bondless[k]:
                    self.problems[k] = molecules.bondless[k]
                    continue
                mol = build_mol(numbers, charges, bonds)
                before = Chem.GetAdjacencyMatrix(mol, useBO=True) if mol is not None else None
                self.problems[k] = sanitise(mol)
                if mol is None or self.problems[k]:
                    self.sound[k] = len(numbers) - len(_unsound(numbers, charges, bonds))
                    continue
                after = Chem.GetAdjacencyMatrix(mol, useBO=True, force=True)
                changed = (after != before) & (after != 1.5)  # to aromatic: the same bond in other words
                self.mols[k], self.rewritten[k] = mol, changed.any()
                unsound = set(radical_atoms(mol))
                self.radicals[k] = bool(unsound)
                if self.rewritten[k]:
                    unsound.update(np.flatnonzero(changed.any(1)).tolist())
                self.sound[k] = len(numbers) - len(unsound)
                parts = [mol] if self.pieces[k] == 1 else largest_fragments(mol)
                texts = [
                    Chem.MolToSmiles(Chem.RemoveHs(part, bare, sanitize=False), isomericSmiles=False) for part in parts
                ]
                self.smiles[k], self.identities[k] = texts[0], min(texts)

    @property
    def usable(self) -> np.ndarray:
        """Molecules that passed the gate and sanitise, [M] bool."""
        return np.array([not why for why in self.unusable], bool)

    @cached_property
    def unusable(self) -> list[str]:
        """Why a molecule did not pass the gate, or does not sanitise; or an empty text, [M]."""
        return [fault or problem for fault, problem in zip(self._faults, self.problems)]


def _unsound(numbers: list[int], charges: list[int], bonds: list[tuple[int, ...]]) -> set[int]:
    """Atoms that stop a molecule from sanitising, or that are radicals."""
    from rdkit import Chem

    mol = build_mol(numbers, charges, bonds)
    if mol is None:
        return set(range(len(numbers)))
    bad: set[int] = set()
    for problem in Chem.DetectChemistryProblems(mol):
        if problem.GetType() == "AtomValenceException":
            bad.add(problem.GetAtomIdx())
        else:  # which atoms of a ring system RDKit names depends on their order: take all that are aromatic
            bad |= {atom for i, j, order in bonds if order == 4 for atom in (i, j)}
    if not bad:  # sanitising names nobody, as where an aromatic bond lies in no ring
        bad = {atom for i, j, order in bonds if order == 4 for atom in (i, j)} or set(range(len(numbers)))
    mol.UpdatePropertyCache(strict=False)
    Chem.AssignRadicals(mol)
    return bad | set(radical_atoms(mol))
