"""molflow straightness"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molflow.config import Config
    from molflow.data.store import Store
    from molflow.generate import Model
    from molflow.objectives.objective import Objective

BARS = 10  # lines of the curve that is printed


def straightness(
    model: str,
    *,
    n: int = 100,
    steps: int = 100,
    grid: str = "linear",
    seed: int = 0,
    atoms: str | None = None,
    data: str | None = None,
    device: str = "auto",
    json: str | None = None,
    overwrite: bool = False,
) -> None:
    """Measure how straight a model's ways from noise to molecule are, and how long: what few steps can do.

    A straightness of 0 means that one step would do; where the ways bend is printed by time. With data, also what the
    model's coupling does to their pairs with noise.

    Args:
        model: a shipped model by name, a run folder, or the path of its weights
        n: samples followed from noise to their end
        steps: Euler steps of each
        grid: where the steps lie
        seed: of the samples
        atoms: sizes wanted, such as 12, 9-29 or 9,12,15-17 (default: as in the training set)
        data: a data file whose pairs the coupling is measured on
        device: auto, cpu, cuda or mps
        json: write all figures to this file
        overwrite: replace the file if it exists

    Examples:
        molflow straightness small --n 200
        molflow straightness runs/a --data qm9.safetensors --json straightness.json
    """
    from molflow.analysis.straightness import coupling_costs
    from molflow.analysis.straightness import straightness as measure
    from molflow.atomic import finite, write_json
    from molflow.build import UserError
    from molflow.checkpoint import load, read_card
    from molflow.cli.outputs import check_outputs, model_files
    from molflow.data.store import Store

    check_outputs({"--json": json}, [*model_files(model), data], overwrite)
    if n < 1:
        raise UserError(f"--n must be at least 1, not {n}")
    loaded, store = load(model, device), Store(data) if data else None
    if store is not None and store.dim != loaded.dim:
        raise UserError(f"{data} has {store.dim} dimensions, and {model} was trained on {loaded.dim}")
    config = read_card(model).config
    objective = _pairing(config, loaded, store) if store is not None else None
    found = measure(loaded, n, steps=steps, grid=grid, seed=seed, atoms=atoms, progress=sys.stderr.isatty())
    print(f"{model}: {n} samples, {steps} Euler steps on a {grid} grid, seed {seed}, on {loaded.device}")
    print(f"straightness: {found.value:.4f} +- {found.error:.4f} (0 is straight)")
    print(f"way over displacement: {found.detour:.4f}")
    print(f"transport cost: {found.transport:.4f} angstrom^2 an atom")
    for low, high, value in binned(found.times, found.curve):
        print(f"  t {low:.2f}-{high:.2f}  {value:.4f}  {'#' * round(40 * value / (max(found.curve) or 1))}")
    figures = {"model": model, "grid": grid, "seed": seed, **found.to_dict()}
    if objective is not None and store is not None:
        from molflow.data.loader import Loader

        few = store.indices("train")[: max(n, 1)]
        batches = (batch for _, batch in Loader(store, few, config.data.pairs, epochs=1))
        costs = coupling_costs(objective, loaded.to("cpu").vocabulary.encode, batches, seed)
        print(f"the coupling on {len(few)} molecules of {data}, angstrom^2 a molecule:")
        for name, value in costs.items():
            print(f"  {name}: {value:.4f}")
        figures |= {"data": data, "coupling": costs}
    if json:
        write_json(json, finite(figures))
        print(f"{json} written")


def _pairing(config: Config, loaded: Model, store: Store) -> Objective:
    """What pairs noise with the data as the model's training did."""
    from molflow.experiment import make_objective

    config = replace(config, objective="matching", train=replace(config.train, teacher=None))  # a student's pairs, too
    objective = make_objective(config, loaded)
    objective.coupling.prepare(store.prop_names, store.meta)
    return objective


def binned(times: tuple[float, ...], curve: tuple[float, ...]) -> list[tuple[float, float, float]]:
    """(from, to, mean) of the curve over at most ten spans of the grid."""
    width = -(-len(curve) // BARS)
    spans = [(k, min(k + width, len(curve))) for k in range(0, len(curve), width)]
    return [(times[low], times[high], sum(curve[low:high]) / (high - low)) for low, high in spans]
