"""Molecules for the tests: embedded ones, ones drawn atom by atom, perturbed ones, and rigid motions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from rdkit import Chem
from rdkit.Chem import AllChem

from molflow.metrics.intake import of_mols
from molflow.metrics.molecules import Molecules

SMILES = [
    "C",
    "O",
    "CO",
    "CCO",
    "CC=O",
    "C#N",
    "CC#N",
    "C=C",
    "C#C",
    "c1ccccc1",
    "c1cc[nH]c1",
    "c1ccoc1",
    "CC(=O)O",
    "NC=O",
    "C1CC1",
    "C1CO1",
    "CN(C)C",
    "O=C=O",
    "CC(C)(C)O",
    "OCC(O)CO",
    "Cc1ccccn1",
    "C[NH3+]",
    "CC(=O)[O-]",
    "C[N+](=O)[O-]",
    "CF",
    "FC(F)F",
    "CS",
    "c1ccsc1",
    "CCl",
    "CBr",
    "CP",
    "C[Si](C)C",
    "NN",
    "OO",
    "N#N",
    "CS(=O)(=O)C",
    "B(O)O",
    "O=CC=O",
]
BONDS = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE, 4: Chem.BondType.AROMATIC}


@cache
def _embedded(smiles: str, seed: int) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=seed) == 0
    if AllChem.MMFFHasAllMoleculeParams(mol):
        AllChem.MMFFOptimizeMolecule(mol)
    return mol


def embedded(smiles: str, seed: int = 7) -> Chem.Mol:
    """With hydrogens, at a force field's minimum where there is one."""
    return Chem.Mol(_embedded(smiles, seed))


def drawn(
    symbols: Sequence[str],
    bonds: Sequence[tuple[int, int, int]] = (),
    charges: Sequence[int] | None = None,
    pos: Sequence[Sequence[float]] | None = None,
) -> Chem.Mol:
    """Atom by atom, nothing checked; without coordinates the atoms stand 1.5 angstrom apart in a row."""
    mol = Chem.RWMol()
    for k, symbol in enumerate(symbols):
        atom = Chem.Atom(symbol)
        atom.SetNoImplicit(True)
        atom.SetFormalCharge(charges[k] if charges else 0)
        mol.AddAtom(atom)
    for i, j, order in bonds:
        mol.AddBond(i, j, BONDS[order])
    conformer = Chem.Conformer(len(symbols))
    conformer.SetPositions(
        np.array(pos if pos is not None else [[1.5 * k, 0.0, 0.0] for k in range(len(symbols))], float)
    )
    mol.AddConformer(conformer)
    return mol


def kekule(mol: Chem.Mol) -> Chem.Mol:
    """The same with single and double bonds in the place of aromatic ones."""
    mol = Chem.Mol(mol)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def library() -> list[Chem.Mol]:
    return [embedded(smiles) for smiles in SMILES]


def perturbed(count: int, seed: int = 0) -> Molecules:
    """Real molecules shaken by up to 0.4 angstrom, with elements exchanged and atoms lost now and then."""
    rng = np.random.default_rng(seed)
    base = of_mols(library())
    molecules = base[rng.integers(len(base), size=count)]
    scale = rng.choice([0.0, 0.02, 0.05, 0.1, 0.2, 0.4], size=count)[molecules.owner]
    molecules.pos[:] += rng.normal(size=molecules.pos.shape) * scale[:, None]
    change = rng.random(len(molecules.numbers)) < 0.02
    molecules.numbers[change] = rng.choice([1, 6, 7, 8, 9, 15, 16, 17, 34], size=int(change.sum()))
    return molecules


def moved(molecules: Molecules, seed: int = 1) -> Molecules:
    """Every molecule turned and shifted by its own rigid motion."""
    rng = np.random.default_rng(seed)
    out = molecules[:]
    for k in range(len(out)):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turn[:, 0] *= np.linalg.det(turn)
        atoms = slice(out.offsets[k], out.offsets[k + 1])
        out.pos[atoms] = out.pos[atoms] @ turn.T + rng.normal(size=3) * 5
    return out


def relabelled(molecules: Molecules, seed: int = 2) -> Molecules:
    """The atoms of every molecule in another order."""
    rng = np.random.default_rng(seed)
    out = molecules[:]
    for k in range(len(out)):
        start, stop = out.offsets[k], out.offsets[k + 1]
        order = rng.permutation(stop - start)
        place = np.argsort(order)
        for array in (out.numbers, out.charges, out.pos):
            array[start:stop] = array[start:stop][order]
        own = slice(out.bond_offsets[k], out.bond_offsets[k + 1])
        out.bonds[own, :2] = np.sort(place[out.bonds[own, :2]], axis=1)
        out.bonds[own] = out.bonds[own][rng.permutation(len(out.bonds[own]))]
    return out
