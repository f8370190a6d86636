from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molflow.batch import PAIR_FIELDS, Batch
from molflow.paths.jump import Jump
from molflow.paths.path import Path, Time
from molflow.rng import Rng

Ends = Mapping[str, Tensor]  # the endpoint predicted for each field


class Joint:
    """A path for each field of a molecule, spoken to in Batches: all that objectives and solvers know of paths."""

    def __init__(self, paths: Mapping[str, Path]):
        self.paths = dict(paths)

    @property
    def mixes(self) -> bool:
        return any(path.mixes for path in self.paths.values())

    def sample(self, x0: Batch, x1: Batch, t: Time, rng: Rng, fresh: Batch | None = None) -> Batch:
        """x_t, field by field."""
        x = {}
        for name, path in self.paths.items():
            again = getattr(fresh, name) if fresh is not None else None
            x[name] = path.sample(getattr(x0, name), getattr(x1, name), t, rng, again)
        return x1.replace(**x).tidy()

    def goal(self, x0: Batch, x1: Batch, t: Time, fresh: Batch | None = None) -> Batch:
        """The endpoints to learn: x1, but where a path mixes in noise again."""
        if fresh is None:
            return x1
        ends = {
            name: path.goal(getattr(x0, name), getattr(x1, name), t, getattr(fresh, name))
            for name, path in self.paths.items()
        }
        return x1.replace(**ends).tidy()

    def endpoint(self, pred: Mapping[str, Tensor], x: Batch, t: Time) -> dict[str, Tensor]:
        return {name: path.endpoint(pred[name], getattr(x, name), t) for name, path in self.paths.items()}

    def loss(self, pred: Mapping[str, Tensor], x: Batch, x1: Batch, t: Tensor) -> dict[str, Tensor]:
        """For each field the loss of each molecule [B]: the mean over atoms, or the sum over bonds for each atom."""
        atoms = x1.sizes.clamp(min=1)
        losses = {}
        for name, path in self.paths.items():
            each = path.loss(pred[name], getattr(x, name), getattr(x1, name), t)
            if name in PAIR_FIELDS:
                losses[name] = torch.where(x1.pair_mask, each, 0).sum((1, 2)) / (2 * atoms)
            else:
                losses[name] = torch.where(x1.mask, each, 0).sum(1) / atoms
        return losses

    def clock(self, t: float) -> dict[str, float]:
        return {name: path.clock(t) for name, path in self.paths.items()}

    def velocity(self, end: Ends, x: Batch, t: Time, since: float | None = None) -> dict[str, Tensor]:
        """Of each field; labels that have waited ``since`` an earlier time have the rates of that time."""
        times = {name: since if path.discrete and since is not None else t for name, path in self.paths.items()}
        return {name: self.paths[name].velocity(law, getattr(x, name), times[name]) for name, law in end.items()}

    def laws(self, v: Mapping[str, Tensor], x: Batch, t: Time) -> dict[str, Tensor]:
        """Of the labels that jump, from their rates at t."""
        return {
            name: path.law(v[name], getattr(x, name), t) for name, path in self.paths.items() if isinstance(path, Jump)
        }

    def told(self, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The laws of labels that are drawn already: each has that one."""
        paths = {name: path for name, path in self.paths.items() if isinstance(path, Jump)}
        return {name: one_hot(label, paths[name].states).float() for name, label in labels.items()}

    def advance(
        self, x: Batch, v: Mapping[str, Tensor], t: float, s: float, rng: Rng | None, haste: float = 1.0
    ) -> Batch:
        """The molecules at s; pairs are read from their upper triangle, so a bond's two entries jump as one.

        Labels with ``haste`` jump as often as if every step were that many in a row.
        """
        moved = {}
        for name, path in self.paths.items():
            moved[name] = path.advance(getattr(x, name), v[name], t, ahead(path, t, s, haste), rng)
        return x.replace(**moved).tidy()

    def hold(
        self,
        x: Batch,
        end: Ends,
        t: float,
        s: float,
        rng: Rng | None,
        fresh: Batch | None = None,
        churn: float = 0,
        haste: float = 1.0,
    ) -> Batch:
        """The molecules at s if the predicted endpoints were to stay."""
        moved = {}
        for name, path in self.paths.items():
            again = getattr(fresh, name) if fresh is not None else None
            moved[name] = path.hold(getattr(x, name), end[name], t, ahead(path, t, s, haste), rng, again, churn)
        return x.replace(**moved).tidy()

    def commit(
        self,
        x: Batch,
        end: Ends,
        t: float,
        s: float,
        rng: Rng,
        fresh: Batch,
        chance: float,
        haste: float = 1.0,
        labels: Mapping[str, Tensor] | None = None,
    ) -> Batch:
        """``hold``, with the surest labels settled and the others noise; a bond is one label, in the upper triangle.

        The ``labels`` may be drawn already.
        """
        labels = labels or {}
        moved = {}
        for name, path in self.paths.items():
            value, until = getattr(x, name), ahead(path, t, s, haste)
            if isinstance(path, Jump):
                there = x.pair_mask.triu() if name in PAIR_FIELDS else x.mask
                moved[name] = path.commit(end[name], until, rng, getattr(fresh, name), there, chance, labels.get(name))
            else:
                moved[name] = path.hold(value, end[name], t, until, rng)
        return x.replace(**moved).tidy()

    def back(self, x: Batch, t: float, s: float, fresh: Batch, rng: Rng) -> Batch:
        """The molecules with noise added, at an earlier s."""
        moved = {
            name: path.back(getattr(x, name), t, s, getattr(fresh, name), rng) for name, path in self.paths.items()
        }
        return x.replace(**moved).tidy()

    def renew(self, x: Batch, end: Ends, t: float, s: float, fresh: Batch, rng: Rng) -> Batch:
        """The molecules at t with labels that were back at an earlier s, and went on to the endpoints from there."""
        moved = {}
        for name, path in self.paths.items():
            if path.discrete:
                earlier = path.back(getattr(x, name), t, s, getattr(fresh, name), rng)
                moved[name] = path.hold(earlier, end[name], s, t, rng)
        return x.replace(**moved).tidy()


def ahead(path: Path, t: float, s: float, haste: float) -> float:
    """The time to which a step from t to s carries: beyond s for hasty labels, with (1 - s) / (1 - t) to that power."""
    return s if haste == 1 or s >= 1 or not path.discrete else 1 - (1 - t) * ((1 - s) / (1 - t)) ** haste
