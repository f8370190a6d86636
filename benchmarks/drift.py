"""What a model expects on the way, against what the data hold: python benchmarks/drift.py --data qm9.safetensors.

Held-out molecules noised to a time t are where a perfect flow would be at t: there the numbers of single, double and
triple bonds that the model expects are to be the data's, at every t. On its own ways from noise they are to be so too;
the time from which they are not is where its ways leave the data's states. Without haste, composition or an order of
the labels.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import one_hot

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, report
from held_out import HeldOut

from molflow.batch import Batch
from molflow.device import fast_matmul
from molflow.solvers.integrate import integrate
from molflow.solvers.multistep import Multistep
from molflow.solvers.schedule import grid

ORDERS = {1: "single", 2: "double", 3: "triple"}
SHOWN = 12  # times of the way


def bonds(law: Tensor, x: Batch) -> Tensor:
    """The expected bonds of each order in each molecule, [B, 3], of laws [B, N, N, K]."""
    return (law * x.pair_mask.triu().unsqueeze(-1)).sum((1, 2))[:, list(ORDERS)]


def told(seen: list[Tensor], whose: str) -> dict[str, float]:
    """Their means, and the standard error of the rarest one's."""
    counts = torch.cat(seen).double()
    means = {f"{whose} {order}": round(mean, 3) for order, mean in zip(ORDERS.values(), counts.mean(0).tolist())}
    return {**means, f"{whose} triple +-": round(float(counts[:, -1].std() / len(counts) ** 0.5), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the training data, whose validation part is used")
    parser.add_argument("--model", default="qm9")
    parser.add_argument("--steps", type=int, default=50, help="of the way, on quadratic times")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    held_out = HeldOut(args.model, args.data, args.n)
    model = held_out.model
    times = grid("quadratic", args.steps)
    shown = times[:-1][:: max(1, args.steps // SHOWN)]
    data: list[Tensor] = []
    there: dict[float, list[Tensor]] = {t: [] for t in shown}  # on the data's states
    own: dict[float, list[Tensor]] = {t: [] for t in times[:-1]}  # on its ways

    def watch(end: dict[str, Tensor], x: Batch, t: float) -> dict[str, Tensor]:
        own[t].append(bonds(end["bond"], x))
        return end

    for x0, x1, rng in held_out.pairs(args.seed):
        data.append(bonds(one_hot(x1.bond, len(model.vocabulary.bonds)), x1))
        with torch.no_grad(), fast_matmul():
            for t in shown:
                x, flow = held_out.noised(x0, x1, t, rng), model.flow()
                flow.endpoint(x, t)  # the hint
                there[t].append(bonds(flow.endpoint(x, t)["bond"], x))
            integrate(model.flow(steer=watch), x0, times, Multistep(), rng)
    rows = [{"t": "data", **told(data, "data")}]
    rows += [{"t": round(t, 3), **told(there[t], "data"), **told(own[t], "own")} for t in shown]
    report(
        f"drift_{Path(args.model).name}_{args.steps}",
        rows,
        protocol=f"bonds a molecule that {args.model} expects, with a hint, on held-out molecules noised to t and on "
        f"its own ways of {args.steps} steps of multistep, haste 1, no composition",
        n=len(held_out),
        seed=args.seed,
    )


if __name__ == "__main__":
    command(main)
