"""Labels that fit together: python benchmarks/valences.py --data qm9.safetensors [--model qm9-relay] [--n 1000].

Samples whose labels are drawn each by itself, and such that valences are filled: how strongly, and from which time on.
Validity is not all: what the molecules are made of stands beside it, and how far they are from the data's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, report
from variety import held_out, made_of, scored

import molflow
from molflow import valences

WAYS = ((0.0, 0.5), (2.0, 0.5), (4.0, 0.5), (7.0, 0.5), (15.0, 0.5), (7.0, 0.0), (7.0, 0.3), (7.0, 0.7))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the model's training data")
    parser.add_argument("--model", default="qm9-relay")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--seed", type=int, default=35)
    args = parser.parse_args()
    model, rows = molflow.load(args.model, "cpu"), []
    for count in args.evaluations:
        for strength, valences.FROM in WAYS:
            how = model.defaults.spending(count)
            batch = model.sample(args.n, seed=args.seed, steps=how.steps, valences=strength)
            row = {"evaluations": count, "strength": strength, "from": valences.FROM if strength else ""}
            rows.append(row | scored(batch, args.data))
            print(rows[-1], flush=True)
    rows.append({"evaluations": "data", **made_of(held_out(args.data))})
    protocol = (
        f"model {args.model} as it samples, but for how strongly valences are filled and from which time; % of all "
        "samples; distances in units of the floor; triple: bonds a molecule"
    )
    report("valences", rows, protocol=protocol, n=args.n, seed=args.seed)


if __name__ == "__main__":
    command(main)
