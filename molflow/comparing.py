"""Scores side by side: what one set of molecules has more than another, and whether chance alone would do that."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any

from molflow.batch import Batch
from molflow.build import UserError
from molflow.data.store import Store
from molflow.evaluate import Given, score
from molflow.metrics.internal import KINDS
from molflow.metrics.rate import Rate
from molflow.metrics.report import Report

PROTOCOLS = ("edm", "strict")
ALIKE = 0.05  # of the number of molecules: sets that differ by more are not alike in what hangs on it
_NUMBER = 8  # columns of a figure
# no interval of a difference: atoms of one molecule are not drawn apart from one another, and how many are unique or
# novel hangs on how many are valid
_NO_INTERVAL = ("atom_stable", "unique", "novel")


def compare(
    molecules: Mapping[str, Given | Report],
    reference: Given | None = None,
    protocols: str | Sequence[str] | None = None,
    tier: str | Sequence[str] = "fast",
    **options: Any,
) -> Comparison:
    """Score sets of molecules, by name, and hold the others against the first; ``options`` are those of ``score``.

    >>> import molflow
    >>> flow = molflow.load("small")
    >>> found = compare({"short": flow.sample(20, steps=5), "long": flow.sample(20, steps=20)}, tier="protocols")
    >>> found.rates["strict", "valid"][0].of
    20
    """
    if not isinstance(molecules, Mapping):
        raise UserError('sets of molecules come by name: {"one": ..., "other": ...}')
    if len(molecules) < 2:
        raise UserError(f"there must be at least two sets to compare, not {len(molecules)}")
    if not (reference is None or isinstance(reference, (str, os.PathLike, Batch, Store))):
        reference = list(reference)  # type: ignore[assignment]  # read once for each set
    reports = {
        name: given if isinstance(given, Report) else score(given, reference, protocols or PROTOCOLS, tier, **options)
        for name, given in molecules.items()
    }
    found = Comparison(reports)
    for name, report in reports.items():
        if not report.n:
            raise UserError(f"no molecules in {name}: empty")
    if not found.rates:
        whys = "; ".join(f"{protocol}: {why}" for protocol, why in found.left_out.items())
        raise UserError(f"no protocol applies to all of them ({whys}); choose others")
    if len({(report.seed, report.reference) for report in reports.values()}) > 1:
        raise UserError("reports compare where seed and reference are the same: score them alike")
    return found


@dataclass(frozen=True)
class Difference:
    """Of two shares, with Newcombe's 95 % interval (1998, his method 10), which is made of their Wilson intervals.

    >>> Difference.of(Rate(56, 70), Rate(48, 80))
    Difference(-20.0 points, from -33.4 to -5.2)
    """

    value: float
    ci95: tuple[float, float]

    @classmethod
    def of(cls, first: Rate, second: Rate) -> Difference | None:
        """What the second has more than the first; None where one was not measured."""
        if first.value is None or second.value is None or first.ci95 is None or second.ci95 is None:
            return None
        p, q, value = first.value, second.value, second.value - first.value
        low = value - hypot(q - second.ci95[0], first.ci95[1] - p)
        return cls(value, (low, value + hypot(second.ci95[1] - q, p - first.ci95[0])))

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.ci95[0] <= 0 <= self.ci95[1]

    def __repr__(self) -> str:
        low, high = (f"{100 * end:+.1f}" for end in self.ci95)
        return f"Difference({100 * self.value:+.1f} points, from {low} to {high})"


@dataclass(frozen=True)
class Comparison:
    """Reports by name, the first of which the others are held against."""

    reports: Mapping[str, Report]

    @property
    def rates(self) -> dict[tuple[str, str], list[Rate]]:
        """{(protocol, rate): of each report}, of the protocols that apply to all."""
        each = [report.protocols for report in self.reports.values()]
        shared = [name for name in each[0] if all(name in found and not found[name].inapplicable for found in each)]
        return {
            (name, rate): [found[name].rates[rate] for found in each] for name in shared for rate in each[0][name].rates
        }

    @property
    def left_out(self) -> dict[str, str]:
        """{protocol: of which report it does not tell, and why}."""
        found: dict[str, str] = {}
        for name, report in self.reports.items():
            for protocol, scored in report.protocols.items():
                if scored.inapplicable:
                    found.setdefault(protocol, f"{scored.inapplicable} ({name})")
        for protocol in {protocol for report in self.reports.values() for protocol in report.protocols}:
            for name, report in self.reports.items():
                if protocol not in report.protocols:
                    found.setdefault(protocol, f"not asked of {name}")
        return dict(sorted(found.items()))

    @property
    def figures(self) -> dict[str, list[float | None]]:
        """Other figures that are measured of all: distances over their floors, energies above the nearest minimum."""
        each = [_figures(report.sections) for report in self.reports.values()]
        return {name: [found[name] for found in each] for name in each[0] if all(name in found for found in each)}

    @property
    def warnings(self) -> list[str]:
        counts = {name: report.n for name, report in self.reports.items()}
        out = [f"{name}: {text}" for name, report in self.reports.items() for text in report.warnings]
        out += [f"{protocol} is left out: {why}" for protocol, why in self.left_out.items()]
        if max(counts.values()) > (1 + ALIKE) * min(counts.values()):
            told = ", ".join(f"{name} {n:,}" for name, n in counts.items())
            out.append(f"the sets differ in number ({told}), and of more molecules fewer are unique and distances fall")
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts: every report whole, and the differences to the first."""
        names = [*self.reports]
        differences: dict[str, Any] = {name: {} for name in names[1:]}
        for (protocol, rate), rates in self.rates.items():
            for name, other in zip(names[1:], rates[1:]):
                if rate not in _NO_INTERVAL and (found := Difference.of(rates[0], other)):
                    differences[name].setdefault(protocol, {})[rate] = {"value": found.value, "ci95": list(found.ci95)}
        reports = {name: report.to_dict() for name, report in self.reports.items()}
        return {"first": names[0], "differences": differences, "warnings": self.warnings, "reports": reports}

    def table(self) -> str:
        """A row a figure; a star where chance alone would rarely make the difference."""
        names = [*self.reports]
        keys = {f"{chr(97 + k)}": name for k, name in enumerate(names)}
        wide = max(len(f"{protocol} {rate}") for protocol, rate in [*self.rates, ("", "molecules")]) + 1
        lines = [f"{key}: {name}" for key, name in keys.items()] + [""]
        heads = [f"{key:>{_NUMBER}}" for key in keys] + [f"{f'{key} - a (95 %)':>26}" for key in [*keys][1:]]
        lines.append("%".ljust(wide) + "".join(heads))
        lines.append("molecules".ljust(wide) + "".join(f"{report.n:>{_NUMBER},}" for report in self.reports.values()))
        for (protocol, rate), rates in self.rates.items():
            cells = [f"{'-' if each.value is None else f'{100 * each.value:.2f}':>{_NUMBER}}" for each in rates]
            apart = [None if rate in _NO_INTERVAL else Difference.of(rates[0], other) for other in rates[1:]]
            gaps = [f"{_told(found):>26}" for found in apart]
            if any(each.value is not None for each in rates):
                lines.append((f"{protocol} {rate}".ljust(wide) + "".join(cells + gaps)).rstrip())
        for name, values in self.figures.items():
            shown = "".join(f"{'-' if value is None else f'{value:.3g}':>{_NUMBER}}" for value in values)
            lines.append(name.ljust(wide) + shown)
        lines += ["", "*: chance alone would rarely make this difference (its 95 % interval leaves out 0)"]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.reports)}; table() tells all)"


def _told(found: Difference | None) -> str:
    if found is None:
        return ""
    low, high = (f"{100 * end:+.1f}" for end in found.ci95)
    return f"{100 * found.value:+.1f} ({low} to {high}){'*' if found.beyond_chance else ' '}"


def _figures(sections: Mapping[str, Any]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    distances = sections.get("distributions", {})
    for kind in KINDS:
        part = distances.get(kind, {})
        if part.get("distance") is not None and part.get("floor"):
            found[f"{kind}s / floor"] = part["distance"] / part["floor"]
    for method, part in sections.get("energy", {}).items():
        if "energy_drop" in part:
            found[f"{method}, kcal/mol"] = getattr(part["energy_drop"], "median", None)
    return found
