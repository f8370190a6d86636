"""A share of a count, with what it was divided by and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

_Z = 1.959963984540054  # two-sided 95 % of the normal distribution


@dataclass(frozen=True)
class Rate:
    """``count`` of ``of``, with Wilson's 95 % interval (Wilson 1927).

    (p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), p = count/of, n = of, z = 1.96.

    Nothing of nothing is 0, with the interval [0, 1]. ``note`` says why a rate was not measured.

    >>> Rate(9, 10)
    Rate(90.0 %, 9 of 10)
    >>> [round(x, 3) for x in Rate(9, 10).ci95]
    [0.596, 0.982]
    """

    count: int
    of: int
    note: str = ""

    @property
    def value(self) -> float | None:
        """The share in [0, 1]; None if it was not measured."""
        if self.note:
            return None
        return self.count / self.of if self.of else 0.0

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Wilson's interval; that molecules are independent draws is, for unique and novel, a convention."""
        if self.note:
            return None
        if not self.of:
            return 0.0, 1.0
        n, p = self.of, self.count / self.of
        middle, half = p + _Z**2 / (2 * n), _Z * sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        scale = 1 + _Z**2 / n
        low, high = (middle - half) / scale, (middle + half) / scale
        return (0.0 if self.count == 0 else max(0.0, low)), (1.0 if self.count == n else min(1.0, high))

    def to_dict(self) -> dict:
        if self.note:
            return {"count": None, "of": None, "value": None, "ci95": None, "not_measured": self.note}
        return {"count": self.count, "of": self.of, "value": self.value, "ci95": list(self.ci95 or ())}

    def __repr__(self) -> str:
        if self.value is None:
            return f"Rate(not measured: {self.note})"
        return f"Rate({100 * self.value:.1f} %, {self.count} of {self.of})"
