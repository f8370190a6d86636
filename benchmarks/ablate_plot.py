"""The ablations at a glance, from benchmarks/results/ablate.json: python benchmarks/ablate_plot.py

Each arm of as many molecules as the base, against the base of the same seed and sampled alike: molecules stable by `edm`, the mean
of its three numbers of evaluations; the error of the predicted coordinates at t = 0.5; what a training step costs.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from common import RESULTS

matplotlib.rcParams.update({"svg.hashsalt": "molflow", "font.size": 8, "axes.spines.top": False})
matplotlib.rcParams.update({"axes.spines.right": False, "legend.frameon": False, "axes.spines.left": False})

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "ablate.svg"
BASE = "base"
NOT_ALIKE = ("linear grid",)  # an arm of sampling alone
GROUPS = {
    "network": ("triangles", "radial", "pair width", "vectors", "192 x", "96 x", "heads", "told", "bf16"),
    "optimiser and batches": ("lr", "batches", "ema", "cosine", "warmup", "clip", "beta2", "weight decay"),
    "noise, coupling and times": ("uniform times", "independent", "permutation", "rotation", "noise mixed", "aligned"),
    "labels": ("no bonds", "mask", "one-hot", "marginal", "labels lead", "aromatic", "counts"),
    "loss and hint": ("loss weight", "coordinates weighed", "distances", "labels weigh", "no hint", "hint in"),
}
COLOURS = {1: "#1f6f8b", 2: "#d1783c"}
AT = 0.5  # the time of the errors


def main() -> None:
    results = json.loads((RESULTS / "ablate.json").read_text())
    arms = compared(results["arms"], results["times"].index(AT))
    groups = {name: [arm for arm in arms if arm.startswith(starts)] for name, starts in GROUPS.items()}
    if missing := set(arms) - {arm for group in groups.values() for arm in group}:
        raise SystemExit(f"ablate_plot: name a group for {', '.join(sorted(missing))}")
    draw(arms, groups)


def compared(rows: list[dict[str, Any]], at: int) -> dict[str, dict[int, dict[str, Any]]]:
    """{arm: {seed: how it differs from the base}}; an arm that was sampled in two ways as the model is today."""
    bases = {(row["seed"], row["sampling"]): row for row in rows if row["arm"] == BASE and alike(row)}
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        base = bases.get((row["seed"], row["sampling"]))
        if row["arm"] == BASE or row["arm"] in NOT_ALIKE or base is None or not alike(row):
            continue
        shares, errors = differences(row, base), (row.get("errors"), base.get("errors"))
        off = 100 * (errors[0]["pos"][at] / errors[1]["pos"][at] - 1) if all(errors) else None
        found.setdefault(row["arm"], {})[row["seed"]] = {"stable": shares, "off": off, "cost": row["cost"]}
    return found


def alike(row: dict[str, Any]) -> bool:
    """Of the length that most arms have, and of the seeds that were sampled as much."""
    return row["molecules asked"] == 45_000 and row["n"] == 500


def differences(row: dict[str, Any], base: dict[str, Any]) -> tuple[float, float]:
    """Points of stability, the mean over the numbers of evaluations, and half of its 95 % interval by sampling alone."""
    points, variance = [], 0.0
    budgets = [key for key in row if key.isdecimal()]
    for key in budgets:
        shares = [each[key]["edm molecules"][0] / each[key]["edm molecules"][1] for each in (row, base)]
        points.append(100 * (shares[0] - shares[1]))
        variance += sum(100**2 * p * (1 - p) / row["n"] for p in shares)
    return fmean(points), 1.96 * variance**0.5 / len(budgets)


def draw(arms: dict[str, dict[int, dict[str, Any]]], groups: dict[str, list[str]]) -> None:
    count = len(arms) + len(groups)
    figure, axes = plt.subplots(
        1, 3, sharey=True, figsize=(8.6, 0.185 * count + 0.7), gridspec_kw={"width_ratios": [5, 3, 1.6]}
    )
    spread = seeds_differ(arms)
    axes[0].axvspan(-spread, spread, color="0.92", lw=0)
    y, labels = 0, []
    for group, members in groups.items():
        axes[0].annotate(group, (-0.02, y), xycoords=("axes fraction", "data"), ha="right", va="center", weight="bold")
        y += 1
        for arm in sorted(members, key=lambda arm: -fmean(each["stable"][0] for each in arms[arm].values())):
            for seed, each in arms[arm].items():
                here = y + (0.16 if seed == 2 else -0.16) * (len(arms[arm]) > 1)
                point, half = each["stable"]
                style = {"color": COLOURS[seed], "ms": 4, "lw": 1}
                axes[0].errorbar(point, here, xerr=half, fmt="o", **style)
                if each["off"] is not None:
                    beyond = each["off"] > 20
                    axes[1].plot(min(each["off"], 20), here, ">" if beyond else "o", **style)
                axes[2].plot(each["cost"], here, "o", **style)
            labels.append((y, arm))
            y += 1
    for axis, title, middle in zip(
        axes, ("stable molecules,\npoints more than the base", f"error of coordinates\nat t = {AT}, % more", "cost"), (0, 0, 1)
    ):
        axis.axvline(middle, color="0.5", lw=0.8)
        axis.set_xlabel(title)
        axis.grid(axis="x", color="0.93", lw=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(left=False)
    axes[0].set_yticks([place for place, _ in labels], [arm for _, arm in labels])
    axes[0].set_ylim(y - 0.4, -0.6)
    axes[1].set_xlim(-12, 21)
    for seed, colour in COLOURS.items():
        axes[1].plot([], [], "o", color=colour, ms=4, label=f"seed {seed}")
    axes[1].legend(loc="lower right", fontsize=7)
    figure.tight_layout()
    figure.savefig(IMAGE, bbox_inches="tight", metadata={"Date": None})


def seeds_differ(arms: dict[str, dict[int, dict[str, Any]]]) -> float:
    """Points that a difference to the base reaches by chance alone, 95 %: from arms that were trained twice."""
    pairs = [[each["stable"][0] for each in seeds.values()] for seeds in arms.values() if len(seeds) == 2]
    return 1.96 * (fmean((a - b) ** 2 for a, b in pairs) / 2) ** 0.5


if __name__ == "__main__":
    main()
