"""Molecules as one page: the map and the 3D viewer, the score, distributions, failures, where they come from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.io import names_of
from molflow.data.store import Store
from molflow.evaluate import Given, score
from molflow.metrics.keys import KeySet
from molflow.metrics.measurement import How
from molflow.metrics.report import Report
from molflow.viewer import chemiscope, provenance
from molflow.viewer.document import Page, static, text
from molflow.viewer.figures import NEIGHBOURS, figures
from molflow.viewer.gather import Gathered, chosen, gather
from molflow.viewer.reference import training
from molflow.viewer.score import distributions, table
from molflow.viewer.structure import drawing, raw_mols, smiles_of, structures

MOST = 500  # molecules on a page
EXAMPLES = 6  # drawings for each reason of failure
_LICENCES = "<details><summary>chemiscope and the libraries in it</summary><pre>{}</pre></details>"


def report_page(
    molecules: Given,
    reference: Given | None = None,
    *,
    limit: int = MOST,
    seed: int = 0,
    tier: Sequence[str] = ("fast",),
    perceive: bool = False,
    strain: bool = True,
    workers: int = 0,
    progress: bool = False,
) -> Page:
    """Everything a score of the molecules finds, and up to ``limit`` of them, drawn with the seed, to look at.

    ``strain`` relaxes each of those by MMFF94s.
    """
    if limit < 1:
        raise UserError(f"the number of molecules on the page must be at least 1, not {limit}")
    if not isinstance(molecules, (str, os.PathLike, Batch, Store)):
        molecules = list(molecules)  # type: ignore[assignment]
    found = score(molecules, reference, tier=tier, perceive=perceive, seed=seed, workers=workers, progress=progress)
    if not found.n:
        raise UserError(f"{_name(molecules)}: no molecules in it")
    judge = found.judge
    reasons = {row["index"]: row["reason"] for row in found.rows() if row["protocol"] == judge}
    picked = chosen(found.n, limit, seed)
    gathered = gather(molecules, sorted({*picked, *_examples(reasons)}), perceive)
    base = None if reference is None else training(reference, seed, NEIGHBOURS)

    shapes, mols = structures(gathered.molecules), raw_mols(gathered.molecules)
    on_page = set(picked)
    shown = [k for k, number in enumerate(gathered.index) if number in on_page and shapes[k] is not None]
    if not shown:
        raise UserError(f"{_name(molecules)}: no molecule has coordinates to draw; `molflow score` judges them")
    part = Gathered(
        [gathered.index[k] for k in shown],
        gathered.molecules[shown],
        [gathered.titles[k] for k in shown],
        [gathered.props[k] for k in shown],
    )
    how = How(workers, progress=progress)
    keys = found.training.get(judge)
    known = keys if isinstance(keys, KeySet) else None
    columns = figures(part, judge, known, base.smiles if base else (), how if strain else None)
    entries = [
        {"index": number, "title": title, "smiles": smiles_of(mols[k]), "reason": reasons.get(number, "")}
        for k, number, title in zip(shown, part.index, part.titles)
    ]
    data = {
        "molecules": entries,
        "judge": judge,
        "figures": [{"name": f.name, "unit": f.unit, "about": f.about, "values": f.values} for f in columns],
        "dataset": chemiscope.dataset([s for k in shown if (s := shapes[k])], columns),
    }
    body = [
        _head(molecules, found, judge),
        _explorer(found.n, len(shown), len(picked), limit, seed),
        _section("Score", table(found)),
        _section("Distributions", _distributions(found, base)),
        _section("Failures", _failures(reasons, gathered, mols, judge)),
        _section("Molecules", '<div id="list"></div>'),
        _section("Where it comes from", provenance.of_report(molecules, found, reference, limit)),
        _section("Licences", _LICENCES.format(text(chemiscope.notice()))),
    ]
    return Page(
        f"{_name(molecules)} – molflow",
        body=["<main>", *body, "</main>"],
        data={"data": data},
        scripts=[chemiscope.script(), static("report.js")],
        styled_by_scripts=True,
    )


def _name(molecules: Any) -> str:
    return ", ".join(Path(path).name for path in names_of(molecules)) or "molecules"


def _examples(reasons: dict[int, str]) -> list[int]:
    """The first few molecules of each reason."""
    count: Counter[str] = Counter()
    out = []
    for number, reason in reasons.items():
        if reason and count[reason] < EXAMPLES:
            count[reason] += 1
            out.append(number)
    return out


def _section(title: str, markup: str) -> str:
    return f"<section><h2>{text(title)}</h2>\n{markup}\n</section>"


def _head(molecules: Given, report: Report, judge: str) -> str:
    facts = [f"{report.n:,} molecules"]
    scored = report.protocols.get(judge)
    if scored is not None and not scored.inapplicable:
        for name, label in (("valid", "valid"), ("unique", "unique"), ("novel", "novel")):
            rate = scored.rates.get(name)
            if rate is not None and rate.value is not None:
                facts.append(f"{100 * rate.value:.1f} % {label}")
        facts.append(f"by the protocol {judge}")
    warnings = "".join(f'<p class="warning">{text(warning)}</p>' for warning in report.warnings)
    return f"<header><h1>{text(_name(molecules))}</h1><p>{text(', '.join(facts))}</p>{warnings}</header>"


def _explorer(n: int, shown: int, picked: int, limit: int, seed: int) -> str:
    said = f"All {n:,} molecules are here."
    if n > limit:
        said = (
            f"{picked:,} of the {n:,} molecules are here, drawn at random with seed {seed}; the score below is of all."
        )
    if shown < picked:
        said += f" {picked - shown:,} more cannot be drawn: they have no atoms, or no finite coordinates."
    return f"""<section class="explorer" aria-label="map and structure">
<p class="note">{text(said)} Click a point, or move on with the arrow keys; ☰ chooses axes, colours and sizes.</p>
<div class="panes"><div id="map" class="pane"></div><div id="structure" class="pane"></div></div>
<div id="selected" class="card" aria-live="polite"></div>
<div id="unused" hidden><div id="meta"></div><div id="info"></div></div>
<noscript><p class="warning">The map needs JavaScript; the rest of the page does without.</p></noscript>
</section>"""


def _distributions(report: Report, base) -> str:
    beside = None if base is None else base.molecules
    key = '<p class="note"><span class="key ours"></span> these molecules'
    key += ' <span class="key reference"></span> training molecules</p>' if beside is not None else "</p>"
    sample = report.shard.sample
    said = f'<p class="note">Of {len(sample.molecules):,} molecules that could be read, those that sanitise.</p>'
    return key + distributions(sample.molecules, beside, report.sections.get("distributions", {})) + said


def _failures(reasons: dict[int, str], gathered: Gathered, mols, judge: str) -> str:
    counts = Counter(filter(None, reasons.values()))
    if not counts:
        return f"<p>None: the protocol {text(judge)} finds nothing wrong.</p>"
    lines = [
        f'<p class="note">The first thing wrong, by the protocol {text(judge)}; up to {EXAMPLES} drawn for each.</p>'
    ]
    for reason, count in counts.most_common():
        lines.append(f"<h3>{text(reason.replace('_', ' '))} <small>{count:,} of {len(reasons):,}</small></h3>")
        which = [k for k, number in enumerate(gathered.index) if reasons.get(number) == reason][:EXAMPLES]
        lines.append(f'<div class="gallery">{"".join(_failed(mols[k], gathered.index[k]) for k in which)}</div>')
    return "\n".join(lines)


def _failed(mol, number: int) -> str:
    picture = drawing(mol) or "<p>no drawing</p>"
    button = f'<button type="button" class="link" data-show="{number}">{number}</button>'
    return f"<figure>{picture}<figcaption>{button}</figcaption></figure>"
