"""What benchmarks/paths.py compares: data sets, systems, ways to sample them, changes that they are put to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molflow.build import resolve
from molflow.config import Config, read_config
from molflow.paths import PATHS
from molflow.paths.affine import Positions

ROOT = Path(__file__).resolve().parent.parent
EVALUATIONS = (1, 2, 4, 5, 10, 20, 50, 100, 250, 1000)
BASE = ""  # the change that changes nothing


@dataclass(frozen=True)
class Way:
    """Of sampling: a solver on a grid of times."""

    solver: str | dict[str, Any]
    grid: str = "linear"
    most: int = 1000  # evaluations


@dataclass(frozen=True)
class System:
    """A path and a coupling to train, and the ways to sample it; ``after`` names the system whose pairs it learns."""

    path: dict[str, Any]
    coupling: list[Any]
    ways: Mapping[str, Way]
    times: Any = "uniform"
    after: str = ""


@dataclass(frozen=True)
class Task:
    """A data set with the network, the length of training and the size of the samples."""

    config: str
    changes: Mapping[str, Any]
    systems: Mapping[str, System]
    n: int  # samples a figure rests on
    judge: Way  # how samples are drawn while training goes on
    judged: int = 20  # evaluations of those
    points: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # of training, where it is judged
    n_judged: int = 60
    evaluations: tuple[int, ...] = EVALUATIONS
    few_evaluations: tuple[int, ...] = (5, 20, 100)  # of changes to the recipe
    few: Mapping[int, int] = field(default_factory=dict)  # samples at these evaluations, by the first seed alone
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pairs: int = 5000  # samples that a reflowed model learns
    readings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # changes to a system's path alone

    def applies(self, system: str, variant: str) -> bool:
        """Whether a change means something to a system: readings are tried on diffusion."""
        name = self.systems[system].path["name"]
        return variant == BASE or not (
            self.systems[system].after or (variant in self.readings and name != "variance_preserving")
        )

    def at(self, system: str, variant: str, seed: int, data: Path) -> Config:
        """The experiment of one cell."""
        chosen = self.systems[system]
        path = chosen.path | self.readings.get(variant, {})
        values = {"seed": seed, "data.path": str(data), "path.pos": path, "times": chosen.times}
        values |= {"coupling": chosen.coupling, **self.changes, **self.variants.get(variant, {})}
        return read_config(ROOT / self.config, values)


def _systems(aligned: bool, times: Any) -> dict[str, System]:
    """Those of the comparison; ``aligned`` for molecules, whose atoms can be permuted and which can be turned."""
    grid = "quadratic" if aligned else "linear"
    second = {"multistep": Way("multistep", grid, most=100)}
    euler = {"euler": Way("euler", grid), **second}
    if aligned:  # chance on the way mends labels too
        euler["churn"] = Way("churn", grid, most=100)
    linear, preserving = {"name": "linear"}, {"name": "variance_preserving"}
    most = 100 if aligned else 1000  # beyond, molecules are sampled in the first way alone
    equation = {"ddim": Way("ddim", most=most), "ode": Way("euler", most=most), **second}
    if aligned:  # whether short steps near the end, which labels want, serve the diffusion too
        both = {f"{solver}, quadratic": Way(solver, "quadratic", most=most) for solver in ("ancestral", "ddim")}
        equation = both | equation
    batch_ot = {"name": "minibatch_ot", "aligned": True}
    systems = {
        "diffusion": System(preserving, ["independent"], {"ancestral": Way("ancestral"), **equation}),
        "linear": System(linear, ["independent"], euler, times),
    }
    if aligned:
        systems["linear + align"] = System(linear, ["align"], euler, times)
    systems["linear + OT"] = System(linear, ["minibatch_ot"], euler, times)
    if aligned:
        systems["linear + OT + align"] = System(linear, [batch_ot, "align"], euler, times)
        steady = {name: way for name, way in equation.items() if way.solver != "ancestral"}
        systems["diffusion + align"] = System(preserving, ["align"], steady)
    ways = {"churn": Way("churn"), "ddim": Way("ddim", most=most), **second}
    exploding = {"name": "variance_exploding", "largest": 10.0}
    middle = {"name": "logit_normal", "mean": 0.2, "sd": 1.0}
    systems["annealed"] = System(exploding, ["independent"], ways, middle)
    start = "linear + align" if aligned else "linear"
    systems["reflow"] = System(linear, ["independent"], euler, times, after=start)
    for name, target in PATHS.items():  # every other path of coordinates, so that a new one is measured as it is named
        known = {system.path["name"] for system in systems.values()} | {"custom"}
        if name not in known and issubclass(resolve(target), Positions):  # type: ignore
            systems[name] = System({"name": name}, ["align" if aligned else "independent"], euler, times)
    return systems


READINGS = {
    "predicts noise": {"predicts": "noise", "weigh": "noise"},
    "predicts velocity": {"predicts": "velocity", "weigh": "velocity"},
    "preconditioned": {"predicts": "preconditioned", "weigh": "noise"},
    "weighs noise": {"predicts": "endpoint", "weigh": "noise"},
    "linear schedule": {"schedule": "linear"},
}


def variants(lr: float, pairs: int, steps: int) -> dict[str, dict[str, Any]]:
    """Changes that a recipe should survive; another batch size sees the same number of molecules."""
    return {
        "lr x 3": {"train.lr": 3 * lr},
        "lr / 3": {"train.lr": lr / 3},
        "batch x 4": {"data.pairs": 4 * pairs, "train.steps": steps // 4},
        "batch / 4": {"data.pairs": pairs // 4, "train.steps": steps * 4},
        "uniform times": {"times": "uniform"},
        "beta times": {"times": {"name": "beta", "a": 2.0, "b": 1.0}},
        "logit-normal times": {"times": {"name": "logit_normal", "mean": 0.0, "sd": 1.0}},
    }


def molecules(steps: int, n: int, network: Mapping[str, Any], config: str = "configs/small.yaml", **more: Any) -> Task:
    """Molecules with bonds; labels jump alike in all systems, so only the path of the coordinates differs."""
    given = {f"network.{key}": value for key, value in network.items()} | {"train.steps": steps}
    return Task(
        config,
        given,
        _systems(True, {"name": "beta", "a": 2.0, "b": 1.0}),
        n,
        judge=Way("euler", "quadratic"),
        points=(0.4, 0.6, 0.8, 1.0),
        variants=variants(6e-3, 8000, steps),
        readings=READINGS,
        **more,
    )


def crescents(steps: int, n: int, **more: Any) -> Task:
    """Points in the plane."""
    return Task(
        "configs/moons.yaml",
        {"train.steps": steps, "train.lr": 1e-2, "data.pairs": 256, "network.width": 64, "network.layers": 5},
        _systems(False, "uniform"),
        n,
        judge=Way("euler"),
        n_judged=n,
        variants=variants(1e-2, 256, steps),
        readings=READINGS,
        **more,
    )


SMALL = {"width": 64, "pair_width": 24, "vectors": 6, "heads": 4, "layers": 4}
TINY = {"width": 32, "pair_width": 12, "vectors": 4, "heads": 2, "layers": 3}
FEW = {250: 50, 1000: 50}
TASKS = {
    "crescents": crescents(1500, 1000),
    "small": molecules(1000, 100, SMALL, few=FEW, pairs=2000),
    "qm9": molecules(1500, 100, SMALL, config="configs/qm9_cpu.yaml", few=FEW, pairs=2000),
}
QUICK = {
    "crescents": crescents(300, 500, evaluations=(1, 2, 5, 10, 50), few_evaluations=(20,), pairs=2000),
    "small": molecules(120, 40, TINY, evaluations=(1, 5, 20), few={}, few_evaluations=(20,), pairs=200),
}
