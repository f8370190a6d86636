"""Make data/small.safetensors: molecules of H C N O F with up to seven heavy atoms, enumerated and embedded here.

    python data/make_small.py                 # about two minutes on two cores; the same seed gives the same file

Molecules grow atom by atom: a heavy atom is hung on with a single, double or triple bond, or a bond closes a ring.
Chemistry that would not survive in a flask is left out by a few rules below; geometries are ETKDGv3 + MMFF94s, and a
molecule stays only if its bonds can be read back from its coordinates.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem

from molflow.chem.bonds import perceive
from molflow.data.writer import StoreWriter
from molflow.rng import numpy_generator
from molflow.workers import Failure, map_killable

VALENCE = {6: 4, 7: 3, 8: 2, 9: 1}
ORDER = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
COUNTS = {1: 10, 2: 40, 3: 150, 4: 500, 5: 900, 6: 1500, 7: 1600}  # molecules kept by heavy atoms, at most
PARENTS = 2500  # molecules of a size that the next size grows from

UNLIKELY = [
    Chem.MolFromSmarts(pattern)
    for pattern in (
        "[#8]~[#8]",  # peroxides
        "[#7,#8]-[#7,#8]-[#7,#8]",  # chains of heteroatoms
        "[#7,#8;!a]-[#7,#8;!a]",  # a single bond between heteroatoms outside aromatic rings
        "[#7]=[#7;!a]",
        "[F][!#6]",
        "[CX4]([#7,#8;!$(*-C=[O,N])])[#7,#8;!R]",  # open-chain aminals and acetals fall apart
        "[CX4]([F])[#7,#8]",
        "[#6]=[#6]=,#[*]",  # allenes, ketenes
        "[#6;R]#*",  # a triple bond in a ring
        "[#6]=[#6][#7H,#8H,#7H2]",  # enols and enamines turn into their partners
        "[r3,r4]=,:[r3,r4]",
        "[R]@[R;r3,r4](@[R])@[R]",  # fused small rings
        "[#8,#7;r3]~[#8,#7]",
        "[#6X3](=[#8,#7])[F]",
    )
]


def grown(mol: Chem.Mol) -> Iterator[Chem.Mol]:
    """The molecules one heavy atom larger, then those with one more ring."""
    free = [VALENCE[atom.GetAtomicNum()] - sum(bond_orders(atom)) for atom in mol.GetAtoms()]
    for i, room in enumerate(free):
        for element, valence in VALENCE.items():
            for order in range(1, min(room, valence, 3) + 1):
                child = Chem.RWMol(mol)
                child.AddBond(i, child.AddAtom(Chem.Atom(element)), ORDER[order])
                yield child.GetMol()


def closed(mol: Chem.Mol) -> Iterator[Chem.Mol]:
    """The same atoms with one more bond between two that have room and no bond yet."""
    free = [VALENCE[atom.GetAtomicNum()] - sum(bond_orders(atom)) for atom in mol.GetAtoms()]
    for i in range(len(free)):
        for j in range(i):
            if free[i] and free[j] and mol.GetBondBetweenAtoms(i, j) is None:
                for order in range(1, min(free[i], free[j], 2) + 1):
                    child = Chem.RWMol(mol)
                    child.AddBond(i, j, ORDER[order])
                    yield child.GetMol()


def bond_orders(atom: Chem.Atom) -> list[int]:
    return [int(bond.GetBondTypeAsDouble()) for bond in atom.GetBonds()]


def enumerate_smiles(heavy: int, rng: np.random.Generator) -> Iterator[tuple[int, list[str]]]:
    """(heavy atoms, sensible SMILES of that size) up to ``heavy``; large sizes grow from a random part of the last."""
    level = {"C", "N", "O", "F"}
    for size in range(1, heavy + 1):
        if size > 1:
            parents = rng.permutation(sorted(level))[:PARENTS]
            level = {smiles for parent in parents for child in grown(kekule(parent)) if (smiles := name(child))}
        rings = {smiles for parent in sorted(level) for child in closed(kekule(parent)) if (smiles := name(child))}
        twice = {
            smiles for parent in sorted(rings)[:PARENTS] for child in closed(kekule(parent)) if (smiles := name(child))
        }
        level |= rings | twice
        yield size, [smiles for smiles in sorted(level) if sensible(Chem.MolFromSmiles(smiles))]


def kekule(smiles: str) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def name(mol: Chem.Mol) -> str | None:
    """Canonical SMILES without stereo."""
    try:
        mol = Chem.MolFromSmiles(Chem.MolToSmiles(mol, isomericSmiles=False))
        return None if mol is None else Chem.MolToSmiles(mol)
    except (ValueError, RuntimeError):
        return None


def sensible(mol: Chem.Mol) -> bool:
    if any(mol.HasSubstructMatch(pattern) for pattern in UNLIKELY):
        return False
    rings = mol.GetRingInfo()
    return rings.NumRings() <= 2 and mol.HasSubstructMatch(Chem.MolFromSmarts("[#6]") if mol.GetNumAtoms() > 1 else mol)


def embed(item: tuple[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Atomic numbers, coordinates, bonds and MMFF94s energy of the lowest of a few conformers."""
    smiles, seed = item
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    parameters = AllChem.ETKDGv3()
    parameters.randomSeed = seed
    conformers = AllChem.EmbedMultipleConfs(mol, 3, parameters)
    results = AllChem.MMFFOptimizeMoleculeConfs(mol, maxIters=2000, mmffVariant="MMFF94s")
    energies = [energy if failed == 0 else np.inf for failed, energy in results]
    best = int(np.argmin(energies))
    if not len(conformers) or not np.isfinite(energies[best]):
        raise ValueError("no geometry")
    positions = mol.GetConformer(conformers[best]).GetPositions()
    Chem.Kekulize(mol, clearAromaticFlags=True)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    bonds = [[b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondTypeAsDouble())] for b in mol.GetBonds()]
    if name(Chem.RemoveHs(perceive(numbers, positions))) != smiles:
        raise ValueError("the bonds cannot be read back from the geometry")
    return numbers, positions, np.array(bonds), energies[best]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("small.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--heavy", type=int, default=7, help="heavy atoms, at most")
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    rng = numpy_generator(args.seed)
    chosen: list[str] = []
    for size, smiles in enumerate_smiles(args.heavy, rng):
        chosen += rng.permutation(smiles)[: COUNTS.get(size, 1000)].tolist()
        print(f"{size} heavy atoms: {len(smiles):,} enumerated")
    split = np.repeat([0, 1, 2], [len(chosen), 0, 0])
    split[rng.permutation(len(chosen))[: len(chosen) // 5]] = rng.integers(1, 3, len(chosen) // 5)
    failed = 0
    source = "molflow data/make_small.py: enumerated, ETKDGv3 + MMFF94s"
    work = [(smiles, args.seed + 1) for smiles in chosen]
    with StoreWriter(args.out, source=source, overwrite=args.overwrite) as out:
        for index, result in map_killable(_module().embed, work, timeout=20, chunk=8):
            if isinstance(result, Failure):
                failed += 1
                continue
            numbers, positions, bonds, energy = result
            out.add(
                numbers, positions, np.zeros(len(numbers)), bonds, split=int(split[index]), smiles=chosen[index],
                props={"mmff_energy": energy},
            )  # fmt: skip
    print(f"{args.out}: {len(chosen) - failed:,} molecules; {failed} without a geometry that keeps their bonds")


def _module():
    """This file as an importable module: worker processes cannot reach into ``__main__``."""
    import importlib
    import sys

    sys.path.insert(0, str(Path(__file__).parent))
    return importlib.import_module(Path(__file__).stem)


if __name__ == "__main__":
    main()
