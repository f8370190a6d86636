"""The molecules that a page shows, with what only their source knows: places, titles, properties."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from molflow.chem.io import read
from molflow.data.store import Store
from molflow.metrics.intake import of_records
from molflow.metrics.molecules import Molecules
from molflow.metrics.perception import with_bonds
from molflow.metrics.source import STORE, Source, bonds_in, hydrogenated, is_batch
from molflow.rng import numpy_generator

_TITLE = 200  # characters of a title; more is no name


@dataclass(frozen=True)
class Gathered:
    """``index[k]`` is the number in the whole input of molecule k."""

    index: list[int]
    molecules: Molecules
    titles: list[str]
    props: list[dict[str, float]]


def chosen(n: int, limit: int, seed: int) -> list[int]:
    """Numbers below ``n``: all, or ``limit`` drawn with the seed, in order.

    >>> chosen(3, 10, seed=0), len(chosen(1000, 10, seed=0))
    ([0, 1, 2], 10)
    """
    if n <= limit:
        return list(range(n))
    return np.sort(numpy_generator(seed).choice(n, limit, replace=False)).tolist()


def gather(given: Any, wanted: Sequence[int], perceive: bool = False) -> Gathered:
    """The molecules with these numbers, which count all of the input, readable or not."""
    source = Source(given, Store, perceive=perceive)
    parts = list(_from_files(source, wanted) if _are_text(source) else _from_blocks(source, given, wanted))
    index = [number for part in parts for number in part.index]
    return Gathered(
        index,
        Molecules.cat([part.molecules for part in parts]),
        [title for part in parts for title in part.titles],
        [props for part in parts for props in part.props],
    )


def _are_text(source: Source) -> bool:
    return bool(source.files) and all(not path.name.endswith((STORE, ".npz")) for path in source.files)


def _from_files(source: Source, wanted: Sequence[int]) -> Iterator[Gathered]:
    numbers, start = set(wanted), 0
    for path in source.files:
        index, records = [], []
        for number, record in enumerate(read(path), start):
            start = number + 1
            if number in numbers:
                index.append(number)
                records.append(record)
        molecules = of_records([hydrogenated(record) for record in records], bonds_in(path))
        if source.perceive:
            molecules = with_bonds(molecules, [record.total_charge for record in records], 1)
        yield Gathered(index, molecules, [_title(r.mol) for r in records], [dict(r.props) for r in records])


def _from_blocks(source: Source, given: Any, wanted: Sequence[int]) -> Iterator[Gathered]:
    numbers = np.asarray(wanted, np.int64)
    props = {name: values.tolist() for name, values in getattr(given, "props", {}).items()} if is_batch(given) else {}
    mols = given if isinstance(given, (list, tuple)) and not is_batch(next(iter(given), None)) else ()
    for block in source.blocks():
        here = numbers[(numbers >= block.start) & (numbers < block.start + len(block.molecules))]
        yield Gathered(
            here.tolist(),
            block.molecules[here - block.start],
            [_title(mols[k]) if k < len(mols) else "" for k in here.tolist()],
            [{name: values[k] for name, values in props.items()} for k in here.tolist()],
        )


def _title(mol: Any) -> str:
    if mol is None or isinstance(mol, (str, os.PathLike)) or not mol.HasProp("_Name"):
        return ""
    return mol.GetProp("_Name").strip()[:_TITLE]
