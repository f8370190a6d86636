"""The QM9 model in figures.

    python benchmarks/qm9.py quality --data qm9.safetensors [--n 2000] [--seeds 0 1]   # against evaluations
    python benchmarks/qm9.py draw FOLDER --device cuda                # molecules for quality, made on another machine
    python benchmarks/qm9.py real --data qm9.safetensors [--n 1000 2500]   # the same scores of the data's own
    python benchmarks/qm9.py speed [--precision fp32 bf16]            # to an SDF on this machine, and memory
    python benchmarks/qm9.py curve runs/qm9 runs/base           # against training

``quality`` writes each cell as it is done and goes on where it stopped; ``curve`` reads the runs' metrics.csv and
keeps what it has read of others. ``quality --molecules FOLDER`` scores what ``draw`` made, and makes what is missing.
``--model`` comes before the part. Results are benchmarks/results/qm9_*.json, pictures docs/images/qm9_*.png.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import RESULTS, command, report

import molflow
from molflow import jobs
from molflow.atomic import replacing
from molflow.build import UserError
from molflow.checkpoint import locate
from molflow.chem.note import checksum_of, read_note
from molflow.data.store import Store
from molflow.metrics.internal import KINDS
from molflow.metrics.measurement import plain
from molflow.metrics.rate import Rate
from molflow.run import Run
from molflow.sampling import PRECISIONS, Sampling

ROOT = Path(__file__).resolve().parent.parent
EVALUATIONS = (1, 2, 3, 5, 8, 10, 20, 50, 100)
TIERS = ["fast", "forcefield"]  # that tell geometry and energies
FINE = (5, 10, 20, 50, 100)  # evaluations at which geometry is measured too
RATES = {
    "edm atom": ("edm", "atom_stable"),
    "edm molecule": ("edm", "molecule_stable"),
    "edm valid": ("edm", "valid"),
    "edm valid unique": ("edm", "valid_unique"),
    "strict valid": ("strict", "valid"),
    "strict valid unique": ("strict", "valid_unique"),
    "strict novel": ("strict", "novel"),
    "legacy molecule": ("legacy", "molecule_stable"),
    "legacy valid": ("legacy", "valid"),
}
REAL = 95.7  # % of this set that edm calls stable: python benchmarks/scoring.py --data qm9.safetensors
PEERS = {  # edm molecule stable, as published: evaluations -> %
    "EDM": {101: 67.2, 1000: 82.0},
    "GeoLDM": {8: 3.7, 1000: 89.4},
    "EquiFM": {200: 88.3},
    "GeoBFN": {100: 87.2},
    "MOLTD": {10: 89.7, 13: 93.5},
    "VEDA-E": {30: 91.5, 50: 93.7},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qm9", help="shipped or a run folder (default: qm9)")
    parser.add_argument("--device", default="cpu")
    parts = parser.add_subparsers(dest="part", required=True)
    quality_part = parts.add_parser("quality", help="scores against network evaluations")
    quality_part.add_argument("--data", required=True, help="the training data, for novelty and distributions")
    quality_part.add_argument("--molecules", type=Path, help="a folder of molecules, kept and taken from there")
    draw_part = parts.add_parser("draw", help="the molecules that quality scores, to be scored later")
    draw_part.add_argument("molecules", type=Path)
    for part in (quality_part, draw_part):
        part.add_argument("--n", type=int, default=2000)
        part.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
        part.add_argument("--evaluations", type=int, nargs="+", default=EVALUATIONS)
        part.add_argument("--workers", type=int)
        part.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0])
    real_part = parts.add_parser("real", help="scores of the data's own molecules, drawn as if a model had made them")
    real_part.add_argument("--data", required=True)
    real_part.add_argument("--n", type=int, nargs="+", default=(1000, 2500))
    real_part.add_argument("--seeds", type=int, nargs="+", default=tuple(range(10)))
    real_part.add_argument("--name", default="qm9_quality_real", help="of the file of results")
    speed_part = parts.add_parser("speed", help="molecules a second, noise to SDF, and peak memory")
    speed_part.add_argument("--n", type=int, default=1000)
    speed_part.add_argument("--evaluations", type=int, nargs="+", default=(1, 5, 10, 20, 50))
    speed_part.add_argument("--precision", choices=PRECISIONS, nargs="+", default=PRECISIONS[:1], help="in turns")
    speed_part.add_argument("--repeats", type=int, default=1, help="of which the median is kept")
    curve_part = parts.add_parser("curve", help="what runs' samples were worth as they were trained")
    curve_part.add_argument("runs", nargs="+")
    args = vars(parser.parse_args())
    {"quality": quality, "draw": draw, "real": real, "speed": speed, "curve": curve}[args.pop("part")](**args)


def quality(
    model: str,
    device: str,
    data: str,
    n: int,
    seeds: list[int],
    evaluations: list[int],
    workers: int | None,
    molecules: Path | None,
    precision: str,
) -> None:
    """Every cell of evaluations x seeds, scored; then seeds together, a row for each number of evaluations."""
    name = Path(model).name + ("" if precision == PRECISIONS[0] else f"_{precision}")
    path, way = RESULTS / f"qm9_quality_{name}.json", {"precision": precision}
    weights = jobs.SampleJob(model, 1).fingerprint()["model"]
    known, checksum = json.loads(path.read_text()) if path.exists() else {}, Store(data).checksum
    same = (known.get("weights"), known.get("n_a_seed"), known.get("data", checksum)) == (weights, n, checksum)
    cells: list[dict[str, Any]] = known["cells"] if same else []
    kept = {"weights": weights, "n_a_seed": n, "data": checksum, "precision": precision}
    done = {(cell["evaluations"], cell["seed"]) for cell in cells}
    for seed in seeds:
        for count in evaluations:
            if (count, seed) not in done:
                fine = count in FINE
                cells.append(cell(model, device, data, n, seed, count, workers, fine, way=way, folder=molecules))
                with replacing(path) as temporary:
                    temporary.write_text(json.dumps({**(known if same else {}), **kept, "cells": cells}))
    write_quality(path, model, cells, kept)


def cell(
    model: str,
    device: str,
    data: str,
    n: int,
    seed: int,
    count: int,
    workers: int | None,
    fine: bool,
    more: Callable[[list], dict[str, Any]] | None = None,
    way: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """n molecules of a seed at so many evaluations, scored; ``fine``: geometry and energies too.

    Sampled as the model does by itself, but for what ``way`` says; kept in ``folder`` if there is one.
    """
    how = jobs.loaded(model, device).defaults.updated(**(way or {})).spending(count)
    with tempfile.TemporaryDirectory() as passing:
        out = drawn(folder or Path(passing), model, device, n, seed, how, workers)
        found = judged(str(out), data, TIERS if fine else ["protocols"])
        others = more(molflow.read(out)) if more else {}
    by = {"solver": how.solver, "grid": how.grid, "steps": how.steps, "temperature": how.temperature}
    print(f"{count} evaluations, seed {seed}: strict valid {Rate(*found['strict valid'])}", flush=True)
    return {"evaluations": count, "seed": seed, **by, **found, **others}


def judged(molecules: str | molflow.Batch, data: str, tier: list[str]) -> dict[str, Any]:
    """Counts of the rates, [of how many]; of the tiers beyond protocols distances with floors, and strain."""
    scores = molflow.score(molecules, reference=data, tier=tier, protocols=["edm", "strict", "legacy"], rows=False)
    found: dict[str, Any] = {}
    for name, (protocol, rate) in RATES.items():
        value = scores[protocol].rates[rate]
        found[name] = [value.count, value.of]
    for what in KINDS if "fast" in tier else ():
        section = scores.sections["distributions"][what]
        found[f"{what} distance"], found[f"{what} floor"] = section["distance"], section["floor"]
    if "forcefield" in tier:
        found["strain"] = plain(scores.sections["energy"]["forcefield"])
    return found


def drawn(folder: Path, model: str, device: str, n: int, seed: int, how: Sampling, workers: int | None) -> Path:
    """The file of n molecules of a seed, made unless these weights have made it so already, on whatever device."""
    precision = "" if how.precision == PRECISIONS[0] else f"-{how.precision}"
    out = folder / f"{Path(model).name}-{how.steps}-{how.solver}{precision}-seed{seed}.sdf.gz"
    job = jobs.SampleJob(model, n, seed, how, None, device)
    if out.exists():
        theirs, ours = read_note(out, checksum_of(out)), jobs.provenance(job)
        unlike = [key for key in ours if key not in ("model", "device", "versions") and theirs.get(key) != ours[key]]
        if unlike:
            raise UserError(f"{out} differs from what is asked in {', '.join(unlike)}: name another folder")
        return out
    folder.mkdir(parents=True, exist_ok=True)
    return jobs.run(job, out, workers, progress=sys.stderr.isatty())


def draw(
    model: str,
    device: str,
    molecules: Path,
    n: int,
    seeds: list[int],
    evaluations: list[int],
    workers: int | None,
    precision: str,
) -> None:
    """The molecules of every cell, without a score."""
    for seed in seeds:
        for count in evaluations:
            how = jobs.loaded(model, device).defaults.updated(precision=precision).spending(count)
            print(drawn(molecules, model, device, n, seed, how, workers), flush=True)


def real(model: str, device: str, data: str, n: list[int], seeds: list[int], name: str) -> None:
    """What a model would score whose molecules were the data's: all of these, drawn with replacement."""
    if min(n) < 1:
        raise UserError(f"--n must be at least 1, not {min(n)}")
    store, rows, cells = Store(data), [], []
    for count in n:
        found = []
        for seed in seeds:
            index = np.random.default_rng(seed).integers(len(store), size=count)
            found.append({"n": count, "seed": seed, **judged(store.batch(index), data, TIERS)})
            print(f"{count:,} molecules, seed {seed}: {found[-1]['edm valid unique'][0]} valid and unique", flush=True)
        most = {f"{what}, most": round(max(over_floor(found, what)), 2) for what in KINDS}
        rows.append({"n": count, "draws": len(seeds), **columns(found), **most})
        cells += found
    protocol = "molecules of the data with replacement, of all splits; as qm9_quality: % of all, distances over floors"
    report(name, rows, protocol=protocol, n=max(n), seed=min(seeds), seeds=list(seeds), cells=cells)


def together(cells: list[dict]) -> dict[str, Rate]:
    """The rates of several seeds as one, those that something was counted for."""
    rates = {name: Rate(*map(sum, zip(*(cell[name] for cell in cells)))) for name in RATES}
    return {name: rate for name, rate in rates.items() if rate.of}


def over_floor(cells: list[dict], what: str) -> list[float]:
    """Distances over their floors, seed by seed."""
    return [cell[f"{what} distance"] / cell[f"{what} floor"] for cell in cells]


def columns(cells: list[dict]) -> dict[str, float]:
    """Of a row over several seeds: rates in percent, and where they were measured distances over floors and the energy
    drop of half of the molecules (kcal/mol), in the mean."""
    row = {name: round(100 * rate.value, 1) for name, rate in together(cells).items()}
    for what in KINDS:
        if f"{what} floor" in cells[0]:
            row[f"{what} / floor"] = round(statistics.mean(over_floor(cells, what)), 2)
    if "strain" in cells[0]:
        row["energy drop"] = round(statistics.mean(cell["strain"]["energy_drop"]["median"] for cell in cells), 1)
    return row


def write_quality(path: Path, model: str, cells: list[dict], kept: Mapping[str, Any]) -> None:
    """Rows over all seeds that were measured, be they asked for this time or before."""
    rows, intervals, n = [], [], kept["n_a_seed"]
    seeds = sorted({cell["seed"] for cell in cells})
    for count in sorted({cell["evaluations"] for cell in cells}):
        same = [cell for cell in cells if cell["evaluations"] == count]
        row = {"evaluations": count, "n": n * len(same), "solver": str(same[0]["solver"]), "grid": same[0]["grid"]}
        rows.append({**row, **columns(same)})
        intervals.append({"evaluations": count, **{name: rate.ci95 for name, rate in together(same).items()}})
    more = {**kept, "cells": cells, "intervals": intervals, "peers": PEERS}
    protocol = f"model {model}; % of all samples (novel: of the valid unique); distances in units of the floor"
    report(path.stem, rows, protocol=protocol, n=n * len(seeds), seed=min(seeds), seeds=seeds, **more)
    plot_quality(rows, intervals, ROOT / "docs" / "images" / f"{path.stem}.png")


def plot_quality(rows: list[dict], intervals: list[dict], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.2))
    for name, colour in (("edm molecule", "C0"), ("strict valid", "C1")):
        x, y = [row["evaluations"] for row in rows], [row[name] for row in rows]
        low, high = zip(*([100 * end for end in interval[name]] for interval in intervals))
        axis.plot(x, y, "o-", color=colour, label=f"molflow, {name}")
        axis.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    for k, (name, points) in enumerate(PEERS.items()):
        axis.plot(list(points), list(points.values()), "sDv^Px"[k], color="0.45", ms=5, label=f"{name}, edm molecule")
    axis.axhline(REAL, color="0.6", lw=0.8, ls=":")
    axis.annotate("real molecules, edm", (1, REAL + 0.2), color="0.4", fontsize=8)
    axis.set(xscale="log", xlabel="network evaluations", ylabel="% of samples", ylim=(0, 101))
    axis.legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def speed(model: str, device: str, n: int, evaluations: list[int], precision: list[str], repeats: int) -> None:
    """`molflow sample` as a whole process, start and SDF included, and its start; memory of one batch by itself."""
    if repeats < 1:
        raise UserError(f"--repeats must be at least 1, not {repeats}")
    start = statistics.median(timed(model, device, 1, 1) for _ in range(repeats))
    print(f"one molecule, one evaluation: {start:.1f} s", flush=True)
    rows = []
    for count in evaluations:
        how = jobs.loaded(model, device).defaults.spending(count)
        turns = [[timed(model, device, n, count, each) for each in precision] for _ in range(repeats)]
        for k, each in enumerate(precision):
            seconds = statistics.median(turn[k] for turn in turns)
            row = {"evaluations": count, "steps": how.steps, "seconds": seconds, "molecules / s": n / seconds}
            ratio = statistics.median(turn[k] / turn[0] for turn in turns)
            rows.append(row | {"precision": each, f"of {precision[0]}": round(ratio, 2)})
            print(rows[-1], flush=True)
    memory = []
    for size in (1, 64, 256, 1024):
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import qm9; "
        code += f"print(qm9.peak({str(locate(model))!r}, {device!r}, {size}))"
        out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        memory.append({"molecules at once": size, "peak MiB": float(out)})
    protocol = f"model {model}, {device}, whole process to SDF; medians of {repeats}, precisions in turns"
    where = "" if device == "cpu" else f"_{device}"
    report(f"qm9_speed_{Path(model).name}{where}", rows, protocol=protocol, n=n, start=start, memory=memory)
    print(memory)


def timed(model: str, device: str, n: int, count: int, precision: str = PRECISIONS[0]) -> float:
    """Seconds of `molflow sample`, from the start of its process to the SDF."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "molflow", "sample", model, "--n", str(n), "--device", device]
        command += ["--evaluations", str(count), "--precision", precision, "--out", f"{folder}/molecules.sdf"]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - started


def peak(model: str, device: str, size: int) -> float:
    """Peak MiB of a process that samples so many molecules of 18 atoms as one batch, two evaluations."""
    import torch

    loaded = molflow.load(model, device)
    loaded.portions.pairs = lambda device: size * 18**2
    loaded.sample(size, steps=2, atoms=18)
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def curve(model: str, device: str, runs: list[str]) -> None:
    """The judged rows of each run's metrics.csv, beside those of other runs that are known already."""
    path, names = RESULTS / "qm9_curve.json", {Path(folder).name for folder in runs}
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [row for row in known if row["run"] not in names]
    before = len(rows)
    for folder in runs:
        for row in Run(folder).read_metrics():
            if row.get("edm_molecule_stable"):
                stable, valid = (100 * float(row[name]) for name in ("edm_molecule_stable", "strict_valid"))
                seen = {"run": Path(folder).name, "molecules": int(row["molecules"]), "seconds": float(row["seconds"])}
                rows.append({**seen, "val loss": float(row["val_loss"]), "edm molecule": stable, "strict valid": valid})
    if len(rows) == before:
        sys.exit(f"no judged rows in {', '.join(runs)}")
    report(path.stem, rows, protocol="averaged weights, samples drawn and scored during training, %", n=len(rows))
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
    for axis, key, scale in zip(axes, ("molecules", "seconds"), (1e3, 60)):
        for run in dict.fromkeys(row["run"] for row in rows):
            mine = [row for row in rows if row["run"] == run]
            axis.plot([row[key] / scale for row in mine], [row["edm molecule"] for row in mine], "o-", label=run)
        axis.axhline(82.0, color="0.6", lw=0.8, ls=":")
        axis.set(xscale="log", xlabel={"molecules": "thousand molecules seen", "seconds": "minutes"}[key])
        axis.xaxis.set(major_locator=LogLocator(subs=(1, 3)), major_formatter="{x:,g}", minor_formatter="")
    axes[0].set(ylabel="edm molecule stable, %")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "images" / "qm9_curve.png", dpi=150)


if __name__ == "__main__":
    command(main)
