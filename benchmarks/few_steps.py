"""Few evaluations: a teacher and its students, side by side.

    python benchmarks/few_steps.py where                                          # which of few steps does the harm
    python benchmarks/few_steps.py lesson --teachers qm9:multistep runs/eight:euler   # what a student is taught
    python benchmarks/few_steps.py train --data qm9.safetensors --minutes 20     # three students at equal compute
    python benchmarks/few_steps.py quality --data qm9.safetensors [--systems teacher distill] [--n 1000]
    python benchmarks/few_steps.py speed                                          # to an SDF, whole process
    python benchmarks/few_steps.py tables                                         # as they stand in docs/few-steps.md

``train`` gives every student so many minutes of the clock, what it takes to make the pairs of reflow included, and
leaves out what is there. ``quality`` writes each cell as it is done and goes on where it stopped. Results are
benchmarks/results/few_steps*.json and a picture in docs/images.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import numpy as np
import torch
from common import RESULTS, command, report, surroundings
from qm9 import cell, timed
from variety import covered, scaffolds, some, variety

import molflow
from molflow.batch import Batch
from molflow.checkpoint import read_card
from molflow.data.loader import BatchPlan
from molflow.device import fast_matmul
from molflow.experiment import make_objective
from molflow.metrics.internal import KINDS
from molflow.metrics.rate import Rate
from molflow.rng import Rng
from molflow.solvers.integrate import integrate
from molflow.solvers.schedule import grid, rest

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "runs" / "few_steps"
EVALUATIONS = (1, 2, 3, 4, 6, 8, 10, 20)
SYSTEMS = {  # name -> a model
    "teacher": "qm9",
    "teacher, plain": "qm9",
    "reflow": str(WORK / "reflow"),
    "shortcut": str(WORK / "shortcut"),
    "shortcut, from nothing": str(WORK / "shortcut_from_nothing"),
    "distill": str(WORK / "distill"),
    "distill, by chance": str(WORK / "distill_by_chance"),
    "first student": str(ROOT / "runs" / "eight"),  # an hour of configs/distill.yaml
    "qm9-fast": "qm9-fast",
    "qm9-fast, valences": "qm9-fast",
}
WAYS = {  # instead of the model's own way
    "teacher": {"valences": 0.0},
    "teacher, plain": {"solver": "multistep", "haste": 6.0, "composition": 0.0, "valences": 0.0},
    "first student": {"composition": 0.0},
    "qm9-fast": {"valences": 0.0},
}
SHARES = ("edm atom", "edm molecule", "edm valid unique", "strict valid", "strict valid unique", "strict novel")
PAIRS_EACH_MINUTE = 700  # of one core, 20 evaluations each: about a third of reflow's time
PROTOCOL = (
    "samples in each model's own way, unless the system says otherwise; % of all samples, novel: of the valid unique; "
    "distances to training molecules in units of the floor; scaffolds: % of held-out molecules with rings whose ring "
    "system is in the sample"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    where_part = parts.add_parser("where", help="coarse steps, then fine ones, and the other way round")
    where_part.add_argument("--n", type=int, default=300)
    lesson_part = parts.add_parser("lesson", help="what the ends are worth that a student of four steps is taught")
    lesson_part.add_argument("--student", default="qm9-fast")
    lesson_part.add_argument("--teachers", nargs="+", default=["qm9:multistep"], help="each with its solver")
    lesson_part.add_argument("--fine", type=int, nargs="+", default=[10, 20])
    lesson_part.add_argument("--n", type=int, default=500)
    train_part = parts.add_parser("train", help="the students, at equal compute")
    train_part.add_argument("--data", required=True, help="the teacher's training data")
    train_part.add_argument("--minutes", type=float, default=20.0, help="of the clock, for each")
    train_part.add_argument("--systems", nargs="+", choices=STUDENTS, default=list(STUDENTS))
    quality_part = parts.add_parser("quality", help="scores against network evaluations")
    quality_part.add_argument("--data", required=True, help="the training data, for novelty and distributions")
    quality_part.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    quality_part.add_argument("--n", type=int, default=1000)
    quality_part.add_argument("--seeds", type=int, nargs="+", default=[20, 21])
    quality_part.add_argument("--evaluations", type=int, nargs="+", default=EVALUATIONS)
    quality_part.add_argument("--workers", type=int)
    speed_part = parts.add_parser("speed", help="molecules a second, noise to SDF")
    speed_part.add_argument("--model", default="qm9-fast")
    speed_part.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000])
    speed_part.add_argument("--evaluations", type=int, nargs="+", default=(2, 4, 8))
    parts.add_parser("tables", help="print what was measured")
    args = vars(parser.parse_args())
    chosen = {"where": where, "lesson": lesson, "train": train, "quality": quality, "speed": speed, "tables": tables}
    chosen[args.pop("part")](**args)


def where(n: int, steps: int = 4, fine: int = 20, seed: int = 31) -> None:
    """The teacher's own steps on the quadratic grid, where some of few are replaced by many."""
    model, rows = molflow.load("qm9", "cpu"), []
    few = grid("quadratic", steps)
    for k in range(steps + 1):
        after = rest("quadratic", fine, few[k])
        before = [t for t in grid("quadratic", fine) if t < few[k] - 0.02]
        ways = {"coarse, then fine": few[:k] + after, "fine, then coarse": before + few[k:]}
        for way, times in ways.items():
            if k < steps or way.startswith("fine"):
                model.grids[len(times) - 1] = times
                batch = model.sample(n, seed=seed, steps=len(times) - 1, grid="learned", valences=0)
                scores = molflow.score(batch, protocols=["edm", "strict"], tier="protocols", rows=False)
                shares = {"edm molecule": scores["edm"].molecule_stable, "strict valid": scores["strict"].valid}
                row = {"way": way, "changes at": round(few[k], 3), "evaluations": len(times) - 1}
                rows.append(row | {name: round(100 * rate.value, 1) for name, rate in shares.items()})
    report("few_steps_where", rows, protocol=f"model qm9, quadratic grids of {steps} and {fine}", n=n, seed=seed)


def lesson(student: str, teachers: list[str], fine: list[int], n: int, steps: int = 4, seed: int = 41) -> None:
    """The student walks some of its steps, and each teacher goes on from there: what it would teach there."""
    model, rows = molflow.load(student, "cpu"), []
    sizes = model.sizes.at(seed, np.arange(n))
    plan = list(BatchPlan(sizes, 20_000, shuffle=False).epoch(0))
    for text in teachers:
        teacher, _, solver = text.partition(":")
        taught = read_card(student).config
        lessons = {"name": "distill", "solver": solver or "multistep"}
        config = replace(taught, objective=lessons, sample=taught.sample.updated(valences=0))
        objective: Any = make_objective(config, model, molflow.load(teacher, "cpu"))
        for objective.fine in fine:
            for k in range(1, steps):
                times, made = grid(model.defaults.grid, steps)[: k + 1], []
                for places in plan:
                    rng = Rng(seed, torch.from_numpy(places))
                    x = model.prior(Batch.of_sizes(torch.as_tensor(sizes[places])), rng)
                    flow = model.flow(haste=model.defaults.haste)
                    with fast_matmul():
                        x = integrate(flow, x, times, model.defaults.method(), rng)
                        made.append(model.vocabulary.decode(objective.teach(x, times[-1], flow.hint, rng)))
                scores = molflow.score(Batch.cat(made), protocols=["edm", "strict"], tier="protocols", rows=False)
                row = {"teacher": teacher, "fine": objective.fine, "after": k, "t": round(times[-1], 3)}
                shares = {"edm molecule": scores["edm"].molecule_stable, "strict valid": scores["strict"].valid}
                rows.append(row | {name: round(100 * rate.value, 1) for name, rate in shares.items()})
    protocol = f"{student} takes some of {steps} steps, a teacher goes on to the end as it teaches; % of all"
    report("few_steps_lesson", rows, protocol=protocol, n=n, seed=seed)


def run(*words: object) -> None:
    print("molflow", *words, flush=True)
    subprocess.run([sys.executable, "-m", "molflow", *map(str, words)], check=True, cwd=ROOT)


def train_distill(data: str, minutes: float, out: Path, *changes: str) -> None:
    how = [*changes, f"data.path={data}", f"train.minutes={minutes}"]
    run("distill", "qm9", "configs/distill.yaml", *how, "--out", out)


def train_distill_by_chance(data: str, minutes: float, out: Path) -> None:
    """The teacher goes on as it samples, labels drawn at a temperature of 1."""
    train_distill(data, minutes, out, "objective.temperature=1", "objective.haste=6")


def train_shortcut(data: str, minutes: float, out: Path, *changes: str) -> None:
    how = [f"data.path={data}", f"train.minutes={minutes}", *changes]
    run("train", "configs/shortcut.yaml", *how, "--out", out)


def train_shortcut_from_nothing(data: str, minutes: float, out: Path) -> None:
    """Flow and leaps together, at the rate of a network that knows nothing yet."""
    train_shortcut(data, minutes, out, "train.init=null", "train.lr=6.0e-3", "train.ema=0.999")


def train_reflow(data: str, minutes: float, out: Path) -> None:
    """A third of the time for pairs whose noise alone decides the sample; the rest for training on them."""
    pairs, started = out.with_suffix(".safetensors"), time.monotonic()
    certain = ["--evaluations", 20, "--temperature", 0.05, "--haste", 20, "--workers", 1]
    run("reflow", "qm9", "--pairs", round(PAIRS_EACH_MINUTE * minutes), "--seed", 1, *certain, "--out", pairs)
    left = minutes - (time.monotonic() - started) / 60
    how = ["train.init=qm9", "train.optimizer=muon", f"train.minutes={left:.2f}", "data.pairs=15000", "train.ema=0.99"]
    how += ["sample.grid=quadratic", "sample.haste=6", "times={name: beta, a: 1.0, b: 1.0}"]
    run("train", "configs/reflow.yaml", f"data.path={pairs}", *how, "--out", out)


STUDENTS = {
    "reflow": train_reflow,
    "shortcut": train_shortcut,
    "shortcut, from nothing": train_shortcut_from_nothing,
    "distill": train_distill,
    "distill, by chance": train_distill_by_chance,
}


def train(data: str, minutes: float, systems: list[str]) -> None:
    """What is there already stays."""
    WORK.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "few_steps_training.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for name in systems:
        out = Path(SYSTEMS[name])
        if (out / "model.safetensors").exists():
            print(f"{name}: {out} is there")
            continue
        started = time.monotonic()
        STUDENTS[name](str(Path(data).resolve()), minutes, out)
        last = (out / "metrics.csv").read_text().splitlines()
        figures = dict(zip(last[0].split(","), last[-1].split(",")))
        known[name] = {"minutes": (time.monotonic() - started) / 60, "molecules": int(figures["molecules"])}
        path.write_text(json.dumps({**known, **surroundings()}, indent=2) + "\n")


def quality(
    data: str, systems: list[str], n: int, seeds: list[int], evaluations: list[int], workers: int | None
) -> None:
    """Every cell of systems x evaluations x seeds."""
    path = RESULTS / "few_steps.json"
    held_out = scaffolds(some(data, "test", 2000))

    def more(mols: list) -> dict[str, Any]:
        return {**variety(mols), "scaffolds": covered(mols, held_out)}

    for name in systems:
        for seed in seeds:
            for count in evaluations:
                if any(same(one, name, count, seed) and one["n"] >= n for one in kept(path).get("cells", [])):
                    continue
                way = WAYS.get(name, {})
                found = cell(SYSTEMS[name], "cpu", data, n, seed, count, workers, fine=True, more=more, way=way)
                others = [one for one in kept(path).get("cells", []) if not same(one, name, count, seed)]
                record = {
                    "name": "few_steps",
                    "protocol": PROTOCOL,
                    "cells": [*others, {"system": name, "n": n, **found}],
                }
                path.write_text(json.dumps({**kept(path), **record, **surroundings()}, indent=1) + "\n")
    real = {"real": more(some(data, "train", n))}
    path.write_text(json.dumps({**kept(path), **real}, indent=1) + "\n")
    tables()


def kept(path: Path) -> dict[str, Any]:
    """What has been measured, read anew each time: another process may have added its own meanwhile."""
    return json.loads(path.read_text()) if path.exists() else {}


def same(one: dict[str, Any], system: str, evaluations: int, seed: int) -> bool:
    return (one["system"], one["evaluations"], one["seed"]) == (system, evaluations, seed)


def rows_of(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Seeds together: shares from the counts, other figures as means."""
    rows = []
    for name in SYSTEMS:
        for count in sorted({one["evaluations"] for one in cells}):
            same = [one for one in cells if (one["system"], one["evaluations"]) == (name, count)]
            if not same:
                continue
            mean = partial(mean_of, same)
            rates = {share: Rate(*map(sum, zip(*(one[share] for one in same)))) for share in SHARES}
            row = {"system": name, "evaluations": count, "n": sum(one["n"] for one in same)}
            row |= {share: round(100 * rate.value, 1) for share, rate in rates.items() if rate.of}
            row |= {f"{kind} / floor": round(mean(f"{kind} distance") / mean(f"{kind} floor"), 1) for kind in KINDS}
            keys = ("rings", "aromatic", "C", "N", "O", "heavy sd", "scaffolds")
            row |= {key: round(mean(key), 2) for key in keys if all(key in one for one in same)}
            rows.append(row | {"ci95": {share: rate.ci95 for share, rate in rates.items() if rate.of}})
    return rows


def mean_of(cells: list[dict[str, Any]], key: str) -> float:
    return sum(one[key] for one in cells) / len(cells)


def tables() -> None:
    """Markdown tables, as docs/few-steps.md has them, and the picture."""
    record = json.loads((RESULTS / "few_steps.json").read_text())
    rows = rows_of(record["cells"])
    names = list(dict.fromkeys(row["system"] for row in rows))
    found = {(row["system"], row["evaluations"]): row for row in rows}
    lines = [["evaluations", *names]]
    for count in sorted({row["evaluations"] for row in rows}):
        here = [found.get((name, count)) for name in names]
        lines.append([count, *(f"{row['edm molecule']} / {row['strict valid']}" if row else "" for row in here)])
    print(markdown(lines))
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key != "ci95"]
    print(markdown([keys, *([row.get(key, "-") for key in keys] for row in rows)]))
    print("real molecules:", record.get("real"))
    plot(rows, ROOT / "docs" / "images" / "few_steps.png")


def markdown(lines: list[list[Any]]) -> str:
    head, *body = ["| " + " | ".join(map(str, line)) + " |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body]) + "\n"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for axis, share in zip(axes, ("edm molecule", "strict valid")):
        for k, name in enumerate(dict.fromkeys(row["system"] for row in rows)):
            mine = [row for row in rows if row["system"] == name]
            x, y = [row["evaluations"] for row in mine], [row[share] for row in mine]
            low, high = zip(*([100 * end for end in row["ci95"][share]] for row in mine))
            axis.plot(x, y, "o-", color=f"C{k}", label=name, ms=4)
            axis.fill_between(x, low, high, color=f"C{k}", alpha=0.2, lw=0)
        axis.set(xscale="log", xlabel="network evaluations", title=share, ylim=(0, 101))
        axis.set_xticks(EVALUATIONS, [str(count) for count in EVALUATIONS])
        axis.minorticks_off()
    axes[0].set(ylabel="% of samples")
    axes[1].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def speed(model: str, counts: list[int], evaluations: list[int]) -> None:
    """`molflow sample` as a whole process."""
    rows = [
        {"molecules": n, "evaluations": count, "seconds": timed(model, "cpu", n, count)}
        for n in counts
        for count in evaluations
    ]
    report("few_steps_speed", rows, protocol=f"model {model}, cpu, whole process to SDF", n=max(counts))


if __name__ == "__main__":
    command(main)
