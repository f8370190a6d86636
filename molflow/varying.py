"""Molecules like given ones: each noised to a time, and completed anew by a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import load, read_card
from molflow.chem.census import CENSUS, take
from molflow.composition import Composition, grouped
from molflow.couplings.coupling import Chain
from molflow.device import fast_matmul
from molflow.experiment import make_coupling
from molflow.geometry import centre
from molflow.rng import Rng, seed_of
from molflow.solvers.integrate import integrate

PARENT = "parent"  # the property that tells which molecule a variant is of
_STREAM = 0x7A21A  # keeps their noise apart from that of samples, which the same seed and number give


def vary(
    model: str | Path,
    molecules: Batch,
    t: float = 0.4,
    *,
    copies: int = 1,
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
    **how: Any,
) -> Batch:
    """``copies`` variants of each molecule, next to one another; their property ``parent`` tells whose they are.

    Each is carried along the model's path to noise, back to time ``t``, and completed from there: near 0 little is left
    of it, near 1 nearly all. A model that is told what molecules have is told what this one has, and a ``composition``
    pulls towards its own formula. ``how`` is as for ``Model.sample``.

    >>> import molflow
    >>> made = molflow.load("small").sample(2, seed=0, steps=20, atoms=9)
    >>> vary("small", made, t=0.9, copies=2, device="cpu").props["parent"].tolist()
    [0, 0, 1, 1]
    """
    if not isinstance(molecules, Batch):
        raise UserError("vary takes a batch: Batch.from_rdkit(mols) makes one of RDKit molecules")
    if not len(molecules):
        raise UserError("there must be at least one molecule to vary")
    if not 0 <= t < 1:
        raise UserError(f"t is a time from 0, where all is noise, to below 1, where nothing is; not {t:g}")
    if copies < 1:
        raise UserError(f"copies must be at least 1, not {copies}")
    config, flow = read_card(model).config, load(model, device)
    method = flow.how(**how)
    if method.composition and not flow.vocabulary.kinds:
        raise UserError("composition pulls towards the formula of a molecule, and these are points: give it 0")
    times = [t, *(s for s in flow.times(method) if s > t)]
    pairing = [each for each in make_coupling(config, flow).couplings if each.alone and not each.renews]
    coupling = Chain(pairing)  # of others noise is drawn as it comes: a variant has nothing to do with other molecules
    groups = grouped(flow.vocabulary)[1].to(flow.device)
    whole = flow.vocabulary.encode(molecules.replace(props={})).to(flow.device)
    if config.data.centred:
        whole = whole.replace(pos=centre(whole.pos, whole.mask))
    if flow.network.census:
        whole = whole.replace(props={CENSUS: take(whole, flow.vocabulary.classes).round().long()})
    parents = np.repeat(np.arange(len(molecules)), copies)
    numbers = parents + (np.tile(np.arange(copies), len(molecules)) << 32)  # a variant's own, whatever else is made
    sizes = molecules.sizes.cpu().numpy()[parents]

    @torch.no_grad()
    def completed(places: np.ndarray) -> Batch:
        x1 = whole[parents[places].tolist()]
        rng = Rng(seed_of(seed, _STREAM), torch.as_tensor(numbers[places], device=flow.device))
        x0, x1 = coupling(flow.prior(x1, rng), x1, rng)
        fresh = flow.prior(x1, rng) if flow.path.mixes else None
        x = flow.path.sample(x0, x1, torch.full((len(x1),), t, device=flow.device), rng, fresh)
        steer = Composition.of(x1, groups, method.composition) if method.composition else None
        field = flow.flow(method.temperature, method.haste, steer, flow.drawing(method), method.precision)
        with fast_matmul(flow.device):
            return flow.read(integrate(field, x, times, method.method(), rng))

    made = flow.portions.gathered(sizes, flow.device, completed, progress)
    return made.replace(props={PARENT: torch.from_numpy(parents)})
