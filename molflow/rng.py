"""Random numbers as a pure function of (seed, molecule, draw, index): no state to save, no order to respect.

A generator with a state gives molecule 7 other noise when molecule 6 is skipped, padded or computed on another worker.
Here every number is a hash of where it is used, so that a molecule's noise is the same alone, in a batch, beside
padding, on any device and after a resume.  The hash is the finaliser of SplitMix64 (Steele, Lea & Flood 2014).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_AXES = (0xD1342543DE82EF95, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3)  # odd: one per axis


def _signed(x: int) -> int:
    x &= _MASK
    return x - (1 << 64) if x >> 63 else x


def _hash_int(x: int) -> int:
    x = ((x ^ (x >> 30)) * _MIX[0]) & _MASK
    x = ((x ^ (x >> 27)) * _MIX[1]) & _MASK
    return x ^ (x >> 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """A logical shift: int64's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _hash(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _signed(_MIX[0])
    x = (x ^ _shift(x, 27)) * _signed(_MIX[1])
    return x ^ _shift(x, 31)


def _unit(bits: Tensor) -> Tensor:
    """The upper 23 bits as the middle of a cell of (0, 1): one bit more and the last cell would round to 1."""
    return (_shift(bits, 41).float() + 0.5) * 2.0**-23


def seed_of(*path: int) -> int:
    """One 64-bit seed for a place in the work, such as ``seed_of(seed, epoch, step)``."""
    state = 0
    for part in path:
        state = _hash_int((state + _GOLDEN + part) & _MASK)
    return state


def numpy_generator(*path: int) -> np.random.Generator:
    """A numpy generator for work on the host: shuffles, splits, subsets."""
    return np.random.default_rng(np.random.SeedSequence([part & _MASK for part in path]))


class Rng:
    """A stream of random tensors for B molecules, each with its own key.

    ``ids`` are the molecules' numbers in the whole job; equal (seed, id, draw) give equal numbers. What is drawn for
    all of them at once goes by ``together``, which is the seed unless given.

    >>> import torch
    >>> alone, together = Rng(0, torch.tensor([7])), Rng(0, torch.arange(10))
    >>> bool((alone.normal(4, 3)[0] == together.normal(9, 3)[7, :4]).all())
    True
    """

    def __init__(self, seed: int, ids: Tensor, together: int | None = None):
        self.seed = seed if together is None else together
        self.keys = _hash(ids.long() * _signed(_GOLDEN) + _signed(_hash_int(seed & _MASK)))  # [B]
        self.draw = 0

    @classmethod
    def of(cls, seed: int, n: int, device: str | None = None) -> Rng:
        """The stream of molecules 0 .. n - 1."""
        import torch

        return cls(seed, torch.arange(n, device=device))

    def apart(self, stream: int) -> Rng:
        """Another stream for the same molecules; this one goes on as if nothing had been drawn."""
        other = Rng.__new__(Rng)
        other.seed, other.draw = seed_of(self.seed, stream), 0
        other.keys = _hash(self.keys ^ _signed(_hash_int(stream)))
        return other

    def _bits(self, *shape: int) -> Tensor:
        """64 random bits for each entry of [B, *shape]; an entry's bits do not depend on the extent of the axes."""
        import torch

        self.draw += 1
        bits = self.keys ^ _signed(_hash_int(self.draw * _GOLDEN))
        for axis, extent in enumerate(shape):
            index = torch.arange(extent, device=bits.device) * _signed(_AXES[axis])
            bits = bits.unsqueeze(-1) + index
        return _hash(bits)

    def uniform(self, *shape: int) -> Tensor:
        """float32 in (0, 1), shape [B, *shape]."""
        return _unit(self._bits(*shape))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, shape [B, *shape], by Box and Muller from the two halves of one hash."""
        bits = self._bits(*shape)
        u = _unit(bits)
        angle = ((bits & 0xFFFFFF).float() + 0.5) * (2.0**-24 * 2 * math.pi)
        return (-2 * u.log()).sqrt() * angle.cos()

    def scalar(self) -> float:
        """One number in [0, 1) for the whole batch, made on the host: no device synchronisation."""
        self.draw += 1
        return (_hash_int(self.seed * 3 + _hash_int(self.draw * _GOLDEN)) >> 11) * 2.0**-53

    def generator(self) -> np.random.Generator:
        """A numpy generator for the whole batch: for couplings that draw on the host."""
        self.draw += 1
        return numpy_generator(self.seed, self.draw)
