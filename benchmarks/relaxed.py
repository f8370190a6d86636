"""How crooked molecules are, whichever they are: python benchmarks/relaxed.py --data qm9.safetensors [--n 200].

Distances of bond lengths to those of the data mix two things up: crooked molecules, and other molecules than the
data's. The way of each molecule to its own nearest minimum of GFN2-xTB knows the first alone. Real molecules have such
a way too, for their geometries are another method's: they are the floor.

    --models qm9:50,20 qm9-fast:4,8     which, at how many evaluations
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import RESULTS, command, report
from variety import some

import molflow
from molflow.metrics.internal import KINDS
from molflow.metrics.measurement import plain

NAME = "relaxed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="QM9, whose test molecules are the floor")
    parser.add_argument("--models", nargs="+", default=["qm9:50,20,10", "qm9-fast:4,8"])
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=51)
    args = parser.parse_args()
    wanted: list[tuple[str, int]] = [("held-out molecules", 0)]
    for text in args.models:
        name, _, counts = text.partition(":")
        wanted += [(name, int(count)) for count in counts.split(",")]
    path = RESULTS / f"{NAME}.json"
    known = json.loads(path.read_text()) if path.exists() else {"rows": []}
    same = known.get("n") == args.n and known.get("seed") == args.seed
    rows = known["rows"] if same else []
    for name, count in wanted:
        if any((row["molecules of"], row["evaluations"]) == (name, count or "") for row in rows):
            continue
        molecules: Any = some(args.data, "test", args.n)
        if count:
            model = molflow.load(name, "cpu")
            molecules = model.sample(args.n, seed=args.seed, steps=model.defaults.spending(count).steps)
        rows.append({"molecules of": name, "evaluations": count or "", **relaxed(molecules)})
        report(
            NAME,
            rows,
            protocol="GFN2-xTB, to each molecule's own minimum, of those that sanitise and "
            "converge: energy in kcal/mol, bonds in angstrom, angles and torsions in degrees",
            n=args.n,
            seed=args.seed,
        )


def relaxed(molecules: Any) -> dict[str, Any]:
    scores = molflow.score(molecules, protocols=["strict"], tier="xtb", rows=False)
    found = plain(scores.sections["energy"]["xtb"])
    changes = {kind: found[f"{kind}_change"]["mean"] for kind in KINDS}
    drop = {"energy, median": found["energy_drop"]["median"], "energy, mean": found["energy_drop"]["mean"]}
    counts = {"measured": found["energy_drop"]["measured"], "topology changed": found["topology_changed"]["count"]}
    return {**{key: float(f"{value:.3g}") for key, value in (drop | changes).items()}, **counts}


if __name__ == "__main__":
    command(main)
