"""A mean over what could be measured, with how many that were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from statistics import fmean, median, pstdev


@dataclass(frozen=True)
class Mean:
    """Of ``measured`` among ``of``; those without a figure are counted by reason, never taken for a value.

    >>> Mean.of_values([1.0, 2.0, 6.0], 4, {"no_parameters": 1})
    Mean(3, median 2, of 3 of 4)
    """

    mean: float | None
    median: float | None
    sd: float | None
    measured: int
    of: int
    unmeasured: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_values(cls, values: Iterable[float], of: int, unmeasured: Mapping[str, int] | None = None) -> Mean:
        """From the values measured; one that is not finite counts as ``non_finite``."""
        given = [float(value) for value in values]
        kept = [value for value in given if isfinite(value)]
        reasons = Counter(unmeasured or {}) + Counter({"non_finite": len(given) - len(kept)})
        if not kept:
            return cls(None, None, None, 0, of, dict(reasons))
        return cls(fmean(kept), median(kept), pstdev(kept), len(kept), of, dict(reasons))

    def to_dict(self) -> dict:
        return {
            "mean": self.mean,
            "median": self.median,
            "sd": self.sd,
            "measured": self.measured,
            "of": self.of,
            "unmeasured": dict(self.unmeasured),
        }

    def __repr__(self) -> str:
        if self.mean is None:
            return f"Mean(nothing measured, of {self.of})"
        return f"Mean({self.mean:.6g}, median {self.median:.6g}, of {self.measured} of {self.of})"
