"""The figures of docs/evidence.md, drawn from the results files."""

from __future__ import annotations

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from paths_tables import Results

SHOWN = ("diffusion", "linear", "linear + align", "linear + OT", "linear + OT + align", "annealed", "reflow")
DASHES = {"ancestral": ":", "ddim": "--", "ode": "-", "churn": "-", "euler": "-", "multistep": "-."}
NAMES = {"w2": "W2 to held-out points", "strict valid": "strict valid, %", "edm molecule": "edm molecules stable, %"}

matplotlib.rcParams.update(
    {"svg.hashsalt": "molflow", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "figure.dpi": 90}
)
matplotlib.rcParams.update({"axes.spines.right": False, "legend.frameon": False})


def colour(system: str) -> str:
    return f"C{SHOWN.index(system)}" if system in SHOWN else "0.6"


def against_evaluations(results: Results, path: Path) -> None:
    """Quality of every system and way, with the standard deviation over seeds."""
    measures = ["w2"] if results.points else ["strict valid", "edm molecule"]
    fig, axes = plt.subplots(1, len(measures), figsize=(5.2 * len(measures) + 1.6, 3.6), squeeze=False)
    for ax, measure in zip(axes[0], measures):
        scale = 1 if measure == "w2" else 100
        for system, way in results.curves():
            if system not in SHOWN or way == "multistep":  # which is in the table, for the eye's sake
                continue
            values = [(e, results.values(system, way, e, measure)) for e in results.evaluations()]
            values = [(e, found) for e, found in values if found]
            means = [scale * statistics.fmean(found) for _, found in values]
            errors = [scale * statistics.stdev(found) if len(found) > 1 else 0 for _, found in values]
            label = f"{system}, {way}" if len(results.ways(system)) > 1 else system
            places = [e for e, _ in values]
            ax.errorbar(
                places,
                means,
                errors,
                marker="s" if "quadratic" in way else "o",
                ms=3,
                lw=1.2,
                ls=DASHES[way.split(",")[0]],
                color=colour(system),
                label=label,
            )
        if measure == "w2":
            ax.set_yscale("log")
            ax.axhline(results.floor, color="k", lw=0.8, ls=":", label="floor: other data")
        ax.set(xscale="log", xlabel="network evaluations", ylabel=NAMES[measure])
        ax.set_xticks(results.evaluations(), results.evaluations())
        ax.minorticks_off()
    axes[0, -1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    _write(fig, path)


def against_training(results: Results, path: Path) -> None:
    """Quality while training goes on, the mean over seeds, against steps and against seconds."""
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.2), sharey=True)
    scale = 1 if results.points else 100
    for system in results.systems():
        if system not in SHOWN or system == "reflow":
            continue
        curves = list(zip(*(cell["train"]["curve"] for cell in results.of(system))))
        quality = [[scale * point[results.measure] for point in points] for points in curves]
        errors = [statistics.stdev(q) if len(q) > 1 else 0 for q in quality]
        for ax, place in zip(axes, ("step", "seconds")):
            x = [statistics.fmean(point[place] for point in points) for points in curves]
            means = [statistics.fmean(q) for q in quality]
            ax.errorbar(x, means, errors, marker="o", ms=3, lw=1.2, color=colour(system), label=system)
    axes[0].set(xlabel="training steps", ylabel=f"{NAMES[results.measure]}, {results.task.judged} evaluations")
    axes[1].set(xlabel="seconds of training, one thread")
    axes[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    _write(fig, path)


def transport(results: Results, path: Path) -> None:
    """What the coupling shortens, and what it buys at few evaluations."""
    few = [e for e in (5, 10, 20) if e in results.evaluations()]
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.2))
    for system in results.systems():
        cells = results.of(system)
        straight = [cell["straight"] for cell in cells if "straight" in cell]
        if system not in SHOWN or not straight:
            continue
        means = [[s[name] for s in straight] for name in ("detour", "bend")]
        errors = [statistics.stdev(m) if len(m) > 1 else 0 for m in means]
        where = [statistics.fmean(m) for m in means]
        axes[0].errorbar(
            *([w] for w in where), xerr=errors[0], yerr=errors[1], marker="o", color=colour(system), label=system
        )
        scale = 1 if results.points else 100
        values = [[scale * v for v in results.best_of(system, e)] for e in few]
        if all(values):
            spread = [statistics.stdev(v) if len(v) > 1 else 0 for v in values]
            look = {"marker": "o", "ms": 3, "color": colour(system)}
            axes[1].errorbar(few, [statistics.fmean(v) for v in values], spread, **look)
    axes[0].set(xlabel="detour: length / distance - 1", ylabel="bend")
    axes[0].legend(fontsize=7)
    axes[1].set(xlabel="network evaluations, the best way at each", ylabel=NAMES[results.measure])
    axes[1].set_xticks(few, few)
    _write(fig, path)


def draw(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in {"quality": against_evaluations, "training": against_training, "transport": transport}.items():
        plot(results, folder / f"evidence_{results.name}_{name}.svg")


def _write(fig, path: Path) -> None:
    fig.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(fig)
    print(f"written: {path}")
