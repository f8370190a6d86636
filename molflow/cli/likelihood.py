"""molflow likelihood"""

from __future__ import annotations

import sys
from typing import Literal


def likelihood(
    model: str,
    data: str,
    *,
    n: int = 100,
    split: Literal["train", "val", "test", "all"] = "test",
    exact: bool = False,
    probes: int | None = None,
    steps: int = 50,
    last: float = 1e-3,
    seed: int = 0,
    device: str = "auto",
    json: str | None = None,
    overwrite: bool = False,
) -> None:
    """Tell how probable a model of coordinates finds molecules: nats, and bits per dimension.

    The density follows from the flow's ODE, integrated from the molecule back to noise. A model that also makes
    elements or bonds has none; train one with data.fields=[pos]. docs/likelihood.md says what the figures mean.

    Args:
        model: a run folder, or the path of a model's weights
        data: a data file
        n: molecules, drawn at random from the split
        split: which part of the data: train, val, test or all
        exact: the divergence by one backward pass for each coordinate, which is slow for large clouds
        probes: random signs that estimate the divergence instead (default: 1)
        steps: Runge-Kutta steps from data to noise, of four evaluations each
        last: of the time, before the end, through which the field is held
        seed: of the draw and of the random signs
        device: auto, cpu, cuda or mps
        json: write all figures to this file, those of each molecule too
        overwrite: replace the file if it exists

    Examples:
        molflow likelihood runs/moons moons.safetensors --exact
        molflow likelihood runs/pos qm9.safetensors --n 1000 --json likelihood.json
    """
    import math

    from molflow.analysis.likelihood import bits_per_dimension, dimensions, log_prob
    from molflow.atomic import finite, write_json
    from molflow.build import UserError
    from molflow.checkpoint import load
    from molflow.cli.outputs import check_outputs, model_files
    from molflow.data.store import Store
    from molflow.rng import numpy_generator

    if n < 1:
        raise UserError(f"--n must be at least 1, not {n}")
    if exact and probes is not None:
        raise UserError("--exact needs no --probes: they estimate what it computes; give one of them")
    check_outputs({"--json": json}, [*model_files(model), data], overwrite)
    loaded, store = load(model, device), Store(data)
    if store.dim != loaded.dim:
        raise UserError(f"{data} has {store.dim} dimensions, and {model} was trained on {loaded.dim}")
    index = store.indices(split)
    if not len(index):
        raise UserError(f"{data} has no molecules in the split {split!r}; choose another --split, such as all")
    index = sorted(numpy_generator(seed).permutation(index)[:n].tolist())
    batch = store.batch(index, fields=["pos"])

    signs = 1 if probes is None else probes
    how = {"probes": None if exact else signs, "steps": steps, "last": last, "seed": seed}
    log_p = log_prob(loaded, batch, **how, progress=sys.stderr.isatty())
    dims = dimensions(loaded, batch)
    bits, error = bits_per_dimension(log_p, dims)
    spread = float(log_p.std()) / math.sqrt(len(log_p)) if len(log_p) > 1 else math.nan

    way = "exact divergence" if exact else f"{signs} random signs" if signs > 1 else "one random sign"
    what = "molecules" if "atom" in store.fields else "clouds"
    print(f"{model}: {len(index)} {what} of {data} ({split}), {steps} steps, {way}, seed {seed}, on {loaded.device}")
    print(f"log p of the coordinates, given their number: {float(log_p.mean()):.3f} +- {spread:.3f} nats a molecule")
    unit = ", coordinates in angstrom" if "atom" in store.fields else ""
    print(f"bits per dimension: {bits:.4f} +- {error:.4f} (standard errors), of {int(dims.sum()):,} dimensions{unit}")
    if json:
        figures = {
            "model": model,
            "data": data,
            "checksum": store.checksum,
            "split": split,
            "exact": exact,
            **how,
            "nats": {"value": float(log_p.mean()), "error": spread},
            "bits_per_dimension": {"value": bits, "error": error},
            "molecules": {"index": index, "log_prob": log_p.tolist(), "dimensions": dims.tolist()},
        }
        write_json(json, finite(figures))
        print(f"{json} written")
