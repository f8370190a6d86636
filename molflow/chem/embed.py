"""SMILES -> 3D: hydrogens, ETKDGv3 (Riniker & Landrum 2015; Wang et al. 2020), then MMFF94s (Halgren 1999)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from molflow.build import UserError
from molflow.workers import Failure, map_killable

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_STEPS = 2000  # of the force field; small organic molecules need some hundred


@dataclass
class Embedded:
    """A molecule with one or more conformers, and the energy of each in kcal/mol."""

    mol: Mol
    energies: list[float]
    force_field: str  # MMFF94s, UFF where that lacks parameters, or none


def embed(smiles: str, conformers: int = 1, seed: int = 0) -> Embedded:
    """Hydrogens added, conformers embedded and relaxed; the same SMILES and seed give the same geometry.

    >>> embed("CCO").mol.GetNumAtoms()
    9
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None or not mol.GetNumAtoms():
            raise UserError(f"{smiles!r} is no SMILES of a molecule")
        return embed_mol(Chem.AddHs(mol), conformers, seed)


def embed_mol(mol: Mol, conformers: int = 1, seed: int = 0) -> Embedded:
    """The same for a molecule that has its hydrogens; the argument is left as it is."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    if conformers < 1:
        raise UserError(f"conformers: expected at least 1, not {conformers}")
    mol = Chem.Mol(mol)
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed % (1 << 31)
    ids = rdDistGeom.EmbedMultipleConfs(mol, conformers, parameters)
    if not ids:
        parameters.useRandomCoords = True
        ids = rdDistGeom.EmbedMultipleConfs(mol, conformers, parameters)
    if not ids:
        raise UserError("no coordinates were found: the distance bounds contradict one another")
    probe = Chem.Mol(mol)  # asking for MMFF's parameters kekulises its argument
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(probe):
        relaxed = Chem.Mol(mol)
        results = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(
            relaxed, maxIters=_STEPS, mmffVariant="MMFF94s", ignoreInterfragInteractions=False
        )
        name = "MMFF94s"
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(probe):
        relaxed = Chem.Mol(mol)
        results = rdForceFieldHelpers.UFFOptimizeMoleculeConfs(
            relaxed, maxIters=_STEPS, ignoreInterfragInteractions=False
        )
        name = "UFF"
    else:
        return Embedded(mol, [float("nan")] * len(ids), "none")
    for conformer in mol.GetConformers():
        conformer.SetPositions(relaxed.GetConformer(conformer.GetId()).GetPositions())
    return Embedded(mol, [energy for _, energy in results], name)


def embed_all(
    smiles: Iterable[str],
    conformers: int = 1,
    seed: int = 0,
    workers: int | None = None,
    timeout: float | None = 60.0,
) -> Iterator[tuple[int, Embedded | Failure]]:
    """(index, molecule or Failure) of each SMILES, in order, by processes that a hard molecule cannot hold up."""
    return map_killable(partial(embed, conformers=conformers, seed=seed), smiles, workers, timeout)
