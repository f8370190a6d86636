"""A model that is told what its molecules are to have: python benchmarks/told.py --data qm9.safetensors --model M.

Its samples as it draws them, told the training set's censuses as they are where what it is told leans (molflow tell),
and told nothing: how good they are, how far from the data, what they are made of, and in what share of them the
formula, the bonds and the whole census are those that were told. And training molecules of the censuses of the training
set, and of those that the samples have: how far from the data these would be were nothing wrong but their censuses.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, report
from variety import held_out, made_of, scored

import molflow
from molflow.batch import Batch
from molflow.chem.census import take
from molflow.chem.vocabulary import Vocabulary
from molflow.data.censuses import Censuses, counted
from molflow.data.store import Store
from molflow.telling import check_told


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

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        print(row, flush=True)

    check_told(model, args.model)
    ids, leans = np.arange(args.n), model.leans
    sizes = model.sizes.at(args.seed, ids)
    known = Known(args.data, model.vocabulary)
    drawn = known.some(table.at(args.seed, ids, sizes), args.seed)
    keep({"evaluations": "data of the training set's censuses", **scored(drawn, args.data)})
    ways = {"leaning": (table, leans), "plainly": (table, {}), "nothing": (Censuses(), {})}
    for count in args.evaluations:
        for told, (model.censuses, model.leans) in ways.items():
            if told == "leaning" and not leans:
                continue
            how = model.defaults.spending(count)
            batch = model.sample(args.n, seed=args.seed, steps=how.steps)
            row = {"evaluations": count, "told": told, **scored(batch, args.data)}
            if told == "nothing":
                keep(row)
                continue
            wanted = model.asked(None, how).censuses.at(args.seed, ids, sizes)
            found = take(model.vocabulary.encode(batch), model.vocabulary.classes).long().numpy()
            keep(row | kept(found == wanted, model.vocabulary))
            twins = known.some(found, args.seed)
            having = {"told": told, "have one": round(100 * len(twins) / args.n, 1)}
            keep({"evaluations": f"data of the censuses found at {count}", **scored(twins, args.data), **having})
    rows.append({"evaluations": "data", **made_of(held_out(args.data))})
    protocol = (
        f"model {args.model} as it samples, told leaning, plainly or nothing; % of all samples; distances in units of "
        "the floor; triple: bonds a molecule; formula, bonds, all: % of the samples that have what they were told; "
        "data of censuses: a training molecule for each, have one: % of those for which there is one"
    )
    report(args.name, rows, protocol=protocol, n=args.n, seed=args.seed)


class Known:
    """The training molecules by their censuses."""

    def __init__(self, data: str, vocabulary: Vocabulary):
        self.store = Store(data)
        self.ids: dict[tuple[int, ...], list[int]] = {}
        for i, row in sorted(zip(*(part.tolist() for part in counted(self.store, vocabulary)))):
            self.ids.setdefault(tuple(row), []).append(i)

    def some(self, censuses: np.ndarray, seed: int) -> Batch:
        """One that has it for each of the censuses, but for those that none has."""
        rng = np.random.default_rng(seed)
        there = [self.ids[row] for row in map(tuple, censuses.tolist()) if row in self.ids]
        return self.store.batch(np.array([ids[rng.integers(len(ids))] for ids in there], np.int64))


def kept(equal: np.ndarray, vocabulary: Vocabulary) -> dict[str, float]:
    """In what share the numbers [n, M] are those told."""
    atoms, orders = vocabulary.classes["atom"], vocabulary.classes["bond"] - 1
    parts = {"formula": equal[:, :atoms], "bonds": equal[:, atoms : atoms + orders], "all": equal}
    return {name: round(100 * float(part.all(1).mean()), 1) for name, part in parts.items()}


if __name__ == "__main__":
    command(main)
