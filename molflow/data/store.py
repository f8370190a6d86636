"""Molecules in one memory-mapped file; random batches leave it without a Python object per molecule."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError, unknown
from molflow.data.checks import check_molecules
from molflow.data.format import PROPERTY, SPLITS, check_shapes, content_checksum, open_arrays
from molflow.data.writer import StoreWriter

__all__ = ["Store", "StoreWriter"]


_CHUNK = 1 << 20


class Store:
    """A data file, opened at once whatever its size; workers and ranks that open it share its pages.

    ``Store(path).batch([0, 5, 7])`` is a ``Batch`` of three molecules, labelled as chemists write them.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path).absolute()
        self._arrays, self.meta = open_arrays(path)
        check_shapes(Path(path), self._arrays)
        self._offsets = self._arrays["offsets"]

    def __reduce__(self):
        return Store, (str(self.path),)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self):,} molecules, {', '.join(self.fields)})"

    # -- what it holds

    @property
    def dim(self) -> int:
        return self._arrays["positions"].shape[1]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of its batches."""
        columns = {"pos": "positions", "atom": "numbers", "charge": "charges", "bond": "bonds"}
        return tuple(field for field, column in columns.items() if column in self._arrays)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Atoms of each molecule, int32 [M]."""
        return np.diff(self._offsets).astype(np.int32)

    @cached_property
    def split(self) -> np.ndarray:
        """0 train, 1 validation, 2 test, uint8 [M]."""
        return self._arrays.get("split", np.zeros(len(self), np.uint8))

    def indices(self, split: str = "all", most: int | None = None) -> np.ndarray:
        """Numbers of the molecules of ``train``, ``val``, ``test`` or ``all``, int64; at ``most`` so many, spread."""
        if split not in (*SPLITS, "all"):
            raise unknown("split", split, (*SPLITS, "all"))
        if most is not None and most < 1:
            raise UserError(f"the number of molecules to take must be at least 1, not {most}")
        index = np.arange(len(self)) if split == "all" else np.flatnonzero(self.split == SPLITS.index(split))
        return index if most is None or most >= len(index) else index[np.arange(most) * len(index) // most]

    @property
    def prop_names(self) -> tuple[str, ...]:
        return tuple(sorted(name[len(PROPERTY) :] for name in self._arrays if name.startswith(PROPERTY)))

    def props(self, name: str) -> np.ndarray:
        """The property's value of every molecule, [M]; NaN where it is not known."""
        if name not in self.prop_names:
            raise unknown("property", name, self.prop_names)
        return self._arrays[PROPERTY + name]

    def smiles(self, i: int) -> str:
        """The SMILES stored with molecule ``i``, or an empty text."""
        if "smiles" not in self._arrays:
            return ""
        i = range(len(self))[i]
        low, high = self._arrays["smiles_offsets"][i : i + 2]
        return self._arrays["smiles"][low:high].tobytes().decode()

    def all_smiles(self) -> list[str]:
        if "smiles" not in self._arrays:
            return [""] * len(self)
        text, at = self._arrays["smiles"].tobytes(), self._arrays["smiles_offsets"].tolist()
        return [text[low:high].decode() for low, high in itertools.pairwise(at)]

    @cached_property
    def checksum(self) -> str:
        """Of the content: as written, which ``verify`` compares; read off it where nobody has written one."""
        return self.meta.get("checksum") or content_checksum(self._arrays)

    @cached_property
    def elements(self) -> list[int]:
        """Atomic numbers that occur."""
        if "elements" in self.meta:
            return json.loads(self.meta["elements"])
        return sorted({number for number, _ in self.kinds()})

    @cached_property
    def bond_orders(self) -> list[int]:
        """Bond orders that occur; 4 is aromatic."""
        if "bond_orders" in self.meta:
            return json.loads(self.meta["bond_orders"])
        return list(self.bond_counts)

    @cached_property
    def kind_counts(self) -> dict[tuple[int, int], int]:
        """{(atomic number, formal charge): atoms}."""
        if "numbers" not in self._arrays:
            return {}
        atoms = len(self._arrays["numbers"])
        return _kinds(sum(self._kind_keys(slice(low, low + _CHUNK)) for low in range(0, atoms, _CHUNK)))

    def _kind_keys(self, rows: slice | np.ndarray) -> np.ndarray:
        """How many of these atoms are of each kind, by 256 times its number and 128 more than its charge."""
        charges = self._arrays["charges"][rows] if "charges" in self._arrays else 0
        return np.bincount(self._arrays["numbers"][rows].astype(np.intp) * 256 + 128 + charges, minlength=1 << 16)

    def element_counts(self, index: np.ndarray) -> tuple[list[int], np.ndarray]:
        """The elements that occur, and how many atoms of each these molecules have, [M, E]."""
        if "numbers" not in self._arrays:
            return [], np.zeros((0, 0), np.int64)
        elements = self.elements
        place = np.zeros(max(elements, default=0) + 1, np.int64)
        place[elements] = np.arange(len(elements))
        counts = np.zeros((len(index), len(elements)), np.int64)
        for low in range(0, len(index), _CHUNK // 64):
            part = index[low : low + _CHUNK // 64]
            numbers = self._arrays["numbers"][_spans(self._offsets[part], self.sizes[part])]
            owner = np.repeat(np.arange(low, low + len(part)), self.sizes[part])
            np.add.at(counts, (owner, place[numbers]), 1)
        return elements, counts

    def label_counts(self, index: np.ndarray) -> tuple[dict[tuple[int, int], int], dict[int, int]]:
        """{(atomic number, formal charge): atoms} and {bond order: bonds} of these molecules alone."""
        kinds, bonds = np.zeros(1 << 16, np.int64), np.zeros(1 << 8, np.int64)
        for low in range(0, len(index), _CHUNK // 64):
            part = index[low : low + _CHUNK // 64]
            if "numbers" in self._arrays:
                kinds += self._kind_keys(_spans(self._offsets[part], self.sizes[part]))
            if "bonds" in self._arrays:
                starts = self._arrays["bond_offsets"][part]
                rows = _spans(starts, self._arrays["bond_offsets"][part + 1] - starts)
                bonds += np.bincount(self._arrays["bonds"][rows, 2], minlength=len(bonds))
        return _kinds(kinds), {order: int(bonds[order]) for order in np.flatnonzero(bonds).tolist()}

    def kinds(self) -> list[tuple[int, int]]:
        """(atomic number, formal charge) pairs that occur."""
        return list(self.kind_counts)

    @cached_property
    def bond_counts(self) -> dict[int, int]:
        """{bond order: bonds}."""
        if "bonds" not in self._arrays:
            return {}
        counts = np.bincount(self._arrays["bonds"][:, 2])
        return {order: int(counts[order]) for order in np.flatnonzero(counts).tolist()}

    def scale(self, sample: int = 20_000) -> float:
        """Standard deviation of a coordinate of centred training molecules, over at most ``sample`` of them."""
        sizes, squares = self._spread(sample)
        return float(np.sqrt(squares.sum() / (sizes.sum() * self.dim)))

    def scale_law(self, sample: int = 20_000) -> tuple[float, float]:
        """(a, b) of a coordinate's standard deviation a N^b in molecules of N atoms, fitted to its logarithm."""
        sizes, squares = self._spread(sample)
        kinds, which, counts = np.unique(sizes, return_inverse=True, return_counts=True)
        squares = np.bincount(which, squares) / (counts * kinds * self.dim)
        apart = (kinds > 1) & (squares > 0)
        if apart.sum() < 2:  # of one size nothing is learnt about others
            return self.scale(sample), 0.0
        b, log_a = np.polyfit(np.log(kinds[apart]), np.log(squares[apart]) / 2, 1, w=np.sqrt(counts[apart]))
        return float(np.exp(log_a)), float(b)

    def _spread(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Atoms and sum of squared coordinates, once centred, of training molecules; [M] each."""
        index = self.indices("train", sample)
        index = index if len(index) else self.indices("all", sample)
        sizes, rows = self.sizes[index], _spans(self._offsets[index], self.sizes[index])
        pos = self._arrays["positions"][rows].astype(np.float64)  # [atoms, D]
        starts = np.cumsum(sizes) - sizes
        if (sizes > 1).any():  # a cloud of one point is its own centre: such sets are centred as a whole
            mean = np.add.reduceat(pos, starts) / sizes[:, None]
            pos -= np.repeat(mean, sizes, axis=0)
        else:
            pos -= pos.mean(0)
        return sizes, np.add.reduceat((pos**2).sum(1), starts)

    def verify(self) -> None:
        """Read everything: the content fits the checksum, where there is one, and every molecule can be."""
        found = content_checksum(self._arrays)
        if self.meta.get("checksum", found) != found:
            raise UserError(f"{self.path} is damaged: its content has checksum {found}, not {self.checksum}")
        bond_offsets = self._arrays.get("bond_offsets", np.zeros(len(self) + 1, np.int64))
        for low in range(0, len(self), _CHUNK // 16):
            high = min(low + _CHUNK // 16, len(self))
            atoms, bonds = (slice(*offsets[[low, high]]) for offsets in (self._offsets, bond_offsets))
            columns = {n: self._arrays[n][atoms] for n in ("positions", "numbers", "charges") if n in self._arrays}
            columns |= {"bonds": self._arrays["bonds"][bonds]} if "bonds" in self._arrays else {}
            counts = np.diff(bond_offsets[low : high + 1])
            try:
                check_molecules(self.sizes[low:high], columns, counts, self.split[low:high], first=low)
            except UserError as error:
                raise UserError(f"{self.path} is damaged: {error}") from None

    # -- batches

    def batch(
        self, index: Sequence[int] | np.ndarray, pad_to: int | None = None, fields: Sequence[str] | None = None
    ) -> Batch:
        """The molecules at ``index`` side by side, padded to the largest of them or to ``pad_to``.

        ``fields`` names those wanted among ``pos atom charge bond`` and the properties; None takes all there are.
        """
        index = np.asarray(index)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"no molecule {index.max() if index.max() >= len(self) else index.min()} in {self}")
        if fields is None:
            fields = (*self.fields, *self.prop_names)
        elif missing := set(fields) - {*self.fields, *self.prop_names}:
            raise unknown(f"field of {self.path.name}", min(missing), (*self.fields, *self.prop_names))
        sizes = self.sizes[index]  # [B]
        n = int(sizes.max(initial=0))
        if pad_to is not None:
            if pad_to < n:
                raise ValueError(f"a molecule has {n} atoms, more than {pad_to}")
            n = pad_to
        slots = np.arange(n)
        mask = slots < sizes[:, None]  # [B, N]
        rows = self._offsets[index][:, None] + slots  # [B, N]
        outside = None if mask.all() else ~mask
        if outside is not None:
            rows[outside] = 0

        def gather(column: str, dtype: type) -> Tensor:
            dense = self._arrays[column].take(rows, axis=0).astype(dtype, copy=False)
            if outside is not None:
                dense[outside] = 0
            return torch.from_numpy(dense)

        return Batch(
            pos=gather("positions", np.float32),
            mask=torch.from_numpy(mask),
            atom=gather("numbers", np.int64) if "atom" in fields else None,
            charge=gather("charges", np.int64) if "charge" in fields else None,
            bond=self._bonds(index, n) if "bond" in fields else None,
            props={
                name: torch.from_numpy(self.props(name)[index].astype(np.float32))
                for name in self.prop_names
                if name in fields
            },
        )

    def _bonds(self, index: np.ndarray, n: int) -> Tensor:
        """Symmetric matrices of bond orders, [B, N, N]."""
        starts = self._arrays["bond_offsets"][index]
        counts = self._arrays["bond_offsets"][index + 1] - starts
        i, j, order = self._arrays["bonds"].take(_spans(starts, counts), axis=0).T.astype(np.int64)
        first = np.repeat(np.arange(len(index)) * (n * n), counts)
        dense = np.zeros(len(index) * n * n, np.int64)
        dense[first + i * n + j] = order
        dense[first + j * n + i] = order
        return torch.from_numpy(dense.reshape(len(index), n, n))


def _kinds(counts: np.ndarray | int) -> dict[tuple[int, int], int]:
    """{(atomic number, formal charge): atoms}, of counts by their keys."""
    return {(key // 256, key % 256 - 128): int(counts[key]) for key in np.flatnonzero(counts).tolist()}  # type: ignore


def _spans(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """start, start + 1, ..., start + count - 1 for each, one after another."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))
