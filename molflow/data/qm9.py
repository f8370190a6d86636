"""QM9 (Ramakrishnan, Dral, Rupp & von Lilienfeld 2014) from its published archive to a data file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from molflow.atomic import replacing
from molflow.build import UserError
from molflow.chem.elements import elements_of
from molflow.data.download import Remote, fetch
from molflow.data.qm9_raw import UNITS, Molecule, RawFiles, read, read_uncharacterized
from molflow.data.store import StoreWriter
from molflow.workers import map_killable

_FIGSHARE = ("https://springernature.figshare.com/ndownloader/files/", "https://ndownloader.figshare.com/files/")
ARCHIVE = Remote(
    "dsgdb9nsd.xyz.tar.bz2",
    tuple(f"{server}3195389" for server in _FIGSHARE),
    86_144_227,
    "ad1ebd51ee7f5b3a6e32e974e5d54012",
)
UNCHARACTERIZED = Remote(
    "uncharacterized.txt",
    tuple(f"{server}3195404" for server in _FIGSHARE),
    486_752,
    "a361887bacb427b8a0ce7903d92a53b4",
)
CHARACTERIZED = 130_831  # molecules of the whole set that are split
_SPLIT = (100_000, 17_748, 13_083)  # EDM's train, validation, test
_TOGETHER = 50  # files that travel to a worker at once
_TIMEOUT = 20.0  # seconds for a molecule; the slowest of QM9 takes a fraction of one


@dataclass
class Summary:
    """What became of an archive."""

    molecules: int
    uncharacterized: int | None  # left out on purpose; None: there was no list of them
    others: int  # left out, as they have other elements than those to keep
    unread: list[tuple[str, str]]  # (file, why), written to the file `listing`
    listing: Path
    split: str  # how train, validation and test were drawn


def make_qm9(
    out: str | os.PathLike[str],
    archive: str | os.PathLike[str] | None = None,
    uncharacterized: str | os.PathLike[str] | None = None,
    *,
    elements: Sequence[str] = (),
    aromatic: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Summary:
    """Write the data file ``out`` from the raw archive or a folder of its files; without one, it is fetched.

    Left out are the uncharacterized molecules, those with other elements than ``elements``, if there are any, and
    those whose bonds cannot be read, which ``<out>.unread.txt`` lists. The others keep the splits of the whole.
    """
    from tqdm import tqdm

    out = Path(out)
    meta = {"units": json.dumps(UNITS), "bonds": "aromatic" if aromatic else "kekule", "licence": "CC0"}
    with StoreWriter(out, source="QM9", overwrite=overwrite, meta=meta) as writer:
        archive, listed = _inputs(out, archive, uncharacterized, progress)
        excluded = read_uncharacterized(listed) if listed else set()
        files = RawFiles(archive, excluded)
        results = map_killable(partial(read, aromatic=aromatic), files, workers, timeout=_TIMEOUT, chunk=_TOGETHER)
        allowed, others = elements_of(elements), 0
        unread, written = [], []
        for place, found in tqdm(results, unit=" molecules", unit_scale=True, desc=out.name, disable=not progress):
            if isinstance(found, Molecule):
                raw = found.raw
                if allowed and not allowed.issuperset(raw.numbers.tolist()):
                    others += 1
                    continue
                props = {"gdb_index": raw.index, **raw.props}
                writer.add(raw.numbers, raw.positions, found.charges, found.bonds, smiles=found.smiles, props=props)
                written.append(files.kept[place])
            else:
                unread.append((files.name(files.kept[place]), getattr(found, "message", found)))
        if not written:
            why = f"; {unread[0][0]}: {unread[0][1]}" if unread else f" (such as {files.name(1)})"
            raise UserError(f"{archive} holds no molecule of QM9 that can be read{why}")
        splits, how = edm_split(len(files.kept))
        splits = splits[np.searchsorted(np.sort(files.kept), written)]
        writer.set_splits(splits)
    listing = out.with_suffix(".unread.txt")
    _write_listing(listing, unread)
    counts = " / ".join(f"{count:,}" for count in np.bincount(splits, minlength=3))
    how = f"{counts} train / validation / test, {how}"
    return Summary(len(written), files.excluded if listed else None, others, unread, listing, how)


def edm_split(count: int) -> tuple[np.ndarray, str]:
    """The split of so many characterized molecules, ordered by their index, and in words how it came about.

    EDM's (Hoogeboom et al. 2022) is numpy's permutation of all 130,831 with seed 0; fewer are split in its proportions.
    """
    train, _, test = sizes = _SPLIT
    how = "by EDM's split of the whole set, 100,000 / 17,748 / 13,083"
    if count != CHARACTERIZED:
        train, test = round(count * train / CHARACTERIZED), round(count * test / CHARACTERIZED)
        sizes = (train, count - train - test, test)
        how = f"in EDM's proportions; its own split is of {CHARACTERIZED:,} molecules, and here are {count:,}"
    out = np.empty(count, np.uint8)
    out[np.random.RandomState(0).permutation(count)] = np.repeat([0, 1, 2], sizes)
    return out, how


def _inputs(out: Path, archive, uncharacterized, progress: bool) -> tuple[Path, Path | None]:
    """The archive and the list of the uncharacterized: given, lying beside, or fetched."""
    if archive is not None:
        archive = Path(archive)
        if not archive.exists():
            raise UserError(f"{archive}: no such file")
        beside = archive.parent / UNCHARACTERIZED.name
        return archive, Path(uncharacterized) if uncharacterized else beside if beside.exists() else None
    found: list[Path] = []
    failures: list[str] = []
    for remote in (ARCHIVE,) if uncharacterized else (ARCHIVE, UNCHARACTERIZED):
        try:
            found.append(fetch(remote, out.parent, progress))
        except UserError as error:
            failures.append(str(error))
    if failures:
        names = f"--from {ARCHIVE.name} --uncharacterized {UNCHARACTERIZED.name}"
        again = f"then give the same command again, or name them where they are: molflow data qm9 --out {out} {names}"
        raise UserError("\n".join([*failures, again]))
    return found[0], Path(uncharacterized) if uncharacterized else found[1]


def _write_listing(path: Path, unread: list[tuple[str, str]]) -> None:
    """What could not be read, a line each; no file when there is nothing to list."""
    if not unread:
        path.unlink(missing_ok=True)  # of the conversion that this one replaces
        return
    with replacing(path) as part:
        part.write_text("".join(f"{name}\t{why}\n" for name, why in unread))
