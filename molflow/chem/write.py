"""Molecules to files: complete or not at all, and the same bytes for the same molecules."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from molflow.atomic import clear_errors, refuse_existing
from molflow.build import UserError
from molflow.chem.elements import SYMBOL
from molflow.chem.molecule import given, kekule_says_it, legible, number_props, sanitised
from molflow.chem.write_npz import NpzSink

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from molflow.batch import Batch

_NOTHING = "?"  # the SMILES of no atoms would be an empty line, which readers pass over


class Writer:
    """Takes batches or lists of molecules; the file appears, complete, when the ``with`` block ends without an error.

    Molecules are written as they are, invalid ones too; None, which no format can say, becomes a molecule of no atoms,
    and that a ``?`` in a file of SMILES, which no reader takes for one: a failure stays a line, and counted.
    A batch without bonds is written without them where the format allows (xyz, npz); elsewhere they are perceived.
    """

    def __init__(self, path: Path, suffix: str, overwrite: bool = False):
        self.path, self.suffix = path, suffix
        self.count = 0  # molecules written
        self._damaged = False
        refuse_existing(path, overwrite)
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._sink: TextSink | NpzSink

    def __enter__(self) -> Writer:
        try:
            with clear_errors(self.path), contextlib.ExitStack() as files:
                self._sink = files.enter_context(contextlib.closing(self._sink_on(files)))
                self._files = files.pop_all()
        except UserError:
            self._part.unlink(missing_ok=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with clear_errors(self.path):
                whole = kind is None and not self._damaged
                with self._files:
                    if whole:
                        self._sink.finish()
                if whole:
                    os.replace(self._part, self.path)
                elif kind is None:
                    raise UserError(f"{self.path} was not made: a part of it could not be written")
        finally:
            self._part.unlink(missing_ok=True)

    def _sink_on(self, files: contextlib.ExitStack) -> TextSink | NpzSink:
        file = files.enter_context(open(self._part, "wb"))  # noqa: SIM115
        if self.suffix == ".npz":
            return NpzSink(file, self.path.absolute().parent)
        if self.path.name.lower().endswith(".gz"):  # no name, no date: the same bytes tomorrow
            file = files.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
        return TextSink(file, self.suffix)

    def write(self, molecules: Batch | Iterable[Mol | None]) -> None:
        with self._writing():
            self.count += self._sink.write(molecules)

    def write_text(self, record: str) -> None:
        """A molecule in the words of this format, which is one of text."""
        assert isinstance(self._sink, TextSink)
        with self._writing():
            self._sink.file.write(record.encode())
            self.count += 1

    def copy(self, part: str | os.PathLike[str]) -> None:
        """Append a file that a writer of the same format has finished."""
        with self._writing():
            self.count += self._sink.copy(Path(part))

    @contextlib.contextmanager
    def _writing(self):
        with clear_errors(self.path):
            try:
                yield
            except OSError:
                self._damaged = True  # a caller who goes on shall not get a file with a hole
                raise


class TextSink:
    def __init__(self, file: IO[bytes] | gzip.GzipFile, suffix: str):
        self.file, self.suffix = file, suffix
        self.encode = _ENCODERS[suffix]

    def write(self, molecules: Batch | Iterable[Mol | None]) -> int:
        from rdkit import Chem, rdBase

        from molflow.batch import Batch

        mols = _mols(molecules, self.suffix) if isinstance(molecules, Batch) else given(molecules)
        with rdBase.BlockLogs():
            text = "".join(self.encode(Chem.Mol() if mol is None else mol) for mol in mols)
        self.file.write(text.encode())
        return len(mols)

    def copy(self, part: Path) -> int:
        with (gzip.open if part.name.lower().endswith(".gz") else open)(part, "rb") as file:
            shutil.copyfileobj(file, self.file)
        return 0

    def finish(self) -> None:
        self.file.flush()

    def close(self) -> None:
        """Its file belongs to the writer."""


def _mols(batch: Batch, suffix: str) -> list[Mol | None]:
    """As generated; with stereo for SMILES, which have no coordinates to read it from."""
    import torch

    from molflow.chem.rdkit import to_rdkit

    bare = batch
    if batch.bond is None:
        bare = batch.replace(bond=torch.zeros(*batch.mask.shape, batch.mask.shape[1], dtype=torch.long))
    raw = to_rdkit(bare, sanitize=False)
    if suffix in (".xyz", ".extxyz") or (suffix == ".sdf" and batch.bond is not None):
        return raw
    if suffix == ".smi" and batch.bond is None:  # atoms alone are no SMILES
        return to_rdkit(batch)
    return [made if made is not None else rest for made, rest in zip(to_rdkit(batch), raw)]


def _sdf(mol: Mol) -> str:
    from rdkit import Chem

    pos = mol.GetConformer().GetPositions() if mol.GetNumConformers() else np.zeros((0, 3))
    wide = not (np.abs(pos) < 1e4).all()  # the columns of V2000 hold no such number, and no NaN
    try:
        return Chem.SDWriter.GetText(mol, kekulize=kekule_says_it(mol), force_v3000=wide)
    except UnicodeDecodeError:
        return _sdf(legible(mol))
    except (ValueError, RuntimeError):  # such as charges that leave an atom no number of electrons, H+2
        return _plain_sdf(mol, pos)


def _plain_sdf(mol: Mol, pos: np.ndarray) -> str:
    """A V3000 record of atoms, charges and bonds as they are, which asks RDKit for nothing."""
    orders = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "AROMATIC": 4}
    places = pos if len(pos) else np.zeros((mol.GetNumAtoms(), 3))
    atoms = [
        f"{k + 1} {atom.GetSymbol()} {x:.6f} {y:.6f} {z:.6f} 0 CHG={atom.GetFormalCharge()}"
        for k, (atom, (x, y, z)) in enumerate(zip(mol.GetAtoms(), places.tolist()))
    ]
    bonds = [
        f"{k + 1} {orders.get(str(bond.GetBondType()), 8)} {bond.GetBeginAtomIdx() + 1} {bond.GetEndAtomIdx() + 1}"
        for k, bond in enumerate(mol.GetBonds())
    ]
    table = ["BEGIN CTAB", f"COUNTS {len(atoms)} {len(bonds)} 0 0 0", "BEGIN ATOM", *atoms, "END ATOM"]
    table += ["BEGIN BOND", *bonds, "END BOND"] if bonds else []
    rows = "".join(f"M  V30 {row}\n" for row in [*table, "END CTAB"])
    props = "".join(f">  <{name}>\n{value!r}\n\n" for name, value in number_props(mol).items())
    return f"\n     molflow          3D\n\n  0  0  0     0  0            999 V3000\n{rows}M  END\n{props}$$$$\n"


def _xyz(mol: Mol, comment: str = "") -> str:
    pos = mol.GetConformer().GetPositions().tolist() if mol.GetNumConformers() else [[np.nan] * 3] * mol.GetNumAtoms()
    rows = [
        f"{SYMBOL[a.GetAtomicNum()]:<2} {x:13.6f} {y:13.6f} {z:13.6f}\n" for a, (x, y, z) in zip(mol.GetAtoms(), pos)
    ]
    return f"{len(rows)}\n{comment}\n{''.join(rows)}"


def _extxyz(mol: Mol) -> str:
    charge = sum(atom.GetFormalCharge() for atom in mol.GetAtoms())
    props = {re.sub(r"[^-.0-9A-Za-z_]", "_", name): value for name, value in number_props(mol).items()}
    if "charge" in props:
        raise UserError("a property cannot be called charge in an extended xyz file, where that is the molecule's own")
    fields = "".join(f" {name}={value!r}" for name, value in props.items())
    return _xyz(mol, f"Properties=species:S:1:pos:R:3 charge={charge}{fields}")


def _smi(mol: Mol) -> str:
    from rdkit import Chem

    if not mol.GetNumAtoms():
        return _NOTHING + "\n"
    whole = sanitised(Chem.Mol(mol))
    if whole is None or _hides(mol, whole):  # as it is: each atom with the hydrogens that it has, each bond in words
        return Chem.MolToSmiles(mol, allHsExplicit=True, allBondsExplicit=True) + "\n"
    return Chem.MolToSmiles(Chem.RemoveHs(whole)) + "\n"


def _hides(mol: Mol, whole: Mol) -> bool:
    """Whether a SMILES of the sanitised molecule would not tell what is wrong with the molecule as it was given."""
    from rdkit import Chem

    kinds = ((bond.GetBondType(), now.GetBondType()) for bond, now in zip(mol.GetBonds(), whole.GetBonds()))
    rewritten = (now not in (was, Chem.BondType.AROMATIC) for was, now in kinds)  # aromatic: the same in other words
    hydrogens = (atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 1 and atom.GetDegree())
    return any(rewritten) or any(atom.GetFormalCharge() for atom in hydrogens)


_ENCODERS: dict[str, Callable[[Any], str]] = {".sdf": _sdf, ".xyz": _xyz, ".extxyz": _extxyz, ".smi": _smi}
