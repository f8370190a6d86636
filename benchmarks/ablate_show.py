"""The ablations at a glance, from benchmarks/results/ablate.json: python benchmarks/ablate_show.py

Writes the tables of docs/ablations.md, between its marks, and docs/images/ablate.svg.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from common import RESULTS

DOCS = Path(__file__).resolve().parent.parent / "docs"
BASE, END = "base", "<!-- end -->"
SAMPLED_ONLY = ("linear grid",)  # an arm that trains nothing
GROUPS = {  # of arms, by how their names begin
    "network": ("triangles", "radial", "pair width", "vectors", "192 x", "96 x", "heads", "told", "bf16"),
    "optimiser and batches": ("adamw", "lr", "batches", "ema", "cosine", "warmup", "clip", "beta2", "weight decay"),
    "noise, coupling and times": ("uniform times", "independent", "permutation", "rotation", "noise mixed", "aligned"),
    "labels": ("no bonds", "mask", "one-hot", "marginal", "labels lead", "aromatic", "counts"),
    "loss and hint": ("loss weight", "coordinates weighed", "distances", "labels weigh", "no hint", "hint in"),
    "sampling": SAMPLED_ONLY,
}
OTHER_STATES = ("noise mixed", "independent", "permutation", "rotation", "aligned", *GROUPS["labels"])
AT = 0.5  # the time whose errors are drawn
SHOWN = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 0.97)
COLOURS = {1: "#1f6f8b", 2: "#d1783c"}

Row = dict[str, Any]


def main() -> None:
    results = json.loads((RESULTS / "ablate.json").read_text())
    page = DOCS / "ablations.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    draw(results["arms"], results["times"].index(AT))
    print(f"written: {page}, {DOCS / 'images' / 'ablate.svg'}")


def filled(text: str, results: dict[str, Any]) -> str:
    """The page with its tables, each between <!-- NAME --> and <!-- end -->."""
    rows = sorted(results["arms"], key=lambda row: (row["arm"], row["seed"], row["molecules asked"]))
    starts = {"base": (BASE,), **GROUPS}
    tables = {name: scores(of_group(rows, names), rows) for name, names in starts.items()}
    if missing := {row["arm"] for row in rows}.difference(*(named(rows, names) for names in starts.values())):
        raise SystemExit(f"ablate_show: name a group for {', '.join(sorted(missing))}")
    tables |= {f"errors of {kind}": errors(rows, kind, results["times"]) for kind in ("pos", "bond")}
    for name, table in tables.items():
        mark = f"<!-- {name} -->\n"
        before, found, after = text.partition(mark)
        if not found:
            raise SystemExit(f"ablate_show: the page has no {mark.strip()}")
        text = before + mark + "".join(table) + END + after.partition(END)[2]
    return text


def named(rows: Iterable[Row], starts: tuple[str, ...]) -> set[str]:
    return {row["arm"] for row in rows if row["arm"].startswith(starts)}


def of_group(rows: Iterable[Row], starts: tuple[str, ...]) -> list[Row]:
    return [row for row in rows if row["arm"].startswith(starts)]


def scores(group: list[Row], rows: list[Row]) -> Iterator[str]:
    beside = "beside the base"
    yield "| arm | seed | molecules | cost | `edm` molecules stable @10 / @20 / @50 "
    yield f"| {beside} | `strict` valid | {beside} |\n"
    yield "|---|---|---|---|---|---|---|---|\n"
    for row in group:
        base = base_of(row, rows)
        cells = [name_of(row), f"{row['seed']}", f"{row['molecules']:,}", f"{row['cost']:.2f}"]
        for what in ("edm molecules", "strict valid"):
            shares = shares_of(row, what)
            theirs = shares_of(base, what) if base is not None else {}
            cells.append(" / ".join(f"{share:.1f}" for share in shares.values()) or "-")
            cells.append(
                " / ".join(f"{share - theirs[key]:+.0f}" for key, share in shares.items() if key in theirs) or "-"
            )
        yield f"| {' | '.join(cells)} |\n"


def name_of(row: Row) -> str:
    """Its arm, and how it was sampled where that is not as the model does today."""
    marks = {"euler": "¹", "multistep": "²"}
    return row["arm"] + next((mark for solver, mark in marks.items() if row["sampling"].startswith(solver)), "")


def base_of(row: Row, rows: Iterable[Row]) -> Row | None:
    """The base of the same seed and length, sampled alike; none for a base itself and for rows of another length."""
    same = ("seed", "molecules asked", "n") + (() if row["arm"].startswith(SAMPLED_ONLY) else ("sampling",))
    alike = [each for each in rows if each["arm"] == BASE and all(each[key] == row[key] for key in same)]
    return None if row["arm"] == BASE or not alike else alike[-1]


def shares_of(row: Row, what: str) -> dict[str, float]:
    """{evaluations: percent}."""
    keys = sorted((key for key in row if key.isdecimal() and what in row[key]), key=int)
    return {key: 100 * row[key][what][0] / row[key][what][1] for key in keys}


def errors(rows: list[Row], kind: str, times: list[float]) -> Iterator[str]:
    yield f"| arm | seed | {' | '.join(f't = {time:g}' for time in SHOWN)} |\n|---|---|{'---|' * len(SHOWN)}\n"
    for row in rows:
        if "errors" in row and kind in row["errors"]:
            found = [row["errors"][kind][times.index(time)] for time in SHOWN]
            more = f", {row['molecules']:,} molecules" if row["molecules asked"] != 45_000 else ""
            yield f"| {row['arm']}{more} | {row['seed']} | {' | '.join(f'{value:.3g}' for value in found)} |\n"


def draw(rows: list[Row], at: int) -> None:
    """Each arm of as many molecules as the base, against the base of its seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams.update({"svg.hashsalt": "molflow", "svg.fonttype": "none", "font.size": 8})
    matplotlib.rcParams.update({f"axes.spines.{side}": False for side in ("top", "right", "left")})
    arms = compared(rows, at)
    groups: dict[str, list[str]] = {}
    for group, starts in GROUPS.items():
        if members := named(rows, starts) & set(arms):
            groups[group] = sorted(members, key=lambda arm: -fmean(each["stable"] for each in arms[arm].values()))
    count = sum(map(len, groups.values())) + len(groups)
    figure, axes = plt.subplots(
        1, 3, sharey=True, figsize=(8.6, 0.185 * count + 0.7), gridspec_kw={"width_ratios": [5, 3, 1.6]}
    )
    spread = seeds_differ(arms)
    axes[0].axvspan(-spread, spread, color="0.92", lw=0)
    y, labels = 0, []
    for group, members in groups.items():
        axes[0].annotate(group, (-0.02, y), xycoords=("axes fraction", "data"), ha="right", va="center", weight="bold")
        y += 1
        for arm in members:
            for seed, each in arms[arm].items():
                here = y + (0.16 if seed == 2 else -0.16) * (len(arms[arm]) > 1)
                style: dict[str, Any] = {"color": COLOURS[seed], "ms": 4, "lw": 1}
                axes[0].errorbar(each["stable"], here, xerr=each["half"], fmt="o", **style)
                if each["off"] is not None:
                    axes[1].plot(each["off"], here, "o", **style)
                axes[2].plot(each["cost"], here, "o", **style)
            labels.append((y, arm))
            y += 1
    titles = (
        "molecules stable at 10, 20 and 50 evaluations,\nmean, points more than the base",
        f"error of coordinates\nat t = {AT}, % more",
        "cost of a step",
    )
    for axis, title, middle in zip(axes, titles, (0, 0, 1)):
        axis.axvline(middle, color="0.5", lw=0.8)
        axis.set_xlabel(title)
        axis.grid(axis="x", color="0.93", lw=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(left=False)
    axes[0].set_yticks([place for place, _ in labels], [arm for _, arm in labels])
    axes[0].set_ylim(y - 0.4, -0.6)
    for seed, colour in COLOURS.items():
        axes[0].plot([], [], "o", color=colour, ms=4, label=f"seed {seed}")
    axes[0].legend(loc="upper left", fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(DOCS / "images" / "ablate.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def compared(rows: list[Row], at: int) -> dict[str, dict[int, dict[str, Any]]]:
    """{arm: {seed: how it differs from its base}}; an arm that was sampled in two ways as the model is today."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: name_of(row) == row["arm"]):  # those sampled as today come last
        base = base_of(row, rows)
        if base is None or row["molecules asked"] != 45_000 or row["seed"] not in COLOURS or row["arm"] in SAMPLED_ONLY:
            continue
        points, half = difference(row, base)
        comparable = "errors" in row and "errors" in base and not row["arm"].startswith(OTHER_STATES)
        off = 100 * (row["errors"]["pos"][at] / base["errors"]["pos"][at] - 1) if comparable else None
        each = {"stable": points, "half": half, "off": off, "cost": row["cost"]}
        found.setdefault(row["arm"], {})[row["seed"]] = each
    return found


def difference(row: Row, base: Row) -> tuple[float, float]:
    """Points of `edm` stability, the mean over the numbers of evaluations, and half of a 95 % interval by sampling.

    Samples of one seed of noise are alike at 10, 20 and 50 evaluations: the interval is that of one number of them.
    """
    ours, theirs = shares_of(row, "edm molecules"), shares_of(base, "edm molecules")
    halves = [1.96 * sum(p[key] * (100 - p[key]) / row["n"] for p in (ours, theirs)) ** 0.5 for key in ours]
    return fmean(ours[key] - theirs[key] for key in ours), fmean(halves)


def seeds_differ(arms: dict[str, dict[int, dict[str, Any]]]) -> float:
    """Points by which chance alone moves a difference from the base, 95 %: from the arms that were trained twice."""
    pairs = [[each["stable"] for each in seeds.values()] for seeds in arms.values() if len(seeds) == 2]
    return 1.96 * (fmean((a - b) ** 2 for a, b in pairs) / 2) ** 0.5


if __name__ == "__main__":
    main()
