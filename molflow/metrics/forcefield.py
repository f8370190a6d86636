"""Relaxation by the MMFF94s force field."""

from __future__ import annotations

import numpy as np

from molflow.metrics.relaxation import Molecule, Relaxation

_STEPS = 5000


class ForceField(Relaxation):
    """MMFF94s (Halgren 1999) through RDKit, between the pieces of a molecule too; one without parameters is not
    measured."""

    name = "forcefield"
    tier = "forcefield"
    method = "MMFF94s"
    summary = "energy drop, RMSD, bond, angle and torsion change on the way to the nearest minimum of MMFF94s"

    @staticmethod
    def minimise(molecule: Molecule) -> tuple[np.ndarray, float] | str:
        found = minimum(molecule)
        return found if isinstance(found, str) else (found[0], found[1] - found[2])


def minimum(molecule: Molecule) -> tuple[np.ndarray, float, float] | str:
    """The positions of the nearest minimum, the energy before and there in kcal/mol; or why there is none."""
    from rdkit import rdBase
    from rdkit.Chem.rdForceFieldHelpers import MMFFGetMoleculeForceField, MMFFGetMoleculeProperties

    with rdBase.BlockLogs():
        mol = molecule.to_rdkit()
        properties = MMFFGetMoleculeProperties(mol, "MMFF94s")
        if properties is None:
            return "no_parameters"
        field = MMFFGetMoleculeForceField(mol, properties, ignoreInterfragInteractions=False)
        if field is None:
            return "no_parameters"
        before = field.CalcEnergy()
        if field.Minimize(maxIts=_STEPS) != 0:
            return "unconverged"
        return np.array(field.Positions()).reshape(-1, 3), before, field.CalcEnergy()
