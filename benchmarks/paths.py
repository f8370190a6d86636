"""Flow matching measured against diffusion: python benchmarks/paths.py [crescents small qm9] [--quick].

Every system is trained with the same network, the same batches and the same number of steps, and sampled in each of
its ways at 1 to 1000 evaluations. What stands in the results file is not run again, so the same command goes on where
it was stopped; several processes may share the work, each with other --seeds or --systems.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import RESULTS, command
from paths_book import Book, Cell
from paths_measure import determinism, floor, quality, steps_of, straight, travel
from paths_plan import BASE, QUICK, ROOT, TASKS, Task
from paths_tables import Results, everything, fill
from paths_train import keep, make_pairs, peak_memory, train

from molflow.checkpoint import load
from molflow.config import Config
from molflow.data.store import Store
from molflow.data.toys import make_toy
from molflow.generate import Model
from molflow.training.module import Training

PROTOCOL = (
    "same network, batches, steps and sampling seed for every system; samples of the averaged weights; cpu: seconds of "
    "one thread; figures of molecules are shares of all samples"
)


class Comparison:
    """One task: its cells are trained once, kept in ``work``, and measured into the book."""

    def __init__(self, name: str, task: Task, data: Path, work: Path, book: Book):
        self.name, self.task, self.data, self.work, self.book = name, task, data, work, book

    def run(self, system: str, variant: str, seed: int, asked: set[str], most: int = 1000) -> None:
        """Train the cell unless that was done, and measure what is asked for and not yet in the book."""
        cell, parts = self.book.cell(system, variant, seed), self.parts(system, variant, seed)
        missing = [part for part in parts if part not in cell and part.split()[0] in asked]
        points = [point for point in self.points(system, variant, seed, cell) if "curve" in asked and point[1] <= most]
        if not (missing or points or "train" not in cell):
            return
        config, folder = self.task.at(system, variant, seed, self.data), self.folder(system, variant, seed)
        put = partial(self.book.put, system, variant, seed)
        if "train" not in cell or not (folder / "model.safetensors").exists():
            print(f"{self.name}: training {system} {variant} {seed}", flush=True)
            put("train", self.train(system, variant, seed, config, folder))
        model = load(folder, device="cpu")
        for part in missing:
            put(part, parts[part](config, model))
        for name, evaluations in points:
            n = self.task.few.get(evaluations, self.task.n)
            figures = quality(model, self.task.systems[system].ways[name], evaluations, n, self.data)
            put(f"curve {name}", {str(evaluations): figures})
            print(f"{self.name}: {system} {variant} {seed} {name} {evaluations}: {figures}", flush=True)

    def parts(self, system: str, variant: str, seed: int) -> dict[str, Callable[[Config, Model], Any]]:
        """What is measured of a cell besides its curves; some of it for the first seed alone."""
        if variant != BASE:
            return {}
        parts: dict[str, Callable[[Config, Model], Any]] = {"straight": lambda config, model: straight(model)}
        if seed == 0:
            if not self.task.systems[system].after:
                parts["travel"] = lambda config, model: travel(Training(config, Store(self.data)))
                parts["memory"] = lambda config, model: in_a_process_of_its_own(peak_memory, config)
            for name, way in self.task.systems[system].ways.items():
                parts[f"determinism {name}"] = lambda config, model, way=way: determinism(model, way)
        return parts

    def points(self, system: str, variant: str, seed: int, cell: Cell) -> list[tuple[str, int]]:
        """The ways and evaluations that are not in the book."""
        found = []
        for name, way in self.task.systems[system].ways.items():
            done = cell.get(f"curve {name}", {})
            for evaluations in self.task.evaluations if variant == BASE else self.task.few_evaluations:
                dear = evaluations > way.most or (evaluations in self.task.few and seed)
                if not dear and steps_of(way, evaluations) and str(evaluations) not in done:
                    found.append((name, evaluations))
        return found

    def train(self, system: str, variant: str, seed: int, config: Config, folder: Path) -> dict:
        judge = partial(
            quality, way=self.task.judge, evaluations=self.task.judged, n=self.task.n_judged, data=self.data
        )
        after, given = self.task.systems[system].after, {}
        if after:
            given = {"teacher": self.folder(after, BASE, seed), "pairs": folder.with_suffix(".safetensors")}
            steps = 50
            seconds = make_pairs(given["teacher"], given["pairs"], self.task.pairs, steps=steps)
        training, record = train(config, judge, self.task.points, **given)
        keep(training, config, folder)
        return record | ({"pairs": self.task.pairs, "pairs seconds": round(seconds, 1)} if after else {})

    def folder(self, system: str, variant: str, seed: int) -> Path:
        return self.work / f"{system} {variant} {seed}".replace(" + ", "+").replace("/", "by").replace(" ", "_")


def in_a_process_of_its_own(function: Callable[..., Any], *given: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, given)


def open_task(name: str, quick: bool, data: Path | None, out: Path | None) -> Comparison:
    task = (QUICK if quick else TASKS)[name]
    work = ROOT / "runs" / ("paths_quick" if quick else "paths") / name
    work.mkdir(parents=True, exist_ok=True)
    if name == "crescents":
        data = work.parent / "crescents.safetensors"
        if not data.exists():
            make_toy(data, "moons", n=20_000, seed=0)
    elif name == "small":
        data = ROOT / "data" / "small.safetensors"
    elif data is None:
        sys.exit("the task qm9 needs --data, the file that `molflow data qm9` makes")
    return Comparison(
        name, task, data, work, Book((out or (work.parent if quick else RESULTS)) / f"paths_{name}.json", PROTOCOL)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"{', '.join(TASKS)}; the first two")
    parser.add_argument("--quick", action="store_true", help="small and short: the shape of the tables")
    parser.add_argument("--seeds", type=int, nargs="+", default=None)
    parser.add_argument("--systems", nargs="+", metavar="SYSTEM")
    parser.add_argument(
        "--variants", nargs="*", default=[], metavar="CHANGE", help="changes to measure; all: every one"
    )
    parser.add_argument("--parts", nargs="+", default=["curve", "straight", "travel", "memory", "determinism"])
    parser.add_argument("--most", type=int, default=1000, help="evaluations to go up to now; the rest can follow")
    parser.add_argument("--data", type=Path, help="QM9 as made by molflow data qm9")
    parser.add_argument("--out", type=Path, help="folder of the results files; benchmarks/results, or runs if quick")
    parser.add_argument("--tables", action="store_true", help="run nothing, print the tables")
    parser.add_argument(
        "--document", action="store_true", help="run nothing, put tables and plots into docs/evidence.md"
    )
    given = parser.parse_args()
    if unknown := set(given.tasks) - set(TASKS):
        parser.error(f"no task {', '.join(unknown)}; there are {', '.join(TASKS)}")
    known = {system for name in given.tasks or TASKS for system in TASKS[name].systems}
    if strange := set(given.systems or ()) - known:
        parser.error(f"no system {', '.join(sorted(strange))}; there are {', '.join(sorted(known))}")
    torch.set_num_threads(1)
    for name in given.tasks or ("crescents", "small"):
        comparison = open_task(name, given.quick, given.data, given.out)
        task = comparison.task
        if not (given.tables or given.document):
            if name == "crescents" and not comparison.book.cell("data", "floor", 0):
                comparison.book.put("data", "floor", 0, "w2", floor(comparison.data, task.n))
            changes = given.variants or [BASE]
            if changes == ["all"]:
                changes = [BASE, *task.variants, *task.readings]
            for seed in given.seeds or ([0] if given.quick else [0, 1, 2]):
                for variant in changes:
                    for system in given.systems or task.systems:
                        if system in task.systems and task.applies(system, variant):
                            comparison.run(system, variant, seed, set(given.parts), given.most)
        results = Results(name, task, comparison.book.read())
        if given.document:
            from paths_plots import draw  # matplotlib comes with the extra `view`

            document = ROOT / "docs" / "evidence.md"
            document.write_text(fill(document.read_text(), results))
            draw(results, document.parent / "images")
        else:
            print(everything(results))


if __name__ == "__main__":
    command(main)
