"""A training run as one page: its curves, its quality, and the way from noise to molecules."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molflow.build import UserError
from molflow.checkpoint import CONFIG, WEIGHTS, load
from molflow.run import Run
from molflow.solvers.schedule import LEARNED
from molflow.viewer import provenance
from molflow.viewer.document import Page, static, text
from molflow.viewer.paths import paths
from molflow.viewer.plots import Line, chart

if TYPE_CHECKING:
    from molflow.generate import Model

SAMPLES = 64  # molecules for each point of quality against evaluations
STEPS = (5, 10, 20, 50)
COUNT = 6  # paths to play
_RATES = {"edm_molecule_stable": "molecules stable (edm)", "strict_valid": "valid (strict)"}

Columns = dict[str, list[tuple[float, float]]]  # {column: (step, value) where it was measured}


def run_page(
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    steps: Sequence[int] = STEPS,
    progress: bool = False,
) -> Page:
    """The page of a run folder. With its model ``samples`` molecules are generated and judged at several numbers of
    steps (0: none), and a few are followed on their way."""
    folder = Path(folder)
    run = Run(folder)
    if samples < 0:
        raise UserError(f"samples must be 0 or more, not {samples}")
    if not run.metrics.exists() and not (folder / CONFIG).exists():
        raise UserError(f"{folder} is no run folder: it has neither {run.metrics.name} nor {CONFIG}")
    columns = measured(run)
    body = [f"<header><h1>{text(folder.resolve().name)}</h1><p>{text(_summary(columns))}</p></header>"]
    data = {}
    model = load(folder, "cpu") if (folder / WEIGHTS).exists() else None
    if model is not None:
        data["data"] = paths(model, COUNT, seed)
        body.append(_player(len(data["data"]["times"]) - 1))
    body.append(_section("Quality", _quality(columns, model, samples, steps, seed, progress)))
    body.append(_section("Training", _curves(columns)))
    if run.config.exists():
        config = text(run.config.read_text(encoding="utf-8"))
        body.append(
            _section("Configuration", f"<details><summary>{run.config.name}</summary><pre>{config}</pre></details>")
        )
    body.append(_section("Where it comes from", provenance.listed(_origin(run, seed))))
    scripts = [static("run.js")] if model is not None else []
    return Page(f"{folder.resolve().name} – molflow", ["<main>", *body, "</main>"], data, scripts)


def measured(run: Run) -> Columns:
    """The figures of a run by column."""
    out: Columns = {}
    for row in run.read_metrics():
        for name, value in row.items():
            if name and name != "step" and value:
                try:
                    point = float(row["step"]), float(value)
                except (ValueError, TypeError):  # a line of another's hand
                    continue
                if math.isfinite(point[1]):  # a step that was left out
                    out.setdefault(name, []).append(point)
    return out


def _summary(columns: Columns) -> str:
    facts = []
    if columns.get("loss"):
        facts.append(f"{columns['loss'][-1][0]:,.0f} steps")
    if columns.get("molecules"):
        facts.append(f"{columns['molecules'][-1][1]:,.0f} molecules seen")
    if columns.get("seconds"):
        facts.append(f"{columns['seconds'][-1][1] / 60:,.0f} minutes")
    for name, label in _RATES.items():
        if columns.get(name):
            facts.append(f"{100 * columns[name][-1][1]:.0f} % {label}")
    return ", ".join(facts) or "no figures yet"


def _player(last: int) -> str:
    return f"""<section class="explorer" aria-label="from noise to molecule">
<canvas id="path" class="path" tabindex="0" role="img" aria-label="a molecule on its way from noise"></canvas>
<div class="bar"><button type="button" id="play">play</button>
<input type="range" id="frame" min="0" max="{last}" value="0" step="1" aria-label="time">
<span id="time" class="smiles"></span>
<label>molecule <select id="which"></select></label></div>
<p id="said" class="note"></p>
<p class="note">From noise at t = 0 to a molecule at t = 1, every step of the solver. Drag to turn; space plays, arrow
keys step.</p>
</section>"""


def _section(title: str, markup: str) -> str:
    return f"<section><h2>{text(title)}</h2>\n{markup}\n</section>"


def _figure(title: str, plot: str) -> str:
    return f"<figure><figcaption>{text(title)}</figcaption>{plot}</figure>"


def _line(columns: Columns, column: str, name: str, dots: bool = False) -> list[Line]:
    points = columns.get(column, [])
    return [Line(name, [x for x, _ in points], [y for _, y in points], dots=dots)] if len(points) > 1 else []


def _curves(columns: Columns) -> str:
    figures = []
    parts = [name for name in columns if name == "loss" or name.startswith("loss_")]
    for part in parts:
        lines = _line(columns, part, "training") + _line(columns, f"val_{part}", "validation", dots=True)
        if lines:
            top = _ceiling([y for line in lines for y in line.y])
            clipped = [Line(k.name, k.x, [min(y, top) for y in k.y], dots=k.dots) for k in lines]
            figures.append(_figure(part.replace("_", ", ", 1), chart(clipped, "step", "loss")))
    for column, title, unit in (("lr", "learning rate", ""), ("molecules_per_second", "speed", "molecules a second")):
        if lines := _line(columns, column, title):
            figures.append(_figure(title, chart(lines, "step", unit)))
    return f'<div class="plots wide">{"".join(figures)}</div>' if figures else "<p>No figures yet.</p>"


def _ceiling(values: Sequence[float]) -> float:
    """The first steps' losses would flatten all others: what is above stands at the upper edge."""
    low, high = min(values), sorted(values)[int(0.97 * (len(values) - 1))]
    return high + 0.15 * (high - low)


def _quality(
    columns: Columns, model: Model | None, samples: int, steps: Sequence[int], seed: int, progress: bool
) -> str:
    figures = []
    other = [name for name in columns if name.endswith(("stable", "valid"))]
    known = [name for name in columns if name in _RATES] or other
    lines = [line for name in known for line in _line(_percent(columns), name, _RATES.get(name, name), dots=True)]
    if lines:
        figures.append(_figure("while training", chart(lines, "step", "%", y=(0, 100))))
    if model is not None and samples and "atom" in model.path.paths:
        lines = evaluations(model, samples, steps, seed, progress)
        plot = chart(lines, "network evaluations", "%", log_x=True, y=(0, 100))
        figures.append(_figure(f"of the model, {samples} molecules a point", plot))
    said = "<p class='note'>Bars are Wilson's 95 % intervals; every evaluation of the network counts.</p>"
    return f'<div class="plots wide">{"".join(figures)}</div>{said}' if figures else "<p>Not measured.</p>"


def _percent(columns: Columns) -> Columns:
    return {name: [(step, 100 * value) for step, value in points] for name, points in columns.items()}


def evaluations(model: Model, samples: int, steps: Sequence[int], seed: int, progress: bool = False) -> list[Line]:
    """Shares of stable and valid molecules, in percent, against evaluations of the network.

    Of a model that steps on learned grids, those numbers of steps count for which it has one."""
    from molflow.evaluate import score

    how, each = model.defaults, model.defaults.method().evaluations
    if how.grid == LEARNED:
        steps = [count for count in steps if count in model.grids]
    rates: dict[str, list] = {label: [] for label in _RATES.values()}
    for count in steps:
        batch = model.sample(samples, seed=seed, steps=count, progress=progress)
        spent = model.evaluations if each is None else count * each
        report = score(batch, protocols=["edm", "strict"], tier="protocols", rows=False)
        for label, (protocol, rate) in zip(rates, (("edm", "molecule_stable"), ("strict", "valid"))):
            found = report[protocol].rates.get(rate)  # none where no sample has hydrogens
            if found is not None and found.value is not None:
                rates[label].append((spent, found))
    return [
        Line(
            label,
            [x for x, _ in found],
            [100 * rate.value for _, rate in found],
            [100 * rate.ci95[0] for _, rate in found],
            [100 * rate.ci95[1] for _, rate in found],
            dots=True,
        )
        for label, found in rates.items()
        if found
    ]


def _origin(run: Run, seed: int) -> dict:
    try:
        facts = json.loads(run.origin.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        facts = {}
    return {"folder": str(run.folder), **(facts if isinstance(facts, dict) else {}), "seed of the samples here": seed}
