"""Where on the way variety and precision are lost: python benchmarks/restart.py --data qm9.safetensors [--model qm9].

Held-out molecules are noised to a time t, as in training, and the model completes them. From t near 1 they come back;
from t = 0 they are the model's own. In between, a share that falls away tells at what times the model has not learnt
what the data are. Where the molecules are the data's, what is wrong with their bonds is geometry and not the mixture:
distances to training molecules over those of the held-out molecules themselves, and how far the mean length of rigid
bonds is off (of the kinds that vary by less than 0.012 angstrom in the data), and how widely they vary.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, report
from held_out import HeldOut
from variety import some, variety

from molflow.device import fast_matmul
from molflow.metrics.distributions import compared, observed
from molflow.metrics.intake import of_mols
from molflow.solvers.integrate import integrate
from molflow.solvers.multistep import Multistep
from molflow.solvers.schedule import rest

TIMES = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99)
RIGID, COMMON = 0.012, 30  # angstrom that a kind of bond varies by; how many of them a sample has at least
TRAINING = 4000  # molecules to compare with
WAYS = ((1.0, 40), (6.0, 20))  # haste, and steps of the whole way


Values = Mapping[str, Mapping[str, np.ndarray]]  # of kinds of bonds, of angles


def geometry(mols: Sequence, data: Values, floor: Values) -> dict[str, float]:
    """Of the columns named above."""
    ours = observed(of_mols(mols))
    over = {}
    for kind in ("bond", "angle"):
        distance, least = (compared(kind, each[kind], data[kind])["distance"] for each in (ours, floor))
        over[f"{kind}s"] = round(distance / least, 2)
    bonds = data["bond"]
    rigid = [name for name in bonds if bonds[name].std() < RIGID and len(floor["bond"].get(name, ())) >= COMMON]
    rigid = [name for name in rigid if name in ours["bond"]]
    off = statistics.fmean(abs(ours["bond"][name].mean() - bonds[name].mean()) for name in rigid)
    spread = statistics.fmean(ours["bond"][name].std() for name in rigid)
    return {**over, "rigid off": round(off, 4), "rigid sd": round(spread, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the training data, whose validation part is used")
    parser.add_argument("--model", default="qm9")
    parser.add_argument("--times", type=float, nargs="+", default=list(TIMES), help="to noise them to")
    parser.add_argument("--n", type=int, default=600)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    if strange := [t for t in args.times if not 0 <= t < 1]:
        parser.error(f"--times are from 0 on and below 1, not {strange[0]:g}")
    kept = HeldOut(args.model, args.data, args.n)
    model = kept.model

    @torch.no_grad()
    def completed(t: float, haste: float, steps: int) -> list:
        n = max(3, round(steps * (1 - t) ** 0.5))
        times = rest("quadratic", n, t)
        made = []
        for x0, x1, rng in kept.pairs(args.seed):
            x = kept.noised(x0, x1, t, rng)
            flow = model.flow(haste=haste)
            with fast_matmul():
                x = integrate(flow, x, times, Multistep(), rng)
            made += model.read(x).to_rdkit()
        return made

    held_out = kept.store.batch(kept.index).to_rdkit()
    data, floor = (observed(of_mols(mols)) for mols in (some(args.data, "train", TRAINING), held_out))

    def row(haste: object, t: object, mols: Sequence) -> dict[str, object]:
        return {"haste": haste, "from t": t, **variety(mols), **geometry(mols, data, floor)}

    rows = [row("", "data", held_out)]
    rows += [row(haste, t, completed(t, haste, steps)) for haste, steps in WAYS for t in args.times]
    report(
        f"restart_{Path(args.model).name}",
        rows,
        protocol=f"held-out molecules noised to t and completed by {args.model}; of those that RDKit reads. Bonds, "
        f"angles: distance to {TRAINING:,} training molecules over that of the held-out; rigid: bonds that vary by "
        f"less than {RIGID} angstrom in the data, how far their means are off and their spread, angstrom",
        n=len(kept),
        seed=args.seed,
    )


if __name__ == "__main__":
    command(main)
