"""Bonds from coordinates: EDM's distance table (for scoring only), and RDKit's perception (for files without bonds)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from molflow.build import UserError, unknown
from molflow.chem.elements import NUMBER

if TYPE_CHECKING:
    from rdkit.Chem import Mol, RWMol
    from torch import Tensor

# Typical bond lengths in pm, one entry for both directions of a pair (EDM's own double bond C=S is one-way).
_LENGTHS = (
    """As-H 152; B-Cl 175; B-H 119; Br-Br 228; Br-C 194; Br-Cl 214; Br-F 178; Br-H 141; Br-N 214; Br-O 172; Br-P 222;
    Br-S 225; Br-Si 215; C-C 154; C-Cl 177; C-F 135; C-H 109; C-I 214; C-N 147; C-O 143; C-P 184; C-S 182; C-Si 185;
    Cl-Cl 199; Cl-F 166; Cl-H 127; Cl-N 175; Cl-O 164; Cl-P 203; Cl-S 207; Cl-Si 202; F-F 142; F-H 92; F-I 187; F-N 136;
    F-O 142; F-P 156; F-S 158; F-Si 160; H-H 74; H-I 161; H-N 101; H-O 96; H-P 144; H-S 134; H-Si 148; I-I 266; I-N 222;
    I-O 194; I-S 234; I-Si 243; N-N 145; N-O 140; N-P 177; N-S 168; O-O 148; O-P 163; O-S 151; O-Si 163; P-P 221;
    P-S 210; S-S 204; S-Si 200; Si-Si 233""",
    "C-C 134; C-N 129; C-O 120; C-S 160; N-N 125; N-O 121; O-O 121; O-P 150; P-S 186",
    "C-C 120; C-N 116; C-O 113; N-N 110",
)
_MARGINS = (10, 5, 3)  # pm, for single, double, triple

EDM_VALENCE: dict[int, tuple[int, ...]] = {
    NUMBER[symbol]: valences
    for symbol, valences in {
        "H": (1,),
        "B": (3,),
        "C": (4,),
        "N": (3,),
        "O": (2,),
        "F": (1,),
        "Al": (3,),
        "Si": (4,),
        "P": (3, 5),
        "S": (4,),
        "Cl": (1,),
        "As": (3,),
        "Br": (1,),
        "I": (1,),
        "Hg": (1, 2),
        "Bi": (3, 5),
    }.items()
}  # atomic number -> the valences EDM calls stable

_CHUNK = 1 << 16  # pairs at a time: their distances stay in the processor's cache


@cache
def _thresholds() -> np.ndarray:
    """Below entry [k, z1, z2] (angstrom) lies a bond of order k + 1; zero where the table has no such pair."""
    table = np.zeros((3, 128, 128))
    for order, (lengths, margin) in enumerate(zip(_LENGTHS, _MARGINS)):
        for a, b, length in re.findall(r"(\w+)-(\w+) (\d+)", lengths):
            table[order, NUMBER[a], NUMBER[b]] = table[order, NUMBER[b], NUMBER[a]] = (int(length) + margin) / 100
    return table


def edm_pairs(pos: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Molecule, atoms i < j, and order (1, 2, 3) of each bond by EDM's table, of B molecules of N atoms.

    ``pos`` is [B, N, D] in angstrom, ``numbers`` [B, N]; atomic number 0 has no bonds. Each result is [E].

    >>> molecule, i, j, order = edm_pairs(np.array([[[0, 0, 0], [1.2, 0, 0]]]), np.array([[6, 8]]))  # C and O
    >>> molecule.tolist(), i.tolist(), j.tolist(), order.tolist()
    ([0], [0], [1], [2])
    """
    single, double, triple = _thresholds().reshape(3, -1) ** 2
    batch, n, dim = pos.shape
    first, second = np.triu_indices(n, 1)
    found = [tuple(np.zeros(0, np.int64) for _ in range(4))]
    step = max(1, _CHUNK // max(1, len(first)))
    for start in range(0, batch, step):
        x = np.ascontiguousarray(pos[start : start + step].transpose(2, 1, 0), dtype=np.float64)  # [D, N, b]
        with np.errstate(over="ignore", invalid="ignore"):  # coordinates that are no numbers have no bonds
            square = np.zeros((len(first), x.shape[2]))  # [pairs, b]
            for k in range(dim):
                square += (x[k].take(first, 0) - x[k].take(second, 0)) ** 2
            pair, molecule = np.nonzero(square < single.max())
        i, j = first[pair], second[pair]
        z = np.clip(numbers[start : start + step], 0, 127)
        kind, near = z[molecule, i] * 128 + z[molecule, j], square[pair, molecule]
        bonded = near < single[kind]
        kind, near = kind[bonded], near[bonded]
        order = 1 + (near < double[kind]) + (near < triple[kind])
        found.append((molecule[bonded] + start, i[bonded], j[bonded], order))
    molecule, i, j, order = (np.concatenate(parts) for parts in zip(*found))
    return molecule, i, j, order


def edm_orders(pos: Tensor, atom: Tensor, mask: Tensor, rule: Literal["qm9", "geom"] = "qm9") -> Tensor:
    """Bond orders [B, N, N] by EDM's table (Hoogeboom 2022): 1 if d < s1 + 10 pm, 2 if d < s2 + 5, 3 if d < s3 + 3.

    The rule ``geom`` knows single bonds alone. A pair outside the table, or at no finite distance, has no bond.

    >>> import torch
    >>> pos = torch.tensor([[[0.0, 0, 0], [1.2, 0, 0]]])  # carbon and oxygen, 1.2 angstrom apart
    >>> edm_orders(pos, torch.tensor([[6, 8]]), torch.ones(1, 2, dtype=torch.bool)).tolist()
    [[[0, 2], [2, 0]]]
    """
    import torch

    if rule not in ("qm9", "geom"):
        raise unknown("bond rule", rule, ("qm9", "geom"))
    numbers = atom.masked_fill(~mask, 0)  # the padding is a dummy atom, which has no entry
    molecule, i, j, order = map(torch.from_numpy, edm_pairs(pos.detach().cpu().numpy(), numbers.cpu().numpy()))
    orders = torch.zeros(*mask.shape, mask.shape[1], dtype=torch.long)
    orders[molecule, i, j] = orders[molecule, j, i] = order if rule == "qm9" else torch.ones_like(order)
    return orders.to(pos.device)


class PerceptionError(UserError):
    """No bonds were read; ``reason`` is ``empty``, ``non_finite``, ``unknown_element``, ``timeout`` or ``no_bonds``."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self):  # two arguments: exceptions cross process borders by this
        return type(self), (self.reason, self.args[0])


def perceive(
    numbers: Sequence[int], pos: np.ndarray, charge: int = 0, max_steps: int = 200_000, connected: bool = False
) -> Mol:
    """A sanitised molecule with bonds, formal charges and stereo read from coordinates [N, 3].

    RDKit's van der Waals connector at 1.15 reads strained cages that its default misreads; what it cannot read is
    retried at 1.1, 1.2 and 1.25. The search for bond orders grows exponentially with the number of O, N, P and S:
    after ``max_steps`` combinations (3 to 20 us each) it ends, the same way on every machine. With
    ``connected``, bonds that leave the molecule in pieces do not count as read.

    >>> from rdkit.Chem import MolToSmiles
    >>> MolToSmiles(perceive([8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))
    '[H]O[H]'
    """
    from rdkit import rdBase
    from rdkit.Chem import GetMolFrags
    from rdkit.Chem.rdDetermineBonds import DetermineBondOrders, DetermineConnectivity

    bare = _bare(numbers, np.asarray(pos, dtype=np.float64))
    failure = ""
    with rdBase.BlockLogs():
        for factor in (1.15, 1.1, 1.2, 1.25):
            mol = type(bare)(bare)
            try:
                DetermineConnectivity(mol, useVdw=True, covFactor=factor)
                DetermineBondOrders(mol, charge=int(charge), maxIterations=max_steps)
            except Exception as error:  # RDKit raises ValueError, RuntimeError and its own kinds
                failure = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                if "Max Iterations" in failure:
                    raise PerceptionError("timeout", f"more than {max_steps} combinations of bond orders") from None
                continue
            pieces = len(GetMolFrags(mol)) if connected else 1
            if pieces == 1:
                return mol
            failure = f"its bonds leave {pieces} pieces"
    raise PerceptionError("no_bonds", f"no bond orders fit the coordinates at total charge {charge} ({failure})")


def _bare(numbers: Sequence[int], pos: np.ndarray) -> RWMol:
    """Atoms without bonds or charges; perception sets both."""
    from rdkit import Chem

    if len(numbers) == 0:
        raise PerceptionError("empty", "a molecule without atoms")
    if pos.shape != (len(numbers), 3):
        raise PerceptionError("no_bonds", f"{len(numbers)} atoms with coordinates of shape {pos.shape}")
    if not np.isfinite(pos).all():
        raise PerceptionError("non_finite", "a coordinate is not a finite number")
    mol = Chem.RWMol()
    for number in numbers:
        if not 0 < number < 119:
            raise PerceptionError("unknown_element", f"atomic number {number} is no element")
        mol.AddAtom(Chem.Atom(int(number)))
    conformer = Chem.Conformer(len(numbers))
    conformer.SetPositions(pos)
    mol.AddConformer(conformer)
    return mol
