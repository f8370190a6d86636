"""The molecules of a set that are wanted: valid, unlike those before, new, of a formula."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from molflow.batch import Batch
from molflow.build import UserError, unknown
from molflow.chem.formula import formula_of, parse
from molflow.chem.io import Files, expand, names_of, read_all
from molflow.chem.mols import molecule_of
from molflow.chem.record import Record
from molflow.data.sizes import MOST, Sizes
from molflow.data.wanted import Request, formula_in
from molflow.evaluate import TIMEOUT, Given, score

if TYPE_CHECKING:
    from rdkit.Chem import Mol

KEEP = ("valid", "stable", "connected", "unique", "novel")  # in this order; unique among those that meet all before
DEFAULT = ("valid", "connected", "unique")


@dataclass(frozen=True)
class Picked:
    """Which molecules were kept, in their order, and how many each condition left."""

    given: Batch | Files | Sequence[Mol | None]
    indices: list[int]  # of those kept, from 0, failed molecules counted
    left: dict[str, int]  # {condition: molecules that meet it and all before}; "read" is all
    protocol: str  # whose verdicts these are
    inputs: tuple[dict[str, Any], ...] = ()  # what was read, with checksums
    bondless: int = 0  # molecules that the protocol could not judge, having no bonds

    @cached_property
    def molecules(self) -> Batch | list[Mol | None]:
        """A batch of a batch, and a list of anything else."""
        if isinstance(self.given, Batch):
            return self.given[self.indices]
        given: Any = self.given
        if names_of(given):
            return [bonded(record) for record in records(given, self.indices)]
        return [given[k] for k in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Picked({', '.join(f'{name} {count:,}' for name, count in self.left.items())}; by {self.protocol})"


def pick(
    molecules: Batch | Files | Sequence[Mol | None],
    keep: Sequence[str] = DEFAULT,
    reference: Given | None = None,
    *,
    atoms: Request = None,
    n: int | None = None,
    protocol: str | None = None,
    perceive: bool = False,
    workers: int = 0,
    timeout: float = TIMEOUT,
    progress: bool = False,
) -> Picked:
    """Those of a batch, a list of RDKit molecules or files that meet all conditions: ``valid``, ``stable``,
    ``connected``, ``unique`` (the first of its kind) and ``novel`` (not in ``reference``).

    ``atoms`` asks for sizes (``"9-12"``) or a formula (``"C7H10O2"``), ``n`` for the first so many. Verdicts are those
    of ``protocol``, as ``score`` counts them: by default of the strictest that applies. A share among picked molecules
    says nothing of the model that made them.

    >>> import molflow
    >>> made = molflow.load("small").sample(8, seed=0, steps=20)
    >>> found = molflow.pick(made, n=2)
    >>> found.molecules
    Batch(2 of 10 atoms, 3D, atom, charge, bond)
    """
    keep = [keep] if isinstance(keep, str) else keep
    for name in keep:
        if name not in KEEP:
            raise unknown("condition", name, KEEP)
    if ("novel" in keep) != (reference is not None):
        raise UserError("novel wants a reference to be new to, and a reference wants novel among what is kept")
    if n is not None and n < 1:
        raise UserError(f"the number of molecules must be at least 1, not {n}")
    fits = _fits(atoms)
    if not isinstance(molecules, (Batch, str, os.PathLike)):
        molecules = list(molecules) if isinstance(molecules, Iterable) else [molecules]
        if any(hasattr(item, "pos") or hasattr(item, "indices") for item in molecules):
            raise UserError("pick takes one batch (Batch.cat joins several, Store.batch takes one out of a data file)")
    if names := names_of(molecules):
        molecules = expand(names)
    protocols = [protocol] if protocol else ["strict", "edm"]
    how: dict[str, Any] = {"perceive": perceive, "workers": workers, "timeout": timeout, "progress": progress}
    report = score(molecules, reference, protocols, "protocols", **how)
    judge = protocol or report.judge
    if why := report[judge].inapplicable or ("novel" in keep and report[judge].novel.note):
        raise UserError(f"protocol {judge} cannot tell: {why}")

    alone = {name: 0 for name in KEEP if name in keep and name not in ("unique", "novel")}
    kept, bondless = [], 0
    for row in report.rows():
        if row["protocol"] == judge:
            bondless += row["reason"] == "no_bonds"
            if _meets(row, alone):
                kept.append((row["index"], row["identity"], row["novel"]))
    left = {"read": report.n, **alone}
    if atoms is not None:
        met = {k for k, counts in enumerate(_formulas(molecules)) if fits(counts)}
        kept = [entry for entry in kept if entry[0] in met]
        left[str(atoms)] = len(kept)
    if "unique" in keep:
        first = {identity: index for index, identity, _ in reversed(kept) if identity}  # an invalid one has none
        kept = [entry for entry in kept if first.get(entry[1]) == entry[0]]
        left["unique"] = len(kept)
    if "novel" in keep:
        kept = [entry for entry in kept if entry[2]]
        left["novel"] = len(kept)
    if n is not None and n < len(kept):
        kept = kept[:n]
        left["asked for"] = n
    return Picked(molecules, [index for index, *_ in kept], left, judge, report.inputs, bondless)


def _meets(row: dict[str, Any], left: dict[str, int]) -> bool:
    """Whether a molecule meets all conditions; it is counted among those that each has left."""
    for name in left:
        if not row[name]:
            return False
        left[name] += 1
    return True


def _fits(atoms: Request) -> Callable[[Counter[int]], bool]:
    """What is asked of the atoms of a molecule."""
    if formula := formula_in(atoms):
        wanted = parse(formula)
        return lambda counts: counts == wanted
    sizes = Sizes({MOST + 1: 1}).asked(atoms).weights
    return lambda counts: counts.total() in sizes


def _formulas(given: Any) -> Iterator[Counter[int]]:
    """Of all molecules of a batch, of files, or of a list."""
    from rdkit import Chem

    if isinstance(given, Batch):
        assert given.atom is not None
        return (Counter(atoms[here].tolist()) for atoms, here in zip(given.atom, given.mask))
    mols = (record.mol for record in read_all(given)) if names_of(given) else given
    return (formula_of(mol and Chem.Mol(mol)) for mol in mols)


def records(files: Files, indices: Sequence[int]) -> Iterator[Record]:
    """Those of the files' records with these numbers, in their order."""
    wanted = set(indices)
    some = islice(enumerate(read_all(files)), max(wanted, default=-1) + 1)
    return (record for index, record in some if index in wanted)


def bonded(record: Record, suffix: str = "") -> Mol | None:
    """Its molecule as it is, but with bonds where its file has none and RDKit finds some; none for SMILES if not."""
    found = None if record.has_bonds else molecule_of(record, sanitize=True)
    if found is None and suffix == ".smi" and not record.has_bonds:
        return None
    return found or molecule_of(record, sanitize=False)
