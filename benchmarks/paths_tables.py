"""Cells -> the six tables of docs/evidence.md, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from paths_book import Cell, key
from paths_plan import BASE, Task

SHARE = 0.95  # of the best, where a system counts as arrived
MEASURES = ("strict valid", "edm molecule", "edm valid unique")


class Results:
    """The cells of one task, asked for figures over seeds. Higher is better in ``good``, whatever the measure."""

    def __init__(self, name: str, task: Task, cells: Mapping[str, Cell]):
        self.name, self.task, self.cells = name, task, cells
        self.points = name == "crescents"
        self.measure = "w2" if self.points else MEASURES[0]
        floor = cells.get(key("data", "floor", 0), {}).get("w2")
        self.floor = statistics.fmean(floor) if floor else None

    def of(self, system: str, variant: str = BASE) -> list[Cell]:
        """The cells of all seeds."""
        found = [c for c in self.cells.values() if c["system"] == system and c["variant"] == variant and "train" in c]
        return sorted(found, key=lambda cell: cell["seed"])

    def systems(self) -> list[str]:
        return [name for name in self.task.systems if self.of(name) and self.ways(name)]

    def ways(self, system: str, variant: str = BASE) -> list[str]:
        known = self.task.systems[system].ways
        return [way for way in known if any(f"curve {way}" in cell for cell in self.of(system, variant))]

    def values(self, system: str, way: str, evaluations: int, measure: str, variant: str = BASE) -> list[float]:
        """One figure a seed."""
        return list(self.by_seed(system, way, evaluations, measure, variant).values())

    def by_seed(self, system: str, way: str, evaluations: int, measure: str, variant: str = BASE) -> dict[int, float]:
        cells = {cell["seed"]: cell.get(f"curve {way}", {}) for cell in self.of(system, variant)}
        return {seed: curve[str(evaluations)][measure] for seed, curve in cells.items() if str(evaluations) in curve}

    def mean(self, system: str, way: str, evaluations: int, measure: str | None = None) -> float | None:
        found = self.values(system, way, evaluations, measure or self.measure)
        return statistics.fmean(found) if found else None

    def evaluations(self) -> list[int]:
        return [e for e in self.task.evaluations if any(self.values(s, w, e, "cpu") for s, w in self.curves())]

    def curves(self) -> list[tuple[str, str]]:
        return [(system, way) for system in self.systems() for way in self.ways(system)]

    def good(self, value: float) -> float:
        """1 is as good as the data: the floor's W2 over the samples', or the share that is valid."""
        return (self.floor or value) / value if self.points else value

    def best(self, system: str) -> float:
        """Over ways and evaluations, of means over at least as many samples as most figures rest on."""
        full = [e for e in self.evaluations() if e not in self.task.few]
        found = [self.mean(system, way, e) for way in self.ways(system) for e in full]
        return max((self.good(value) for value in found if value is not None), default=0.0)

    def best_of(self, system: str, evaluations: int, variant: str = BASE, like: str | None = None) -> list[float]:
        """One figure a seed, in the way that is best on the average; ``like``: of the seeds that this variant has."""
        seeds = {cell["seed"] for cell in self.of(system, variant if like is None else like)}
        each = []
        for way in self.ways(system, variant):
            found = self.by_seed(system, way, evaluations, self.measure, variant)
            each.append([value for seed, value in found.items() if seed in seeds])
        return max((v for v in each if v), key=lambda v: self.good(statistics.fmean(v)), default=[])

    def first(self, system: str, level: float) -> tuple[int, str] | None:
        """The smallest number of evaluations whose mean reaches ``level``, and the way."""
        for e in self.evaluations():
            for way in self.ways(system):
                value = self.mean(system, way, e)
                if value is not None and self.good(value) >= level:
                    return e, way
        return None


def quality(results: Results, measure: str) -> list[list[str]]:
    """1: means over seeds, and their standard deviation."""
    evaluations = results.evaluations()
    lines = [["system", "sampled by", *map(str, evaluations)]]
    for system, way in results.curves():
        row = [spread(results.values(system, way, e, measure), measure) for e in evaluations]
        lines.append([system, way, *row])
    return lines


def arrival(results: Results) -> list[list[str]]:
    """2: evaluations to 95 % of the own best and of diffusion's, and the seconds these take beside diffusion's."""
    lines = [["system", "best", "95 % of its own best", "95 % of diffusion's best", "sampling seconds saved"]]
    goal = SHARE * results.best("diffusion")
    base = results.first("diffusion", goal)
    for system in results.systems():
        own, there = (results.first(system, level) for level in (SHARE * results.best(system), goal))
        saved = ""
        if base and there:
            seconds = [results.mean(name, way, e, "cpu") for name, (e, way) in (("diffusion", base), (system, there))]
            saved = f"{seconds[0] / seconds[1]:.1f} x" if all(seconds) else ""
        best = results.best(system)
        shown = f"W2 {results.floor / best:.3f}" if results.points and results.floor else f"{100 * best:.1f} %"
        lines.append([system, shown, _place(own), _place(there), saved])
    return lines


def training(results: Results) -> list[list[str]]:
    """3: steps and seconds until the curve of the mean over seeds reaches where diffusion's ends; memory."""
    measure = results.measure
    lines = [["system", f"at the end, {results.task.judged} evaluations", "steps", "seconds", "ms a step", "peak MiB"]]
    ends = [cell["train"]["curve"][-1][measure] for cell in results.of("diffusion")]
    goal = results.good(statistics.fmean(ends)) if ends else 0.0
    for system in results.systems():
        cells = results.of(system)
        records = [cell["train"] for cell in cells]
        end = spread([record["curve"][-1][measure] for record in records], measure)
        reached = ["never", ""]
        for points in zip(*(record["curve"] for record in records)):
            if results.good(statistics.fmean(point[measure] for point in points)) >= goal:
                reached = [f"{points[0]['step']:,}", f"{statistics.fmean(p['seconds'] for p in points):.0f}"]
                break
        pace = statistics.median(1000 * record["seconds"] / record["steps"] for record in records)
        memory = [cell["memory"] for cell in cells if "memory" in cell]
        lines.append([system, end, *reached, f"{pace:.1f}", f"{memory[0]:.0f}" if memory else ""])
    return lines


def robustness(results: Results, evaluations: int = 20) -> list[list[str]]:
    """4: the best way's figure after each change, and the widest fall from the recipe as it is."""
    changes = [BASE, *results.task.variants, *results.task.readings]
    lines = [["system", *(change or "as it is" for change in changes), "worst loss"]]
    for system in results.systems():
        cells, losses = [], []
        for change in changes:
            top = results.best_of(system, evaluations, change)
            cells.append(spread(top, results.measure))
            base = results.best_of(system, evaluations, like=change)  # of the same seeds
            if change and top and base:
                losses.append(1 - results.good(statistics.fmean(top)) / (results.good(statistics.fmean(base)) or 1))
        if losses:
            lines.append([system, *cells, f"{100 * max(losses):.0f} %"])
    return [[row[k] for k in range(len(row)) if any(line[k] for line in lines[1:])] for row in lines]


def geometry(results: Results) -> list[list[str]]:
    """5: the way from noise to data, how it is walked, and what that buys at few evaluations."""
    few = [e for e in (5, 10, 20) if e in results.evaluations()]
    lines = [["system", "paired at, A", "pairing, ms", "bend", "detour", *(f"{results.measure} @{e}" for e in few)]]
    for system in results.systems():
        cells = results.of(system)
        paired = next((cell["travel"] for cell in cells if "travel" in cell), None)
        straight = [cell["straight"] for cell in cells if "straight" in cell]
        walked = [
            f"{statistics.fmean(s[name] for s in straight):.3f}" if straight else "" for name in ("bend", "detour")
        ]
        best = [spread(results.best_of(system, e), results.measure) for e in few]
        shown = [f"{paired['way']:.2f}", f"{paired['ms']:.1f}"] if paired else ["", ""]
        lines.append([system, *shown, *walked, *best])
    return lines


def determinism(results: Results) -> list[list[str]]:
    """6: what the noise decides; the first seed."""
    names = ("same seed", "other chance", "other noise", "stretch median", "stretch 90 %", "labels changed")
    lines = [["system", "sampled by", *names]]
    for system in results.systems():
        for way in results.task.systems[system].ways:
            for cell in results.of(system)[:1]:
                if found := cell.get(f"determinism {way}"):
                    lines.append([system, way, *(f"{found[name]:.3g}" for name in names)])
    return lines


def spread(values: Sequence[float], measure: str) -> str:
    """mean ± standard deviation; shares in percent."""
    if not values:
        return ""
    scale, digits = (1, 3) if measure == "w2" else (100, 1)
    mean = f"{scale * statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {scale * statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def markdown(lines: Iterable[Sequence[str]]) -> str:
    head, *rows = ([str(cell) for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def parts(results: Results) -> dict[str, tuple[str, list[list[str]]]]:
    """All tables of a task, by the name under which docs/evidence.md holds them."""
    measures = ["w2"] if results.points else MEASURES
    tables = {
        f"quality {measure}": (f"1. {measure} against evaluations", quality(results, measure)) for measure in measures
    }
    return tables | {
        "arrival": ("2. evaluations that suffice", arrival(results)),
        "training": ("3. training to diffusion's final quality", training(results)),
        "robustness": ("4. robustness, at 20 evaluations", robustness(results)),
        "geometry": ("5. transport and straightness", geometry(results)),
        "determinism": ("6. determinism", determinism(results)),
    }


def everything(results: Results) -> str:
    """All tables of a task, to be read on the screen."""
    floor = f"floor of W2, training points against held-out ones: {results.floor:.4f}\n\n" if results.floor else ""
    tables = (f"## {title}\n\n{markdown(table)}" for title, table in parts(results).values())
    return f"# {results.name}\n\n{floor}" + "\n\n".join(tables)


def fill(document: str, results: Results) -> str:
    """The document with each ``<!-- paths TASK TABLE -->`` block holding the table of now."""
    for name, (_, table) in parts(results).items():
        start = f"<!-- paths {results.name} {name} -->\n"
        before, found, rest = document.partition(start)
        if found:
            document = before + start + markdown(table) + "\n" + rest[rest.index("<!-- end -->") :]
    return document


def _place(found: tuple[int, str] | None) -> str:
    return f"{found[0]} ({found[1]})" if found else "not reached"
