"""Time grids: n steps from 0 to 1. Where the steps are short is where the flow bends: near the data."""

from __future__ import annotations

import math
from collections.abc import Callable

from molflow.build import UserError, unknown

GRIDS: dict[str, Callable[[float], float]] = {
    "linear": lambda u: u,
    "quadratic": lambda u: 1 - (1 - u) ** 2,
    "linear_quadratic": lambda u: 4 / 3 * u if u <= 0.5 else 1 - 4 / 3 * (1 - u) ** 2,  # even to 2/3, then quadratic
    "sine": lambda u: math.sin(u * math.pi / 2),
    "cosine": lambda u: (1 - math.cos(u * math.pi)) / 2,  # short at both ends
    "log": lambda u: (1 - 0.01**u) / (1 - 0.01),  # 0.01 + 0.99 (1 - t) falls by equal factors
    "arcsin": lambda u: 1 / (1 + noise_to_data(math.asin(u**0.5) * 2 / math.pi)),  # even in log noise but at its ends
}


def noise_to_data(q: float) -> float:
    """(1 - t) / t, by equal factors from 20 to 0.01."""
    return 20 * 0.0005**q


LEARNED = "learned"  # the model's own, stored with it by `molflow tune`


def grid(name: str, steps: int) -> list[float]:
    """The ``steps + 1`` times of a grid.

    >>> grid("quadratic", 2)
    [0.0, 0.75, 1.0]
    """
    if name not in GRIDS:
        raise unknown("time grid", name, GRIDS)
    if steps < 1:
        raise UserError(f"steps must be at least 1, not {steps}")
    return [0.0, *(GRIDS[name](k / steps) for k in range(1, steps)), 1.0]


def rest(name: str, steps: int, start: float) -> list[float]:
    """A grid over what is left of the time from ``start``.

    >>> rest("quadratic", 2, 0.5)
    [0.5, 0.875, 1.0]
    """
    return [1 - (1 - start) * (1 - t) for t in grid(name, steps)]
