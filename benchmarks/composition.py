"""Elements that add up: python benchmarks/composition.py --data qm9.safetensors [--model qm9] [--n 500].

How many molecules have a formula of the training set, and the one that was drawn for them, as the pull towards formulas
grows (``strength``) and for how long it lasts (``until``); with the number of heavy atoms beside that of the data.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import numpy as np
from common import command, report
from variety import some, variety

import molflow
from molflow import composition
from molflow.chem.formula import spell

WAYS = ((0.0, composition.UNTIL), (1.0, composition.UNTIL), (4.0, composition.UNTIL), (4.0, 1.0), (50.0, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the training data")
    parser.add_argument("--model", default="qm9")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    model, ids = molflow.load(args.model, "cpu"), np.arange(args.n)
    elements = composition.grouped(model.vocabulary)[0]
    wanted = model.formulas.at(args.seed, ids, model.sizes.at(args.seed, ids), elements)
    rows = [
        {"strength": "data", "until": "", **described(molflow.Batch.from_rdkit(some(args.data, "test", args.n)), {})}
    ]
    for strength, composition.UNTIL in WAYS:
        batch = model.sample(args.n, seed=args.seed, steps=args.steps, composition=strength, valences=0)
        counts = np.stack([(batch.atom.numpy() == number).sum(1) for number in elements], 1)
        scores = molflow.score(batch, protocols=["edm", "strict"], tier="protocols", rows=False)
        shares = {"edm molecule": scores["edm"].molecule_stable, "strict valid": scores["strict"].valid}
        shares |= {"strict valid unique": scores["strict"].valid_unique}
        row = {"strength": strength, "until": composition.UNTIL}
        row |= {name: round(100 * rate.value, 1) for name, rate in shares.items()}
        row["own formula"] = round(100 * float((counts == wanted).all(1).mean()), 1)
        rows.append(row | described(batch, dict(model.formulas.weights)))
    protocol = (
        f"model {args.model}, {args.steps} steps; % of all samples; heavy atoms and composition of what RDKit reads"
    )
    report("composition", rows, protocol=protocol, n=args.n, seed=args.seed)


def described(batch: Any, known: dict[str, float]) -> dict[str, Any]:
    """Known formulas, heavy atoms, and what the molecules are made of."""
    formulas = [spell(Counter(atom[mask])) for atom, mask in zip(batch.atom.numpy(), batch.mask.numpy())]
    heavy = np.array([(atom[mask] > 1).sum() for atom, mask in zip(batch.atom.numpy(), batch.mask.numpy())])
    found = (
        {"a known formula": round(100 * sum(text in known for text in formulas) / len(formulas), 1)} if known else {}
    )
    found |= {f"{n} heavy": round(100 * float((heavy == n).mean()), 1) for n in (8, 9)}
    return found | {"10 or more": round(100 * float((heavy > 9).mean()), 1)} | variety(batch.to_rdkit())


if __name__ == "__main__":
    command(main)
