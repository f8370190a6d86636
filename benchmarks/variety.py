"""What a sample of molecules is made of: quality is not to be bought with diversity."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rdkit import Chem
from rdkit.Chem.Scaffolds.MurckoScaffold import GetScaffoldForMol

import molflow
from molflow.batch import Batch
from molflow.data.store import Store
from molflow.metrics.internal import KINDS


def variety(mols: Iterable) -> dict[str, float]:
    """Of those that RDKit reads: rings a molecule, % with an aromatic one, % of the heavy atoms that are C, N, O.

    And the mean and spread of the number of heavy atoms, which a set such as QM9 holds narrow.
    """
    read = readable(mols)
    rings = sum(mol.GetRingInfo().NumRings() for mol in read)
    aromatic = sum(any(atom.GetIsAromatic() for atom in mol.GetAtoms()) for mol in read)
    count = max(1, len(read))
    heavy = Counter(atom.GetSymbol() for mol in read for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1)
    shares = {symbol: round(100 * heavy[symbol] / max(1, heavy.total()), 1) for symbol in "CNO"}
    sizes = [mol.GetNumHeavyAtoms() for mol in read] or [0]
    spread = {"heavy": round(statistics.fmean(sizes), 2), "heavy sd": round(statistics.pstdev(sizes), 2)}
    return {"rings": round(rings / count, 2), "aromatic": round(100 * aromatic / count, 1), **shares, **spread}


def scored(batch: Batch, data: str) -> dict[str, float]:
    """How good, how near to the data, and of what."""
    scores = molflow.score(batch, reference=data, protocols=["edm", "strict"], rows=False)
    rates = {
        "edm molecule": scores["edm"].molecule_stable,
        "strict valid": scores["strict"].valid,
        "edm valid unique": scores["edm"].valid_unique,
    }
    row = {name: round(100 * (rate.value or 0), 1) for name, rate in rates.items()}
    found = scores.sections["distributions"]
    row |= {f"{kind} / floor": round(found[kind]["distance"] / found[kind]["floor"], 2) for kind in KINDS}
    return row | made_of(batch)


def made_of(batch: Batch) -> dict[str, float]:
    """Its variety, and triple bonds a molecule."""
    return variety(batch.to_rdkit()) | {"triple": round(float((batch.bond == 3).sum()) / 2 / len(batch), 3)}


def held_out(data: str) -> Batch:
    """The molecules of the test part."""
    store = Store(data)
    return store.batch(store.indices("test"))


def readable(mols: Iterable) -> list:
    return [mol for mol in mols if mol is not None and not Chem.SanitizeMol(mol, catchErrors=True)]


def scaffolds(mols: Iterable) -> list[str]:
    """The ring system of each that has one."""
    found = (Chem.MolToSmiles(GetScaffoldForMol(Chem.RemoveHs(mol))) for mol in readable(mols))
    return [scaffold for scaffold in found if scaffold]


def covered(mols: Iterable, held_out: list[str]) -> float:
    """% of the held-out molecules with rings whose ring system is in the sample."""
    ours = set(scaffolds(mols))
    return round(100 * sum(scaffold in ours for scaffold in held_out) / max(1, len(held_out)), 1)


def some(data: str | Path, split: str, n: int) -> list:
    """n molecules of a split, spread over it."""
    store = Store(data)
    return store.batch(store.indices(split, n)).to_rdkit()
