"""The strict protocol: the molecule as it was generated, with nothing added and nothing mended."""

from __future__ import annotations

import numpy as np

from molflow.metrics.explicit import Explicit
from molflow.metrics.molecules import Molecules
from molflow.metrics.protocol import first_of, where


class Strict(Explicit):
    """Valid: sanitises with the bonds and charges given, which no step of it changes; no hydrogen implied, no radical,
    one fragment, and more than a lone atom.

    An atom is stable if it is no radical, RDKit finds no problem with it, and its bonds stay as they were given.
    """

    name = "strict"
    summary = "valid: sanitises as given, nothing added, no radical, one piece"
    source = "molflow"
    defect = "RDKit's valences are the judge: a real but unusual valence that it does not list is invalid"

    def stable_atoms(self, molecules: Molecules) -> np.ndarray:
        return molecules.generated.sound

    def wrong(self, molecules: Molecules) -> list[str]:
        read = molecules.generated
        return first_of(
            where(molecules.sizes == 1, "lone_atom"),
            read.problems,
            where(read.rewritten, "bond_orders_changed"),
            where(molecules.hidden_h, "implicit_hydrogen"),
            where(read.radicals, "radical"),
            where(read.pieces > 1, "not_connected"),
        )
