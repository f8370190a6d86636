"""molflow tune"""

from __future__ import annotations

from collections.abc import Sequence


def tune(
    model: str,
    *,
    steps: Sequence[int] = (5, 8, 10, 20),
    n: int = 96,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Learn a model's best time grids from a few of its own molecules, and keep them with it.

    Afterwards `--grid learned` samples on them. One fine integration serves all numbers of steps. The grids go into the
    model's config.json.

    Args:
        model: a run folder, the path of its weights, or a shipped model by name
        steps: numbers of steps to learn a grid for
        n: molecules to look at
        seed: another seed, other molecules
        device: auto, cpu, cuda or mps

    Examples:
        molflow tune runs/a
        molflow tune runs/a --steps 4,6,12
    """
    from molflow.analysis.grids import learn_grids
    from molflow.build import UserError
    from molflow.checkpoint import load, save_grids

    if not steps or min(steps) < 1 or n < 1:
        raise UserError(f"--steps and --n must be at least 1, not {','.join(map(str, steps))} and {n}")
    loaded = load(model, device)
    grids = learn_grids(loaded, steps, n, seed)
    path = save_grids(model, grids)
    for count, times in grids.items():
        print(f"{count:>4} steps  {' '.join(f'{t:.3f}' for t in times)}")
    print(f"{path} written; try: molflow sample {model} --steps {max(grids)} --grid learned")
