from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from molflow.batch import Batch
from molflow.build import UserError
from molflow.couplings.coupling import Coupling
from molflow.rng import Rng

_EXACT = 1 << 24  # whole numbers below are exact in float32, as properties are read


class Reflow(Coupling):
    """x0 is the noise that a trained model made x1 from: (x0, x1 = phi_1(x0)), rectified flow (Liu et al. 2023).

    Training on such pairs straightens the flow. The data are the model's samples with the property ``pair``, the
    sample's number i, and the ``seed`` they were drawn with in their metadata; the noise need not be stored, for it is
    a function of the two: prior(sizes, Rng(seed, i)).
    """

    props = ("pair",)
    lowers = False
    alone = True
    renews = True

    def __init__(self, prior: Callable[[Batch, Rng], Batch], seed: int | None = None):
        self.prior, self.seed = prior, seed

    def prepare(self, props: Sequence[str], meta: Mapping[str, str]) -> None:
        if "pair" not in props:
            raise UserError(
                "coupling reflow trains on pairs that a model has made, and these data are none (no property 'pair'): "
                "make them with `molflow reflow`, or use another coupling"
            )
        stored = meta.get("seed")
        if stored is None and self.seed is None:
            raise UserError("coupling reflow: the data do not say the seed they were drawn with; give it as seed: 0")
        if stored is not None and self.seed not in (None, int(stored)):
            raise UserError(f"coupling reflow: these pairs were drawn with seed {stored}, not {self.seed}")
        self.seed = self.seed if stored is None else int(stored)

    def __call__(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Batch, Batch]:
        if "pair" not in x1.props or self.seed is None:
            raise UserError("coupling reflow needs the property 'pair' of each molecule and the seed of their noise")
        pair = x1.props["pair"]
        whole = (pair >= 0) & (pair < _EXACT) & (pair == pair.round())
        if not bool(whole.all()):
            wrong = float(pair[~whole][0])
            raise UserError(f"coupling reflow: {wrong:g} is no sample's number (0 to {_EXACT - 1})")
        return self.prior(x1, Rng(self.seed, pair.to(torch.long))), x1
