"""The raw files of QM9: their format, the archive they come in, and the list of those to leave out."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molflow.build import UserError
from molflow.chem.elements import NUMBER

UNITS = {  # the published properties, in the order of the raw file
    "A": "GHz",  # rotational constants
    "B": "GHz",
    "C": "GHz",
    "mu": "debye",  # dipole moment
    "alpha": "bohr^3",  # isotropic polarisability
    "homo": "hartree",
    "lumo": "hartree",
    "gap": "hartree",
    "r2": "bohr^2",  # electronic spatial extent
    "zpve": "hartree",  # zero-point vibrational energy
    "U0": "hartree",  # internal energy at 0 K
    "U": "hartree",  # internal energy at 298.15 K
    "H": "hartree",  # enthalpy at 298.15 K
    "G": "hartree",  # free energy at 298.15 K
    "Cv": "cal/(mol K)",  # heat capacity at 298.15 K
}


@dataclass
class Raw:
    """A molecule as its xyz file has it."""

    index: int
    numbers: np.ndarray  # [N]
    positions: np.ndarray  # [N, 3] angstrom
    props: dict[str, float]


def parse(text: str) -> Raw:
    """One raw file: the number of atoms; ``gdb``, an index, 15 properties; rows of element, x, y, z and charge.

    Frequencies, SMILES and InChI follow, which are not read. Numbers may be written ``-1.2*^-5``.
    """
    lines = text.replace("*^", "e").splitlines()
    try:
        count, head = int(lines[0]), lines[1].split()
        if head[0] != "gdb" or len(head) != 2 + len(UNITS):
            raise UserError(f"its second line has {len(head)} entries, not 'gdb', an index and {len(UNITS)} properties")
        rows = [line.split() for line in lines[2 : 2 + count]]
        if count < 1 or len(rows) < count:
            raise UserError(f"it ends after {len(rows)} of {count} atoms")
        numbers = np.array([NUMBER[row[0]] for row in rows])
        positions = np.array([row[1:4] for row in rows], dtype=np.float64)
        return Raw(int(head[1]), numbers, positions, dict(zip(UNITS, map(float, head[2:]))))
    except KeyError as error:
        raise UserError(f"{error.args[0]!r} is no element") from None
    except (ValueError, IndexError) as error:
        raise error if isinstance(error, UserError) else UserError(f"it is not in QM9's format ({error})") from None


@dataclass
class Molecule:
    """A raw molecule with the bonds and charges perceived."""

    raw: Raw
    charges: list[int]  # [N]
    bonds: np.ndarray  # [E, 3]
    smiles: str  # canonical, without stereo


def read(text: str, aromatic: bool = False) -> Molecule | str:
    """Parse a raw file and perceive its bonds and charges, or say why not."""
    from molflow.chem.bonds import perceive
    from molflow.chem.molecule import canonical_smiles, labels_of

    try:
        raw = parse(text)
        mol = perceive(raw.numbers.tolist(), raw.positions, connected=True)
        _, charges, bonds = labels_of(mol, aromatic)
    except UserError as error:
        return str(error)
    return Molecule(raw, charges, bonds, canonical_smiles(mol))


class RawFiles:
    """The texts of the archive's files, less the excluded; their indices gather in ``kept``."""

    def __init__(self, archive: Path, excluded: set[int]):
        self.archive, self.skip = archive, excluded
        self.kept: list[int] = []
        self.excluded = 0

    @staticmethod
    def name(index: int) -> str:
        return f"dsgdb9nsd_{index:06d}.xyz"

    def __iter__(self) -> Iterator[str]:
        for name, content in (_folder if self.archive.is_dir() else _tar)(self.archive):
            match = re.fullmatch(r"dsgdb9nsd_(\d+)\.xyz", Path(name).name)
            if not match:
                continue
            index = int(match[1])
            if index in self.skip:
                self.excluded += 1
                continue
            self.kept.append(index)
            yield content.decode(errors="replace")


def _folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.glob("dsgdb9nsd_*.xyz")):
        yield file.name, file.read_bytes()


def _tar(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                if member.isfile() and (file := tar.extractfile(member)):
                    yield member.name, file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(
            f"{path} is no archive that can be read to its end ({error}): "
            "it is damaged, or not one of tar, tar.gz, tar.bz2"
        ) from None


def read_uncharacterized(path: str | os.PathLike[str]) -> set[int]:
    """The indices that open the lines of the published list, between its preface and its notes."""
    try:
        text = Path(path).read_text(errors="replace")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    smiles = r"(?=\S*[A-Za-z])(?=\S*[CNOF\d=#])[\w@+\-\[\]()=#/\\.]+(?!\S)"  # a word of a note looks otherwise
    found = {int(index) for index in re.findall(rf"^[ \t]*(\d+)[ \t]+{smiles}", text, re.MULTILINE)}
    if not found:
        raise UserError(f"{path} lists no uncharacterized molecules: no line begins with an index and a SMILES")
    return found
