"""What is left of molecules in their variants: python benchmarks/vary.py --data qm9.safetensors [--models qm9 ...].

Held-out molecules are noised to a time and completed, as molflow vary does it. Of all variants, percent: those with the
graph of their molecule, those with its formula, and how many are valid and stable.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, report

import molflow
from molflow.chem.formula import formula_of
from molflow.chem.molecule import canonical_smiles
from molflow.data.store import Store

TIMES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="its test part is varied")
    parser.add_argument("--models", nargs="+", default=["qm9", "qm9-relay"])
    parser.add_argument("--times", type=float, nargs="+", default=list(TIMES))
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    store = Store(args.data)
    given = store.batch(store.indices("test", args.n))
    parents = given.to_rdkit()
    rows = []
    for model in args.models:
        for t in args.times:
            made = molflow.vary(model, given, t, seed=args.seed, steps=args.steps, device="cpu", progress=True)
            scores = molflow.score(made, protocols=["edm", "strict"], tier="protocols", rows=False)
            pairs = [(a, b) for a, b in zip(parents, made.to_rdkit()) if a is not None and b is not None]
            shares = {
                "same graph": sum(canonical_smiles(a) == canonical_smiles(b) for a, b in pairs) / len(given),
                "same formula": sum(formula_of(a) == formula_of(b) for a, b in pairs) / len(given),
                "strict valid": scores["strict"].valid.value or 0,
                "edm molecule": scores["edm"].molecule_stable.value or 0,
            }
            rows.append({"model": model, "t": t} | {name: round(100 * share, 1) for name, share in shares.items()})
    report(
        "vary",
        rows,
        protocol=f"held-out molecules noised to t and completed, {args.steps} steps of the whole way; percent of all",
        n=len(given),
        seed=args.seed,
    )


if __name__ == "__main__":
    command(main)
