"""Several networks, each for its own stretch of the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from molflow.batch import Batch
from molflow.build import UserError, at, build
from molflow.networks.network import Hint, Network, Widths


class Relay(Network):
    """Each molecule is read by the runner whose leg its time is in: from ``starts[k]`` until the next.

    So a stretch of the way has weights of its own, and an evaluation costs what one runner costs (Balaji et al. 2022).
    Runners are trained together, or apart and then joined by ``molflow relay``.
    """

    whole = False

    def __init__(
        self,
        fields: Widths,
        dim: int,
        runners: Sequence[str | dict[str, Any]] = ("dense", "dense"),
        starts: Sequence[float] = (0.0, 0.6),
    ):
        super().__init__()
        rising = all(a < b for a, b in pairwise([*starts, 1.0]))
        if len(runners) != len(starts) or [*starts][:1] != [0] or not rising:
            raise UserError(
                "network 'relay': starts are one time for each runner, from 0 on, rising and below 1; "
                f"{len(runners)} runners have {', '.join(f'{start:g}' for start in starts) or 'none'}"
            )
        from molflow.networks import NETWORKS

        built: list[Network] = []
        for k, spec in enumerate(runners):
            with at("runners", k):
                built.append(build("network", NETWORKS, spec, fields=fields, dim=dim))
        self.starts, self.specs, self.runners = tuple(starts), tuple(runners), nn.ModuleList(built)
        self.symmetries = frozenset.intersection(*(runner.symmetries for runner in built))
        self.spans = all(runner.spans for runner in built)
        self.census = any(runner.census for runner in built)

    @property
    def layers(self) -> nn.ModuleList:
        """Those of all runners: what is compiled one by one."""
        return nn.ModuleList(layer for runner in self.runners for layer in getattr(runner, "layers", [runner]))

    def leg(self, t: Tensor) -> Tensor:
        """The number of the runner that goes at each time, [B]."""
        return torch.bucketize(t, t.new_tensor(self.starts[1:]), right=True)

    def at(self, t: float) -> Network:
        return self.runners[int(self.leg(torch.tensor([t])))].at(t)  # type: ignore[union-attr]

    def grown(self, weights: Mapping[str, Tensor], fewer: Network) -> dict[str, Tensor]:
        assert isinstance(fewer, Relay)
        out: dict[str, Tensor] = {}
        if [type(runner) for runner in self.runners] != [type(runner) for runner in fewer.runners]:
            raise UserError("its runners are others")
        for k, (runner, known) in enumerate(zip(self.runners, fewer.runners)):
            start = f"runners.{k}."
            theirs = {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}
            out |= {start + name: value for name, value in runner.grown(theirs, known).items()}  # type: ignore[operator]
        return out

    def forward(
        self, x: Batch, t: Tensor, *, hint: Hint | None = None, span: Tensor | None = None
    ) -> dict[str, Tensor]:
        leg = self.leg(t)
        legs = leg.unique().tolist()
        given = {} if span is None else {"span": span}
        if len(legs) == 1:
            out = self.runners[legs[0]](x, t, hint=hint, **given)
        else:
            rows = [(leg == k).nonzero().squeeze(1) for k in legs]
            parts = [
                self.runners[k](
                    x[mine].pad_to(x.mask.shape[1]),
                    t[mine],
                    hint=hint and {name: value[mine] for name, value in hint.items()},
                    **{name: value[mine] for name, value in given.items()},
                )
                for k, mine in zip(legs, rows)
            ]
            back = torch.cat(rows).argsort()
            out = {name: torch.cat([part[name] for part in parts])[back] for name in parts[0]}
        if torch.is_grad_enabled() and len(legs) < len(self.runners):  # data-parallel training waits for every weight
            idle = [weight for k, runner in enumerate(self.runners) if k not in legs for weight in runner.parameters()]
            out["pos"] = out["pos"] + 0 * sum(weight.sum() for weight in idle)
        return out
