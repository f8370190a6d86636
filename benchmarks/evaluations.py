"""Quality against network evaluations: python benchmarks/evaluations.py [MODEL] [--n 500] [--reference STORE].

Each row is one way of sampling: a solver, a time grid and a number of steps. Molecules share seed and sizes; the rows
differ in the integration alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import report

import molflow
from molflow.build import resolve
from molflow.solvers import SOLVERS

WAYS = [("euler", "linear"), ("euler", "quadratic"), ("midpoint", "quadratic"), ("heun", "quadratic")]
EVALUATIONS = (4, 6, 10, 20, 50, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="small")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reference", help="training molecules, for novelty")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    model = molflow.load(args.model, device=args.device)
    rows, intervals = [], []
    for solver, grid in WAYS:
        per_step = resolve(SOLVERS[solver]).evaluations
        for evaluations in EVALUATIONS:
            started = time.perf_counter()
            batch = model.sample(args.n, seed=args.seed, steps=evaluations // per_step, solver=solver, grid=grid)
            seconds = time.perf_counter() - started
            scores = molflow.score(batch, reference=args.reference, protocols=["edm", "strict"])
            edm, strict = scores["edm"], scores["strict"]
            shares = {
                "edm atoms": edm.atom_stable,
                "edm molecules": edm.molecule_stable,
                "strict valid": strict.valid,
                "strict valid unique": strict.valid_unique,
                "strict novel": strict.novel,
            }
            measured = {name: rate for name, rate in shares.items() if rate.value is not None}
            way = {"solver": solver, "grid": grid, "evaluations": evaluations}
            rows.append(
                {**way, **{name: round(100 * rate.value, 1) for name, rate in measured.items()}, "seconds": seconds}
            )
            intervals.append({**way, **{name: rate.ci95 for name, rate in measured.items()}})
            print(f"{solver} {grid} {evaluations}: strict valid {strict.valid}", flush=True)
    protocol = (
        f"model {args.model}, percent of all samples (novel: of the unique); a two-stage solver takes half the steps, "
        "and heun's last, which is a plain Euler step, saves an evaluation"
    )
    name = f"evaluations_{Path(args.model).name}"
    report(name, rows, protocol=protocol, n=args.n, seed=args.seed, intervals=intervals)


if __name__ == "__main__":
    main()
