"""One number a molecule and figure: what the axes of the map can show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from molflow.metrics.descriptors import sa_score
from molflow.metrics.forcefield import minimum
from molflow.metrics.keys import KeySet, keys_of
from molflow.metrics.measurement import How
from molflow.metrics.molecules import Molecules
from molflow.metrics.relaxation import Molecule, sanitisable
from molflow.metrics.shard import protocol
from molflow.viewer.gather import Gathered

NEIGHBOURS = 10_000  # training molecules that similarity looks at
_PROPS = 12  # numbers of the file that become figures


@dataclass(frozen=True)
class Figure:
    """A value for each molecule, None where there is none."""

    name: str
    values: list[float | None]
    unit: str = ""
    about: str = ""


def figures(
    gathered: Gathered,
    judge: str,
    keys: KeySet | None = None,
    training: Sequence[str] = (),
    how: How | None = None,
) -> list[Figure]:
    """Sizes, stability, scores of drug design, strain, novelty, similarity, and the numbers that the file carries.

    ``judge`` is the protocol whose stability and novelty are meant, ``keys`` are those of the training molecules;
    ``training`` are SMILES to be similar to; ``how`` strain is measured, or None to leave it out.
    """
    molecules = gathered.molecules
    out = _described(molecules)
    verdicts = protocol(judge).judge(molecules)
    share = [float(s / a) if a else None for s, a in zip(verdicts.stable_atoms, verdicts.atoms)]
    out.append(Figure("stable atoms", share, "", f"share of the molecule's atoms, by the protocol {judge}"))
    if how is not None:
        out += _strained(molecules, how)
    if keys is not None:
        known = set(map(tuple, keys.keys().tolist()))
        mine = map(tuple, keys_of(verdicts.identities).tolist())
        novel = [float(key not in known) if good else None for key, good in zip(mine, verdicts.valid.tolist())]
        out.append(Figure("novel", novel, "", f"1 if it is not among the training molecules, by the protocol {judge}"))
    if training:
        about = f"Tanimoto to the nearest of {len(training):,} training molecules"
        out.append(Figure("similarity", similarity(molecules, training), "", about))
    taken = {figure.name for figure in out}
    for name in list(dict.fromkeys(name for props in gathered.props for name in props))[:_PROPS]:
        values = [props.get(name) for props in gathered.props]
        out.append(Figure(f"{name} (file)" if name in taken else name, values, "", "as the file says"))
    return [figure for figure in out if any(value is not None for value in figure.values)]


def _described(molecules: Molecules) -> list[Figure]:
    from rdkit import Chem, rdBase
    from rdkit.Chem import QED, Crippen

    accessibility = sa_score()
    measures: dict[str, tuple[Callable[[Any], float], str]] = {
        "QED": (QED.qed, "drug-likeness, 0 to 1 (Bickerton et al. 2012)"),
        "logP": (Crippen.MolLogP, "Crippen's"),  # type: ignore[attr-defined]
        "rings": (lambda mol: mol.GetRingInfo().NumRings(), ""),
    }
    if accessibility is not None:
        measures["SA"] = (accessibility, "synthetic accessibility, 1 easy to 10 hard (Ertl & Schuffenhauer 2009)")
    read = molecules.generated
    with rdBase.BlockLogs():
        heavy = [None if mol is None or why else Chem.RemoveHs(mol) for mol, why in zip(read.mols, read.unusable)]
        values = {
            name: [None if mol is None else float(of(mol)) for mol in heavy] for name, (of, _) in measures.items()
        }
    hydrogens = molecules.per_molecule(molecules.numbers == 1)
    return [
        Figure("atoms", molecules.sizes.astype(float).tolist(), "", "hydrogens counted"),
        Figure("heavy atoms", (molecules.sizes - hydrogens).astype(float).tolist()),
        *(Figure(name, values[name], "", about) for name, (_, about) in measures.items()),
    ]


def _strained(molecules: Molecules, how: How) -> list[Figure]:
    items, _ = sanitisable(molecules)
    results = dict(zip(items, how.each(_strain, list(items.values()), "strain")))
    found = [results.get(k) for k in range(len(molecules))]
    pairs = [result if isinstance(result, tuple) else (None, None) for result in found]
    return [
        Figure("strain", [drop for _, drop in pairs], "kcal/mol", "MMFF94s energy above its nearest minimum"),
        Figure("energy", [energy for energy, _ in pairs], "kcal/mol", "MMFF94s energy as generated"),
    ]


def _strain(molecule: Molecule) -> tuple[float, float] | str:
    """(energy, energy above the nearest minimum), kcal/mol."""
    found = minimum(molecule)
    if isinstance(found, str):
        return found
    _, energy, there = found
    drop = energy - there
    return (energy, drop) if np.isfinite(energy) and np.isfinite(drop) else "non_finite"


def similarity(molecules: Molecules, training: Sequence[str]) -> list[float | None]:
    """Of each molecule that sanitises, the largest Tanimoto similarity of Morgan fingerprints (radius 2, 2048 bits)."""
    from rdkit import Chem, DataStructs, rdBase
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    generator = GetMorganGenerator(radius=2, fpSize=2048)
    with rdBase.BlockLogs():
        known = [generator.GetFingerprint(mol) for mol in map(Chem.MolFromSmiles, training) if mol is not None]
        read = molecules.generated
        mine = [None if mol is None or why else Chem.RemoveHs(mol) for mol, why in zip(read.mols, read.unusable)]
    if not known:
        return [None] * len(molecules)
    return [
        None if mol is None else max(DataStructs.BulkTanimotoSimilarity(generator.GetFingerprint(mol), known))
        for mol in mine
    ]
