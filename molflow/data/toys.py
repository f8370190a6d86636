"""Point clouds with a known shape, to learn and to test on: the same file, loader and training, without labels."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from molflow.build import UserError, find
from molflow.data import TOYS
from molflow.data.sizes import Sizes
from molflow.data.store import Store, StoreWriter
from molflow.rng import numpy_generator

MOST = 10**9  # clouds of a file


def moons(rng: np.random.Generator, n: int) -> np.ndarray:
    """Two interlocked crescents in the plane, half circles of radius 1, [n, 2]."""
    angle, lower = rng.uniform(0, np.pi, n), rng.integers(0, 2, n) == 1
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle)) - 0.5
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle)) - 0.25
    return np.stack([x, y], 1) + rng.normal(0, 0.05, (n, 2))


def rings(rng: np.random.Generator, n: int) -> np.ndarray:
    """Three circles of radius 1, 2 and 3 about the origin, each with points by its length, [n, 2]."""
    radius = rng.choice([1.0, 2.0, 3.0], n, p=[1 / 6, 2 / 6, 3 / 6]) + rng.normal(0, 0.05, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def swiss_roll(rng: np.random.Generator, n: int) -> np.ndarray:
    """A rolled sheet, (t cos t, h, t sin t) / 5 with 1.5 pi < t < 4.5 pi, [n, 3]."""
    t, height = 1.5 * np.pi * (1 + 2 * rng.uniform(size=n)), rng.uniform(-10, 10, n)
    return np.stack([t * np.cos(t), height, t * np.sin(t)], 1) / 5 + rng.normal(0, 0.05, (n, 3))


def swiss_roll_2d(rng: np.random.Generator, n: int) -> np.ndarray:
    """The rolled sheet seen along its axis, a spiral, [n, 2]."""
    return swiss_roll(rng, n)[:, [0, 2]]


def gaussians(rng: np.random.Generator, n: int) -> np.ndarray:
    """Eight Gaussians of width 0.2 on a circle of radius 2, [n, 2]."""
    angle = rng.integers(0, 8, n) * (np.pi / 4)
    return 2 * np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(0, 0.2, (n, 2))


def make_toy(
    path: str | os.PathLike[str],
    name: str,
    n: int = 10_000,
    points: int | str = 1,
    seed: int = 0,
    overwrite: bool = False,
) -> Store:
    """A data file of ``n`` clouds from the shape ``name``.

    With ``points=1`` a cloud is one draw from the shape, which a model then learns as a density in the plane. With
    more, a cloud is that many draws (``"20-40"``: of each such size), and a model learns to make whole shapes.
    """
    generator = find("toy", TOYS, name)
    if not 1 <= n <= MOST:
        raise UserError(f"n: expected from 1 to {MOST:,} clouds, not {n}")
    rng = numpy_generator(seed)
    sizes = Sizes.of([1]).asked(points, "points").sample(n, rng)
    positions = generator(rng, int(sizes.sum()))
    return _write(path, positions, sizes, f"toy {name}, points {points}, seed {seed}", seed, overwrite)


def import_clouds(
    path: str | os.PathLike[str],
    given: str | os.PathLike[str],
    points: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Store:
    """A data file from an array of clouds [M, N, D], or of single points [M, D] of which each ``points`` make a cloud.

    An ``.npz`` file holds one array; or ``positions`` [A, D] with ``offsets`` [M + 1], for clouds of several sizes.
    """
    given = Path(given)
    try:
        loaded = np.load(given, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise UserError(f"{given}: no such file") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        why = "" if "pickle" in str(error) else f" ({error})"  # numpy would advise to load it unsafely
        raise UserError(f"{given} is not an array as numpy.save or numpy.savez writes it{why}") from None
    source = f"clouds of {given.name}"
    ragged = {"positions", "offsets"} <= arrays.keys()
    if not ragged and len(arrays) != 1:
        raise UserError(f"{given} holds {', '.join(arrays)}: keep one array, or name them positions and offsets")
    array = next(iter(arrays.values()))
    if points is not None and (ragged or array.ndim != 2):
        raise UserError(f"points: {given} holds whole clouds, which are taken as they are; leave it out")
    if ragged:
        positions, sizes = _ragged(given, arrays["positions"], arrays["offsets"])
        return _write(path, positions, sizes, source, seed, overwrite)
    if array.ndim == 2:
        each = 1 if points is None else points
        if each < 1 or len(array) < each:
            raise UserError(f"points: {len(array)} points make no cloud of {each}")
        if len(array) % each:
            clouds, over = divmod(len(array), each)
            raise UserError(
                f"points: {len(array)} points make {clouds} clouds of {each} and leave {over} over: take those out of "
                "the file, or choose another number"
            )
        array = array.reshape(-1, each, array.shape[1])
    if array.ndim != 3 or not array.size or not _is_real(array):
        raise UserError(f"{given} is {array.dtype} {list(array.shape)}: expected numbers, [clouds, points, dimensions]")
    sizes = np.full(array.shape[0], array.shape[1])
    return _write(path, array.reshape(-1, array.shape[2]), sizes, source, seed, overwrite)


def _is_real(array: np.ndarray) -> bool:
    return np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)


def _ragged(given: Path, positions: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [A, D] and the sizes [M] of their clouds."""
    if positions.ndim != 2 or not _is_real(positions):
        found = f"{positions.dtype} {list(positions.shape)}"
        raise UserError(f"{given}: positions is {found}: expected numbers, [points, dimensions]")
    if offsets.ndim != 1 or not np.issubdtype(offsets.dtype, np.integer):
        found = f"{offsets.dtype} {list(offsets.shape)}"
        raise UserError(f"{given}: offsets is {found}: expected whole numbers, [clouds + 1]")
    if len(offsets) < 2 or (offsets[0], offsets[-1]) != (0, len(positions)):
        raise UserError(f"{given}: offsets do not go from 0 to {len(positions)}, the number of its positions")
    return positions, np.diff(offsets.astype(np.int64))


def _write(path, positions: np.ndarray, sizes: np.ndarray, source: str, seed: int, overwrite: bool) -> Store:
    """Eight tenths train, a tenth each for validation and test."""
    split = numpy_generator(seed, 1).permutation(np.arange(len(sizes)) * 10 // max(1, len(sizes)))
    with StoreWriter(path, source=source, overwrite=overwrite) as out:
        out.add_arrays(positions, sizes, split=np.maximum(split, 7) - 7)
    return Store(path)
