"""Quality against network evaluations: python benchmarks/evaluations.py [MODEL] [--n 500] [--reference STORE].

Each row is one way of sampling: a solver, a time grid, the labels' temperature and haste, the elements' composition,
how strongly valences are filled, and the evaluations of the network that a molecule may cost. Molecules share seed and
sizes; the rows differ in the integration alone. Rings, the share of molecules with an aromatic one and the elements
stand beside the scores: quality is not to be bought with diversity.

    --evaluations 5,10      at which numbers of evaluations (default: 5, 8, 10, 20, 50)
    --ways 0,4              which of the ways, by their numbers (default: all)
    --learned               besides, on grids learned from the model (molflow tune)
    --without-hint          the network is never told what it predicted last
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, report
from variety import variety

import molflow
from molflow.build import resolve
from molflow.solvers import SOLVERS

WAYS = [  # solver, grid, temperature and haste of the labels, composition of the elements, valences
    ("euler", "linear", 1.0, 1.0, 0.0, 0.0),
    ("euler", "quadratic", 1.0, 1.0, 0.0, 0.0),
    ("midpoint", "quadratic", 1.0, 1.0, 0.0, 0.0),
    ("heun", "quadratic", 1.0, 1.0, 0.0, 0.0),
    ("multistep", "quadratic", 1.0, 1.0, 0.0, 0.0),
    ("multistep", "quadratic", 0.5, 1.0, 0.0, 0.0),
    ("multistep", "quadratic", 1.0, 2.0, 0.0, 0.0),
    ("multistep", "quadratic", 0.5, 2.0, 0.0, 0.0),
    ("multistep", "quadratic", 0.5, 6.0, 0.0, 0.0),
    ("multistep", "quadratic", 1.0, 6.0, 0.0, 0.0),
    ("multistep", "sine", 0.5, 2.0, 0.0, 0.0),
    ("midpoint", "quadratic", 0.5, 2.0, 0.0, 0.0),
    ("churn", "quadratic", 0.5, 2.0, 0.0, 0.0),
    ("confident", "quadratic", 1.0, 1.0, 0.0, 0.0),
    ("confident", "quadratic", 1.0, 3.0, 0.0, 0.0),
    ("corrector", "quadratic", 1.0, 1.0, 0.0, 0.0),
    ("corrector", "quadratic", 1.0, 6.0, 0.0, 0.0),
    ("multistep", "quadratic", 1.0, 6.0, 4.0, 0.0),
    ("confident", "quadratic", 1.0, 3.0, 4.0, 0.0),
    ("multistep", "quadratic", 1.0, 1.0, 4.0, 0.0),
    ("multistep", "quadratic", 1.0, 2.0, 4.0, 0.0),
    ("multistep", "quadratic", 1.0, 1.0, 0.0, 7.0),
    ("midpoint", "quadratic", 1.0, 1.0, 0.0, 7.0),
    ("multistep", "quadratic", 1.0, 6.0, 0.0, 7.0),
    ("confident", "quadratic", 1.0, 1.0, 4.0, 7.0),
    ("confident", "quadratic", 1.0, 3.0, 4.0, 7.0),
    ("confident", "quadratic", 1.0, 6.0, 4.0, 7.0),
    ("confident", "quadratic", 1.0, 3.0, 4.0, 2.0),
    ("confident", "quadratic", 1.0, 3.0, 4.0, 15.0),
]
LEARNED = ("multistep", "learned", 0.5, 2.0, 0.0, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="small")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reference", help="training molecules, for novelty")
    parser.add_argument("--evaluations", default="5,8,10,20,50")
    parser.add_argument("--ways", default=",".join(str(i) for i in range(len(WAYS))))
    parser.add_argument("--learned", action="store_true")
    parser.add_argument("--without-hint", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--name", help="of the results file (default: evaluations_ and the model)")
    args = parser.parse_args()
    model = molflow.load(args.model, device=args.device)
    if args.without_hint:
        forward = model.network.forward
        model.network.forward = lambda x, t, *, hint=None, **leap: forward(x, t, **leap)  # type: ignore[method-assign]
    counts = [int(count) for count in args.evaluations.split(",")]
    ways = [WAYS[int(i)] for i in args.ways.split(",")]
    if args.learned:
        from molflow.analysis.grids import learn_grids

        model.defaults = model.defaults.updated(solver=LEARNED[0], temperature=LEARNED[2], haste=LEARNED[3])
        model.grids.update(learn_grids(model, counts, seed=args.seed + 1))
        ways.append(LEARNED)
    rows, intervals = [], []
    for solver, grid, temperature, haste, composition, valences in ways:
        per_step = resolve(SOLVERS[solver]).evaluations or 1  # type: ignore[attr-defined]
        for evaluations in counts:
            started = time.perf_counter()
            batch = model.sample(
                args.n,
                seed=args.seed,
                steps=max(1, evaluations // per_step),
                solver=solver,
                grid=grid,
                temperature=temperature,
                haste=haste,
                composition=composition,
                valences=valences,
            )
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
            way = {"solver": solver, "grid": grid, "T": temperature, "haste": haste}
            way |= {"composition": composition, "valences": valences}
            way["evaluations"] = model.evaluations
            rows.append(
                {
                    **way,
                    **{name: round(100 * (rate.value or 0), 1) for name, rate in measured.items()},
                    **variety(batch.to_rdkit()),
                    "seconds": seconds,
                }
            )
            intervals.append({**way, **{name: rate.ci95 for name, rate in measured.items()}})
            print(f"{way}: edm molecules {edm.molecule_stable}, strict valid {strict.valid}", flush=True)
    who = f"{args.model}, without hints" if args.without_hint else args.model
    protocol = (
        f"model {who}; percent of all samples (novel: of the unique); T and haste are the labels', composition the "
        "elements'; a two-stage solver takes half the steps, and heun's last, plain Euler, saves an evaluation"
    )
    name = args.name or f"evaluations_{Path(args.model).name}"
    report(name, rows, protocol=protocol, n=args.n, seed=args.seed, intervals=intervals, grids=model.grids)


if __name__ == "__main__":
    command(main)
