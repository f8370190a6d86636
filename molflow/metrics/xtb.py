"""Relaxation by the semi-empirical GFN2-xTB, through tblite."""

from __future__ import annotations

import numpy as np

from molflow.metrics.relaxation import Molecule, Relaxation

_BOHR = 0.529177210903  # angstrom
_KCAL = 627.5094740631  # per hartree
_GRADIENT = 1e-3  # hartree/bohr, the largest component at a minimum
_STEPS = 500


class Xtb(Relaxation):
    """GFN2-xTB (Bannwarth, Ehlert & Grimme 2019), at the sum of the formal charges; molecules with an odd electron are
    not measured."""

    name = "xtb"
    tier = "xtb"
    method = "GFN2-xTB"
    library, extra = "tblite", "xtb"
    summary = "energy drop, RMSD, bond, angle and torsion change on the way to the nearest minimum of GFN2-xTB"

    @staticmethod
    def minimise(molecule: Molecule) -> tuple[np.ndarray, float] | str:
        from scipy.optimize import minimize
        from tblite.interface import Calculator

        charge = sum(molecule.charges)
        if (sum(molecule.numbers) - charge) % 2:
            return "odd_electrons"
        start = molecule.pos / _BOHR
        calculator = Calculator("GFN2-xTB", np.array(molecule.numbers), start, charge=float(charge))
        calculator.set("verbosity", 0)

        def energy(flat: np.ndarray) -> tuple[float, np.ndarray]:
            calculator.update(positions=flat.reshape(-1, 3))
            result = calculator.singlepoint()
            return result.get("energy"), result.get("gradient").ravel()

        try:
            before, _ = energy(start.ravel())
            options = {"maxiter": _STEPS, "gtol": _GRADIENT, "ftol": 0.0}
            found = minimize(energy, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        except RuntimeError:  # tblite's own: no element parameters, or no self-consistent charges
            return "no_energy"
        if np.abs(found.jac).max() > _GRADIENT:
            return "unconverged"
        return found.x.reshape(-1, 3) * _BOHR, (before - found.fun) * _KCAL
