"""A score as markup: the table with intervals, distributions against the reference, failures by reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from molflow.metrics.distributions import observed
from molflow.metrics.molecules import Molecules
from molflow.metrics.rate import Rate
from molflow.metrics.report import Report
from molflow.metrics.shard import protocol
from molflow.viewer.document import text
from molflow.viewer.plots import histogram

_METRICS = {
    "molecule_stable": "molecules stable",
    "valid": "valid",
    "connected": "connected",
    "unique": "unique",
    "novel": "novel",
    "valid_unique": "valid and unique",
    "complete": "valid, one piece",
    "atom_stable": "atoms stable",
}
_TYPES = 4  # histograms of a kind, the commonest types first
_KINDS = {
    "size": "atoms",
    "rings": "rings",
    "bond": "length, angstrom",
    "angle": "angle, degrees",
    "torsion": "torsion, degrees",
}


def table(report: Report) -> str:
    """A row a metric, a column a protocol; each share with its 95 % interval and what it counts."""
    shown = {name: scored for name, scored in report.protocols.items() if not scored.inapplicable}
    if not shown:
        why = "; ".join(f"{name}: {scored.inapplicable}" for name, scored in report.protocols.items())
        return f"<p>No protocol applies. {text(why)}</p>"
    heads = "".join(f'<th scope="col" title="{text(protocol(name).summary)}">{text(name)}</th>' for name in shown)
    lines = [f'<table class="score"><thead><tr><td></td>{heads}</tr></thead><tbody>']
    for metric, label in _METRICS.items():
        rates = {name: scored.rates.get(metric) for name, scored in shown.items()}
        if any(rate is not None and rate.value is not None for rate in rates.values()):
            cells = "".join(f'<td data-label="{text(name)}">{_cell(rate)}</td>' for name, rate in rates.items())
            lines.append(f'<tr><th scope="row">{text(label)}</th>{cells}</tr>')
    lines.append("</tbody></table>")
    meanings = "".join(f"<dt>{text(name)}</dt><dd>{text(protocol(name).summary)}</dd>" for name in shown)
    lines.append(
        "<p class='note'>Percent, with Wilson's 95 % interval and the count. Shares are of all molecules, failed ones "
        "too; but atoms stable: of all atoms, unique: of the valid, novel: of the unique (in jodo: of all).</p>"
        f"<details><summary>What the protocols count</summary><dl>{meanings}</dl></details>"
    )
    return "\n".join(lines)


def _cell(rate: Rate | None) -> str:
    if rate is None or rate.value is None or rate.ci95 is None or not rate.of:
        return "<span class='none'>–</span>"
    low, high = rate.ci95
    return (
        f"<b>{100 * rate.value:.1f}</b> <span class='ci'>{100 * low:.1f}–{100 * high:.1f}</span> "
        f"<span class='count'>{rate.count:,} of {rate.of:,}</span>"
    )


def distributions(sample: Molecules, training: Molecules | None, section: Mapping[str, Any]) -> str:
    """Histograms of sizes, rings, and the commonest bonds, angles and torsions."""
    ours = observed(sample)
    theirs = observed(training) if training is not None else {}
    lines = ['<div class="plots">']
    for kind, label in _KINDS.items():
        found = ours.get(kind, {})
        base = theirs.get(kind) or found
        names = sorted((name for name in base if name in found), key=lambda name: -len(base[name]))[:_TYPES]
        for name in names:
            values, beside = found[name], theirs.get(kind, {}).get(name)
            if len(values) < 2:
                continue
            title = kind if kind in ("size", "rings") else f"{kind} {name}"
            plot = histogram(np.asarray(values, float), beside, label, whole=kind in ("size", "rings"))
            lines.append(f"<figure><figcaption>{text(title)}</figcaption>{plot}</figure>")
    lines.append("</div>")
    far = "".join(_distances(section))
    if far:
        lines.append(
            '<table class="plain"><thead><tr><td></td><th scope="col">Wasserstein distance</th>'
            f'<th scope="col">floor</th><th scope="col">unit</th></tr></thead><tbody>{far}</tbody></table>'
            "<p class='note'>Floor: the distance of held-out molecules, or another part of the training set, to the "
            "training molecules: below it there is nothing to win.</p>"
        )
    return "\n".join(lines)


def _distances(section: Mapping[str, Any]) -> Iterator[str]:
    for kind, entry in section.items():
        if isinstance(entry, Mapping) and entry.get("distance") is not None:
            floor = "–" if entry.get("floor") is None else f"{entry['floor']:.3g}"
            unit = "" if entry["unit"] == "1" else entry["unit"]
            yield (
                f'<tr><th scope="row">{text(kind)}</th><td data-label="distance">{entry["distance"]:.3g}</td>'
                f'<td data-label="floor">{floor}</td><td data-label="unit">{text(unit)}</td></tr>'
            )
