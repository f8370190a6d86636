"""What the molecules look like: sizes, elements, bonds, rings, and the scores of drug design."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from typing import Any

from molflow.chem.elements import SYMBOL
from molflow.metrics.mean import Mean
from molflow.metrics.measurement import How, Measurement, Reference
from molflow.metrics.molecules import Molecules
from molflow.metrics.rate import Rate
from molflow.metrics.relaxation import perceived_orders

_BONDS = {1: "single", 2: "double", 3: "triple", 4: "aromatic"}


class Descriptors(Measurement):
    """Means of sizes, rings, QED (Bickerton et al. 2012), Crippen's logP, the synthetic accessibility score (Ertl &
    Schuffenhauer 2009); shares of elements, bond types and ring sizes. Of the molecules that sanitise."""

    name = "descriptors"
    tier = "fast"
    section = "descriptors"
    needs = ("bonds",)
    summary = "sizes, elements, bond types, rings, QED, logP, SA; beside the training molecules if they are given"
    denominator = "molecules of the sample, failed ones too; means are over those that sanitise, counted beside them"
    source = "RDKit"

    def figures(self, sample: Molecules, reference: Reference | None, how: How) -> dict[str, Any]:
        out = described(sample, how.failed)
        if reference is not None and len(reference.train):
            out["training"] = described(reference.train[: max(1, len(sample))])
        return out


def described(molecules: Molecules, failed: int = 0) -> dict[str, Any]:
    """The figures of one set, and of so many that failed before."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import QED, Crippen

    read = molecules.generated
    reasons = Counter(filter(None, read.unusable)) + Counter({"failed": failed})
    elements, bonds, rings = Counter(), Counter(), Counter()
    values: dict[str, list[float]] = {name: [] for name in ("atoms", "heavy_atoms", "rings", "qed", "logp", "sa")}
    accessibility = sa_score()
    with rdBase.BlockLogs():
        for k, mol in enumerate(read.mols):
            if mol is None or read.unusable[k]:
                continue
            heavy = Chem.RemoveHs(mol)
            elements.update(molecules.numbers[molecules.offsets[k] : molecules.offsets[k + 1]].tolist())
            bonds.update(perceived_orders(molecules, k).tolist())
            rings.update(map(len, mol.GetRingInfo().AtomRings()))
            values["atoms"].append(mol.GetNumAtoms())
            values["heavy_atoms"].append(mol.GetNumHeavyAtoms())
            values["rings"].append(mol.GetRingInfo().NumRings())
            values["qed"].append(QED.qed(heavy))
            values["logp"].append(Crippen.MolLogP(heavy))  # type: ignore[attr-defined]
            if accessibility is not None:
                values["sa"].append(accessibility(heavy))
    out: dict[str, Any] = {name: Mean.of_values(v, len(molecules) + failed, reasons) for name, v in values.items()}
    if accessibility is None:
        out["sa"] = {"not_measured": "this RDKit comes without Contrib/SA_Score"}
    out["elements"] = {SYMBOL[z]: Rate(count, elements.total()) for z, count in sorted(elements.items())}
    out["bonds"] = {_BONDS.get(o, "other"): Rate(count, bonds.total()) for o, count in sorted(bonds.items())}
    out["ring_sizes"] = {str(size): Rate(count, rings.total()) for size, count in sorted(rings.items())}
    return out


@cache
def sa_score():
    """The scorer that ships with RDKit beside its packages, or None."""
    from importlib.util import module_from_spec, spec_from_file_location

    from rdkit import RDConfig

    path = os.path.join(RDConfig.RDContribDir, "SA_Score", "sascorer.py")
    if not os.path.exists(path):
        return None
    spec = spec_from_file_location("sascorer", path)
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.calculateScore
