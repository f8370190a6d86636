"""Sizes -> prior -> solver(flow) -> Batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.census import CENSUS
from molflow.chem.vocabulary import Vocabulary
from molflow.composition import Composition, grouped
from molflow.data.censuses import Censuses
from molflow.data.formulas import Formulas
from molflow.data.sizes import Sizes
from molflow.data.wanted import Request, Wanted, formula_in
from molflow.device import fast_matmul
from molflow.flow import Flow
from molflow.networks.network import Network
from molflow.paths.joint import Joint
from molflow.portions import Portions
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.sampling import Sampling
from molflow.solvers.integrate import integrate
from molflow.solvers.schedule import GRIDS, LEARNED, grid
from molflow.valences import Valences

PULL = 4.0  # of the formula that is asked for, where nothing is said of it


class Model:
    """Everything sampling needs: a network read through a path, a prior to start from, and the sizes it was trained on.

    ``molflow.load("small").sample(100, steps=20, seed=0)`` is a ``Batch`` of 100 molecules.
    """

    def __init__(
        self,
        network: Network,
        path: Joint,
        prior: Product,
        vocabulary: Vocabulary,
        sizes: Sizes,
        dim: int = 3,
        defaults: Sampling | None = None,
        grids: Mapping[int, Sequence[float]] | None = None,
        formulas: Formulas | None = None,
        censuses: Censuses | None = None,
        hinted: bool = True,
        paired: bool = False,
    ):
        self.network, self.path, self.prior = network, path, prior
        self.vocabulary, self.sizes, self.dim = vocabulary, sizes, dim
        self.formulas, self.censuses = formulas or Formulas(), censuses or Censuses()
        self.hinted = hinted  # whether the network was trained with its previous prediction as a hint
        self.paired = paired  # whether noise was paired with data by what they are
        self.defaults = defaults or Sampling()
        self.grids: dict[int, Sequence[float]] = dict(grids or {})  # learned, by their number of steps
        self.leans: dict[int, Sequence[float]] = {}  # learned, of its censuses, by the number of steps
        self.evaluations = 0  # of the network, for the latest molecules
        self.portions = Portions()

    def __repr__(self) -> str:
        weights = sum(weight.numel() for weight in self.network.parameters())
        makes = ", ".join(["pos", *self.vocabulary.classes])
        return f"Model({type(self.network).__name__.lower()} of {weights:,} weights, makes {makes}, on {self.device})"

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> Model:
        self.network.to(device)
        return self

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        steps: int | None = None,
        grid: str | None = None,
        solver: str | dict[str, Any] | None = None,
        temperature: float | None = None,
        haste: float | None = None,
        composition: float | None = None,
        valences: float | None = None,
        precision: str | None = None,
        atoms: Request = None,
        progress: bool = False,
    ) -> Batch:
        """``n`` molecules; molecule i depends on the seed and on i alone: another ``seed``, other molecules.

        ``atoms`` asks for sizes (12, "9-29", "9,12") or a formula ("C7H10O2"); the rest defaults to what suits the
        model: docs/sampling.md.

        >>> import molflow
        >>> molflow.load("small").sample(3, steps=2, seed=0, atoms=9)
        Batch(3 of 9 atoms, 3D, atom, charge, bond)
        """
        for what, number in (("the number of molecules", n), ("the seed", seed)):
            if not isinstance(number, Integral):
                raise UserError(f"{what} must be a whole number, not {number!r}")
        if n < 1:
            raise UserError(f"the number of molecules must be at least 1, not {n}")
        how = self.how(
            atoms,
            steps=steps,
            grid=grid,
            solver=solver,
            temperature=temperature,
            haste=haste,
            composition=composition,
            valences=valences,
            precision=precision,
        )
        if strange := self.asked(atoms, how).sizes.beyond(self.sizes):
            warnings.warn(f"the model has seen no molecules {strange}: expect little of them", stacklevel=2)
        return self.sample_ids(np.arange(n), seed, how, atoms, progress)

    def trajectory(self, number: int = 0, *, seed: int = 0, atoms: Request = None, **how: Any) -> Batch:
        """The states of one molecule from noise to its end, one at each time; ``how`` is as for ``sample``.

        It ends at ``sample``'s molecule of that number. ``.view(path=True)`` plays it in a notebook.

        >>> import molflow
        >>> molflow.load("small").trajectory(steps=5, atoms=9)
        Batch(6 of 9 atoms, 3D, atom, charge, bond)
        """
        states: list[Batch] = []
        self.sample_ids(
            np.array([number]), seed, self.how(atoms, **how), atoms, watch=lambda t, x: states.append(x.to("cpu"))
        )
        return Batch.cat(states)

    def sample_ids(
        self,
        ids: np.ndarray,
        seed: int,
        how: Sampling,
        atoms: Request = None,
        progress: bool = False,
        watch: Callable[[float, Batch], None] | None = None,
    ) -> Batch:
        """The molecules with these numbers, in this order, computed in batches of like size."""
        wanted = self.asked(atoms, how)
        sizes = wanted.sizes.at(seed, ids)
        self.times(how)

        def integrated(places: np.ndarray) -> Batch:
            return self._integrate(ids[places], sizes[places], wanted=wanted, seed=seed, how=how, watch=watch)

        return self.portions.gathered(sizes, self.device, integrated, progress)

    def how(self, atoms: Request = None, **changes: Any) -> Sampling:
        """The model's own way of drawing, with these changes; towards a formula that is asked for, unless it is 0."""
        how = self.defaults.updated(**changes)
        pulled = how.composition or changes.get("composition") is not None or not formula_in(atoms)
        return how if pulled else how.updated(composition=PULL)

    def log_prob(self, batch: Batch, **how: Any) -> Tensor:
        """The log-density of each molecule's coordinates in nats, [B]: ``molflow.analysis.likelihood.log_prob``."""
        from molflow.analysis.likelihood import log_prob

        return log_prob(self, batch, **how)

    def times(self, how: Sampling) -> list[float]:
        """The times that are stepped on, once it is known that the method suits this model."""
        self.check(how)
        if how.grid != LEARNED:
            return grid(how.grid, how.steps)
        if how.steps in self.grids:
            return list(self.grids[how.steps])
        known = ", ".join(map(str, sorted(self.grids)))
        raise UserError(
            f"this model has no learned grid of {how.steps} steps"
            + (f", it has those of {known}" if known else "")
            + f"; make one by `molflow tune MODEL --steps {how.steps}`, or take another grid: {', '.join(GRIDS)}"
        )

    def check(self, how: Sampling) -> None:
        """A UserError where the method does not suit this model."""
        method = how.method()
        method.fits(self.path, self.prior)
        if method.unpaired and self.paired:
            raise UserError(
                f"solver {how.solver} takes noise to be independent of the data, and this model's was paired with them "
                "by its coupling; take ddim or multistep, or train with coupling=[independent]"
            )
        if method.leaps and not self.network.spans:
            raise UserError(
                f"solver {how.solver} leaps, and this model's network knows no spans: train one with network.span=true "
                "objective=shortcut, or take a solver that follows the flow, such as euler or multistep"
            )
        if how.valences:
            Valences.of(self.vocabulary, self.path, how.valences)

    def asked(self, atoms: Request, how: Sampling) -> Wanted:
        """What the molecules are to have; a UserError where the model cannot be held to it."""
        censuses = self.censuses.of_steps(how.steps, self.leans)
        wanted = Wanted(self.sizes, self.formulas, censuses).asked(atoms, self.vocabulary.kinds)
        told = self.network.census and wanted.censuses
        if how.composition and not (wanted.formulas.weights or told):
            raise UserError(
                f"composition {how.composition:g} turns atoms towards formulas of the training set, and this model "
                "keeps none: it was trained on points, on too many formulas, or by an earlier version; give it 0"
            )
        if formula_in(atoms) and not (how.composition or told):
            raise UserError(f"composition 0 leaves the formula {atoms} to chance: give it a strength, such as 4")
        return wanted

    def flow(
        self,
        temperature: float = 1.0,
        haste: float = 1.0,
        steer: Composition | None = None,
        together: Valences | None = None,
        precision: str = "fp32",
    ) -> Flow:
        """The network as a vector field, for one run of a solver."""
        network = self.network.eval()
        return Flow(network, self.path, self.prior, temperature, haste, steer, self.hinted, together, precision)

    def empty(self, wanted: Wanted, seed: int, ids: np.ndarray, sizes: np.ndarray) -> Batch:
        """Molecules before their noise: of these sizes, and told what they are to have where the network reads it."""
        like = Batch.of_sizes(torch.as_tensor(sizes), self.dim, self.device)
        if not (self.network.census and wanted.censuses):
            return like
        census = torch.as_tensor(wanted.censuses.at(seed, ids, sizes), device=self.device)
        return like.replace(props={CENSUS: census})

    def steering(
        self, wanted: Wanted, how: Sampling, seed: int, ids: np.ndarray, sizes: np.ndarray, like: Batch
    ) -> Composition | None:
        """What turns these molecules' atoms towards their formulas, where that is asked."""
        if not how.composition:
            return None
        elements, groups = grouped(self.vocabulary)
        groups = groups.to(self.device)
        if CENSUS in like.props:
            counts = like.props[CENSUS][:, : len(groups)].to(groups) @ groups
        else:
            found = wanted.formulas.at(seed, ids, sizes, elements)
            counts = torch.as_tensor(found, device=self.device)
        return Composition(counts, groups, how.composition)

    def drawing(self, how: Sampling) -> Valences | None:
        """What draws labels together, where that is asked."""
        return Valences.of(self.vocabulary, self.path, how.valences) if how.valences else None

    @torch.no_grad()
    def _integrate(
        self, ids: np.ndarray, sizes: np.ndarray, *, wanted: Wanted, seed: int, how: Sampling, watch
    ) -> Batch:
        like = self.empty(wanted, seed, ids, sizes)
        rng = Rng(seed, torch.as_tensor(ids, device=self.device))
        steer = self.steering(wanted, how, seed, ids, sizes, like)
        flow = self.flow(how.temperature, how.haste, steer, self.drawing(how), how.precision)
        seen = None if watch is None else lambda t, x: watch(t, self.read(x))
        with fast_matmul(self.device):
            x = integrate(flow, self.prior(like, rng), self.times(how), how.method(), rng, seen)
        self.evaluations = flow.evaluations
        return self.read(x)

    def read(self, x: Batch) -> Batch:
        """States as molecules: with labels in the place of classes, and without what they were told."""
        return self.vocabulary.decode(x).replace(props={})
