"""Where on the way variety is lost: python benchmarks/restart.py --data qm9.safetensors [--model qm9] [--n 300].

Held-out molecules are noised to a time t, as in training, and the model completes them. From t near 1 they come back;
from t = 0 they are the model's own. In between, a share that falls away tells at what times the model has not learnt
what the data are.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import report
from variety import variety

import molflow
from molflow.checkpoint import read_card
from molflow.data.loader import BatchPlan
from molflow.data.store import Store
from molflow.device import fast_matmul
from molflow.experiment import make_objective
from molflow.flow import Flow
from molflow.rng import Rng
from molflow.solvers.integrate import integrate
from molflow.solvers.multistep import Multistep
from molflow.solvers.schedule import rest

TIMES = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)
WAYS = ((1.0, 40), (6.0, 20))  # haste, and steps of the whole way


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the training data, whose validation part is used")
    parser.add_argument("--model", default="qm9")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    model, store = molflow.load(args.model, "cpu"), Store(args.data)
    objective = make_objective(read_card(args.model).config, model)
    index = store.indices("val")
    index = index[:: max(1, len(index) // args.n)][: args.n]
    plan = list(BatchPlan(store.sizes[index], 20_000, shuffle=False).epoch(0))

    @torch.no_grad()
    def completed(t: float, haste: float, steps: int) -> list:
        n = max(3, round(steps * (1 - t) ** 0.5))
        times = rest("quadratic", n, t)
        made = []
        for places in plan:
            rng = Rng(args.seed, torch.from_numpy(places))
            x0, x1 = objective.pair(model.vocabulary.encode(store.batch(index[places])), rng)
            x = model.path.sample(x0, x1, torch.full((len(x1),), t), rng)
            flow = Flow(model.network.eval(), model.path, model.prior, haste=haste)
            with fast_matmul():
                x = integrate(flow, x, times, Multistep(), rng)
            made += model.vocabulary.decode(x).to_rdkit()
        return made

    rows = [{"haste": "", "from t": "data", **variety(store.batch(index).to_rdkit())}]
    rows += [{"haste": h, "from t": t, **variety(completed(t, h, steps))} for h, steps in WAYS for t in TIMES]
    protocol = f"held-out molecules noised to t and completed by {args.model}; of those that RDKit reads"
    report("restart", rows, protocol=protocol, n=args.n, seed=args.seed)


if __name__ == "__main__":
    main()
