"""Molecules -> report: read once, judged by every protocol that applies, in blocks of which memory holds a few.

report = score("samples.sdf", reference="qm9.safetensors")
report["edm"].molecule_stable.value
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molflow.batch import Batch
from molflow.build import UserError, unknown
from molflow.chem.io import expand, format_of, read
from molflow.data.store import Store
from molflow.metrics import PROTOCOLS
from molflow.metrics.intake import of_arrays, of_batch, of_mols, of_records
from molflow.metrics.keys import KeySet
from molflow.metrics.molecules import Molecules
from molflow.metrics.report import Report
from molflow.metrics.rows import Spool
from molflow.metrics.shard import Block, Plan, Shard, score_block
from molflow.workers import Failure, map_killable

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
DEFAULT = ("edm", "strict", "revisited", "jodo", "legacy")
BLOCK = 2000  # molecules judged at once
TIMEOUT = 30.0  # seconds that a molecule may take in a process that can be killed


def score(
    molecules: Files | Batch | Store | Iterable[Mol | None],
    reference: str | os.PathLike[str] | Store | None = None,
    protocols: Sequence[str] | None = None,
    *,
    seed: int = 0,
    workers: int = 0,
    rows: bool = True,
    progress: bool = False,
) -> Report:
    """Judge molecules: RDKit's (None is a failed one), a Batch, a data file, or files by name or pattern.

    ``reference`` holds the training molecules that novelty is measured against. Without ``protocols`` those that apply
    are shown. ``workers`` processes share the work, and the report is the same with any number of them.

    >>> from rdkit import Chem
    >>> report = score([Chem.AddHs(Chem.MolFromSmiles("CO")), None])
    >>> report["strict"].valid
    Rate(50.0 %, 1 of 2)
    """
    for name in protocols or ():
        if name not in PROTOCOLS:
            raise unknown("protocol", name, PROTOCOLS)
    if workers < 0:
        raise UserError(f"workers must be 0 (this process alone) or more, not {workers}")
    plan = Plan(tuple(protocols or DEFAULT), seed=seed, rows=rows)
    source = _Source(molecules)
    spool = Spool() if rows else None
    training = {} if reference is None else _training(reference, plan.protocols, workers, progress)
    shard = _run(plan, source, workers, progress, spool)
    return Report(shard, seed, tuple(protocols or ()), training, source.described(), versions(), spool=spool)


def versions() -> dict[str, str]:
    """Of the packages that the figures depend on."""
    import platform

    import numpy
    import rdkit
    import scipy

    from molflow import __version__

    packages = {"numpy": numpy, "rdkit": rdkit, "scipy": scipy}
    found = {name: str(package.__version__) for name, package in packages.items()}
    return {"molflow": __version__, "python": platform.python_version(), **found}


def _run(plan: Plan, source: _Source, workers: int, progress: bool, spool: Spool | None) -> Shard:
    from tqdm import tqdm

    total = Shard.empty(plan)
    with tqdm(total=source.total, unit="molecule", unit_scale=True, disable=not progress, leave=False) as bar:
        for shard, text in _judged(plan, source.blocks(), workers):
            total += shard
            bar.update(shard.inventory.n)
            if spool is not None:
                spool.add(text)
    return total


def _judged(plan: Plan, blocks: Iterator[Block], workers: int) -> Iterator[tuple[Shard, str]]:
    """Each block's scores in order. Where a molecule hangs or crashes a worker, the others of its block keep theirs."""
    if workers == 0:
        yield from (score_block(plan, block) for block in blocks)
        return
    waiting: dict[int, Block] = {}

    def sent() -> Iterator[Block]:
        for number, block in enumerate(blocks):
            waiting[number] = block
            yield block

    judge = partial(score_block, plan)
    for number, result in map_killable(judge, sent(), workers, timeout=TIMEOUT * 10):
        block = waiting.pop(number)
        if isinstance(result, Failure):
            singles = (Block(block.molecules[[k]], 0, [("", 0)]) for k in range(len(block.molecules)))
            lost = {
                k: alone.kind
                for k, alone in map_killable(judge, singles, workers, timeout=TIMEOUT)
                if isinstance(alone, Failure)
            }
            molecules = block.molecules
            for k, kind in lost.items():
                molecules = molecules.without([k], kind)
            result = score_block(plan, Block(molecules, block.start, block.places))
        yield result


def _training(
    reference: str | os.PathLike[str] | Store, protocols: Sequence[str], workers: int, progress: bool
) -> dict[str, KeySet | str]:
    """What each protocol compares novelty with: the training molecules as the protocol itself reads them."""
    shard = _run(Plan(tuple(protocols)), _Source(reference, split="train"), workers, progress, None)
    if not shard.inventory.n:
        raise UserError(f"{reference}: no training molecule in it")
    return {name: tally.seen for name, tally in shard.tallies.items()}


class _Source:
    """Molecules from anywhere, as blocks; what it was is known once they are read."""

    def __init__(self, molecules: Any, split: str = "all"):
        self.split = split
        self.files: list[Path] = []
        self.digest = hashlib.sha256()
        self.total: int | None = None
        if isinstance(molecules, (str, os.PathLike)):
            molecules = [molecules]
        if (
            isinstance(molecules, (list, tuple))
            and molecules
            and all(isinstance(m, (str, os.PathLike)) for m in molecules)
        ):
            self.files = _expand(molecules)
        elif isinstance(molecules, (Batch, Store, list, tuple)):
            self.total = len(molecules)
        self.molecules = molecules

    def blocks(self) -> Iterator[Block]:
        start = 0
        for name, record, part in self._parts():
            yield Block(part, start, [(name, record + k) for k in range(len(part))])
            start += len(part)

    def _parts(self) -> Iterator[tuple[str, int, Molecules]]:
        """(file, first record, molecules), a block at a time."""
        if self.files:
            for path in self.files:
                record = 0
                for part in self._file(path):
                    yield str(path), record, part
                    record += len(part)
            return
        record = 0
        for part in self._memory():
            for array in (part.numbers, part.charges, part.pos, part.bonds):
                self.digest.update(array.tobytes())
            yield "", record, part
            record += len(part)

    def _memory(self) -> Iterator[Molecules]:
        if isinstance(self.molecules, Batch):
            yield from (of_batch(self.molecules[low : low + BLOCK]) for low in range(0, len(self.molecules), BLOCK))
        elif isinstance(self.molecules, Store):
            yield from self._store(self.molecules)
        else:
            mols = iter(self.molecules)
            while chunk := list(islice(mols, BLOCK)):
                yield of_mols(chunk)

    def _file(self, path: Path) -> Iterator[Molecules]:
        if path.suffix == ".safetensors":
            yield from self._store(Store(path))
        elif format_of(path) == ".npz":
            from molflow.chem.read_arrays import load_npz

            arrays = load_npz(path)
            for low in range(0, len(arrays), BLOCK):
                yield of_arrays(arrays, low, min(low + BLOCK, len(arrays)))
        else:
            records = read(path)
            while chunk := list(islice(records, BLOCK)):
                yield of_records(chunk)

    def _store(self, store: Store) -> Iterator[Molecules]:
        wanted = store.indices(self.split)
        fields = [name for name in store.fields if name in ("pos", "atom", "charge", "bond")]
        for low in range(0, len(wanted), BLOCK):
            yield of_batch(store.batch(wanted[low : low + BLOCK], fields=fields))

    def described(self) -> tuple[dict[str, Any], ...]:
        """What was read, with checksums."""
        if not self.files:
            return ({"checksum": f"sha256:{self.digest.hexdigest()}"},)
        return tuple(
            {"file": str(path), "bytes": path.stat().st_size, "checksum": f"sha256:{_sha256(path)}"}
            for path in self.files
        )


def _expand(patterns: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The files that names and patterns stand for; each exists and has a suffix that can be read."""
    files: list[Path] = []
    for pattern in patterns:
        if os.fspath(pattern).endswith(".safetensors"):
            files.append(Store(pattern).path)
        else:
            files += expand(pattern)
    return files


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
