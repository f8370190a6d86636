"""A model that is told what its molecules are to have: python benchmarks/told.py --data qm9.safetensors --model M.

Its samples as it draws them, and with nothing told: how good they are, how far from the data, what they are made of,
and in what share of them the formula, the bonds and the whole census are those that were told.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, report
from variety import held_out, made_of, scored

import molflow
from molflow.build import UserError
from molflow.chem.census import GRAPH, take
from molflow.data.censuses import Censuses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the model's training data")
    parser.add_argument("--model", required=True, help="one that is told")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--seed", type=int, default=36)
    parser.add_argument("--name", default="told", help="of the results file")
    args = parser.parse_args()
    model, rows = molflow.load(args.model, "cpu"), []
    table = model.censuses
    if not (model.network.census and table):
        raise UserError(f"model {args.model} is told nothing: its network has no census")
    ids = np.arange(args.n)
    wanted = table.at(args.seed, ids, model.sizes.at(args.seed, ids))
    for count in args.evaluations:
        for told in (True, False):
            model.censuses = table if told else Censuses()
            batch = model.sample(args.n, seed=args.seed, steps=model.defaults.spending(count).steps)
            found = take(model.vocabulary.encode(batch), model.vocabulary.classes).long().numpy()
            rows.append({"evaluations": count, "told": told, **scored(batch, args.data)})
            if told:
                rows[-1] |= kept(found == wanted, table.atoms)
            print(rows[-1], flush=True)
    rows.append({"evaluations": "data", **made_of(held_out(args.data))})
    protocol = (
        f"model {args.model} as it samples, told and not told; % of all samples; distances in units of the floor; "
        "triple: bonds a molecule; formula, bonds, all: % of the samples that have what they were told"
    )
    report(args.name, rows, protocol=protocol, n=args.n, seed=args.seed)


def kept(equal: np.ndarray, atoms: int) -> dict[str, float]:
    """In what share the numbers [n, M] are those told."""
    parts = {"formula": equal[:, :atoms], "bonds": equal[:, atoms : -len(GRAPH)], "all": equal}
    return {name: round(100 * float(part.all(1).mean()), 1) for name, part in parts.items()}


if __name__ == "__main__":
    command(main)
