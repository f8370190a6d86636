"""EDM's protocol in plain loops, straight from the specification: slow, and easy to check by eye."""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase

SINGLE = (
    "As-H 152; B-Cl 175; B-H 119; Br-Br 228; Br-C 194; Br-Cl 214; Br-F 178; Br-H 141; Br-N 214; Br-O 172; Br-P 222; "
    "Br-S 225; Br-Si 215; C-C 154; C-Cl 177; C-F 135; C-H 109; C-I 214; C-N 147; C-O 143; C-P 184; C-S 182; C-Si 185; "
    "Cl-Cl 199; Cl-F 166; Cl-H 127; Cl-N 175; Cl-O 164; Cl-P 203; Cl-S 207; Cl-Si 202; F-F 142; F-H 92; F-I 187; "
    "F-N 136; F-O 142; F-P 156; F-S 158; F-Si 160; H-H 74; H-I 161; H-N 101; H-O 96; H-P 144; H-S 134; H-Si 148; "
    "I-I 266; I-N 222; I-O 194; I-S 234; I-Si 243; N-N 145; N-O 140; N-P 177; N-S 168; O-O 148; O-P 163; O-S 151; "
    "O-Si 163; P-P 221; P-S 210; S-S 204; S-Si 200; Si-Si 233"
)
DOUBLE = "C-C 134; C-N 129; C-O 120; C-S 160; N-N 125; N-O 121; O-O 121; O-P 150; P-S 186"
TRIPLE = "C-C 120; C-N 116; C-O 113; N-N 110"
VALENCE = {
    "H": [1],
    "C": [4],
    "N": [3],
    "O": [2],
    "F": [1],
    "B": [3],
    "Al": [3],
    "Si": [4],
    "P": [3, 5],
    "S": [4],
    "Cl": [1],
    "As": [3],
    "Br": [1],
    "I": [1],
    "Hg": [1, 2],
    "Bi": [3, 5],
}


def read(table: str) -> dict[tuple[str, str], int]:
    out = {}
    for entry in table.split("; "):
        pair, length = entry.split(" ")
        a, b = pair.split("-")
        out[a, b] = out[b, a] = int(length)
    return out


S1, S2, S3 = read(SINGLE), read(DOUBLE), read(TRIPLE)


def order(a: str, b: str, pm: float) -> int:
    if (a, b) not in S1 or not pm < S1[a, b] + 10:
        return 0
    if (a, b) not in S2 or not pm < S2[a, b] + 5:
        return 1
    if (a, b) not in S3 or not pm < S3[a, b] + 3:
        return 2
    return 3


def stability(symbols: list[str], pos: np.ndarray) -> tuple[int, list[tuple[int, int, int]], float]:
    """Stable atoms, bonds, and the shortest distance."""
    n = len(symbols)
    valence = [0] * n
    bonds = []
    shortest = np.inf
    for i in range(n):
        for j in range(i + 1, n):
            d = np.sqrt(((pos[i] - pos[j]) ** 2).sum())
            shortest = min(shortest, d)
            k = order(symbols[i], symbols[j], 100 * d)
            if k:
                bonds.append((i, j, k))
                valence[i] += k
                valence[j] += k
    stable_atoms = 0
    for symbol, v in zip(symbols, valence):
        stable_atoms += v in VALENCE.get(symbol, [])
    return stable_atoms, bonds, shortest


def judge(symbols: list[str], pos: np.ndarray) -> tuple[int, bool, bool, bool, str]:
    """Stable atoms, stable, valid, connected, SMILES."""
    n = len(symbols)
    stable_atoms, bonds, shortest = stability(symbols, pos)
    piece = list(range(n))
    for _ in range(n):
        for i, j, _ in bonds:
            piece[i] = piece[j] = min(piece[i], piece[j])
    fine = n > 0 and shortest >= 0.4
    smiles = written(symbols, bonds) if fine and all(symbol in VALENCE for symbol in symbols) else ""
    return stable_atoms, fine and stable_atoms == n, smiles != "", fine and len(set(piece)) == 1, smiles


def written(symbols: list[str], bonds: list[tuple[int, int, int]]) -> str:
    types = [None, Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE]
    mol = Chem.RWMol()
    for symbol in symbols:
        mol.AddAtom(Chem.Atom(symbol))
    for i, j, k in bonds:
        mol.AddBond(i, j, types[k])
    with rdBase.BlockLogs():
        try:
            Chem.SanitizeMol(mol)
        except ValueError:
            return ""
        largest = max(Chem.GetMolFrags(mol, asMols=True), key=lambda part: part.GetNumAtoms())
        return Chem.MolToSmiles(largest, isomericSmiles=False)
